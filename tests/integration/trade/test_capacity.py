"""A claim about a machine is put to the test by a buyer, and by the oracles of its bond; money follows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from court import Oracles
from stage import CREDIT, START_MICRO, open_market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, running_peer, wait_for

pytestmark = pytest.mark.alone
"""An answer has so many seconds, by a claim that was measured a moment before."""
MODIFIED = Path(__file__).parents[2] / "support" / "modified_node.py"
BOND_MICRO = 300 * CREDIT
TRAINING = {"task": "classification", "label": LABEL, "epochs": 10_000, "seed": 7}


@dataclass(slots=True, kw_only=True)
class Court(Oracles):
    """A market whose provider has a bond that two of three oracles can make pay."""

    def bond(self) -> dict[str, Any]:
        """The provider's bond as the chain has it."""
        found: dict[str, Any] = self.market.provider.get("/v1/capacity/bond")["bond"]
        return found

    def lease(self, *, works: bool = False) -> str:
        """A job that runs while the machine is put to the test; one that `works` takes a core of it."""
        terms: dict[str, Any] = {"max_s": 300, "cap_micro": 3 * CREDIT}
        offer = self.market.offer()
        if works:
            order_id = self.market.rent(offer, params=TRAINING, **terms)
        else:
            order_id = self.market.rent_long(offer, **terms)
        self.buyer.order_until(order_id, lambda order: order["state"] == "running", 60)
        return order_id

    def end(self, order_id: str) -> None:
        """Settle the lease, by cancelling the job where it still runs."""
        if "cancel" in self.buyer.get(f"/v1/orders/{order_id}")["actions"]:
            self.buyer.post(f"/v1/orders/{order_id}/cancel")
        self.buyer.order_until(order_id, lambda order: order["state"] == "settled", 90)


@contextmanager
def open_court(folder: Path, provider: Sequence[str] = PROGRAM) -> Iterator[Court]:
    """The provider measures itself, posts a bond, and everybody sees both."""
    with open_market(folder, provider=provider) as market, ExitStack() as stack:
        oracles = [market.buyer]
        for name in ("second", "third"):
            oracle = stack.enter_context(running_peer(f"{name} oracle", folder / name))
            oracle.operate("/v1/group/join", invitation=market.provider.get("/v1/group")["invitation"])
            oracle.operate("/v1/wallet/faucet")
            oracles.append(oracle)
        for oracle in oracles:
            oracle.post("/v1/capacity/oracle", on=True)
        market.provider.operate("/v1/capacity/benchmark", seconds=2)
        market.provider.post(
            "/v1/capacity/bond",
            amount_micro=BOND_MICRO,
            oracles=[oracle.wallet for oracle in oracles],
            quorum=2,
            unlock_delay_s=3600,
        )
        court = Court(market=market, oracles=oracles)
        for peer in (court.buyer, *oracles):
            wait_for(
                lambda peer=peer: seen(peer, market.provider, oracles), 60, "claim and oracles are known"
            )
        yield court


def seen(peer: DemoPeer, provider: DemoPeer, oracles: list[DemoPeer]) -> bool | None:
    bond = peer.get(f"/v1/capacity/{provider.peer_id}")["bond"]
    known = {item["author"] for item in peer.get("/v1/catalogue", type="peer", limit=50)["items"]}
    return (bond is not None and {oracle.peer_id for oracle in oracles} <= known) or None


@pytest.mark.parametrize(
    ("trick", "device", "outcome"),
    [
        ("claimed_gpu", "cuda:0", "wrong"),
        pytest.param("claimed_speed", "cpu", "too_slow", marks=pytest.mark.slow),
    ],
)
def test_a_provider_that_lacks_what_it_claims_is_caught_and_loses_its_bond(
    tmp_path: Path, trick: str, device: str, outcome: str
) -> None:
    with open_court(tmp_path, (sys.executable, str(MODIFIED), trick)) as court:
        provider = court.market.provider
        claim = court.buyer.get(f"/v1/capacity/{provider.peer_id}")["claim"]
        assert claim["works"][0]["device"] == device
        assert not court.buyer.operate("/v1/capacity/verify", peer_id=provider.peer_id)["right"]
        before, all_money = court.buyer.balance_micro(), court.money()
        order_id = court.lease()
        found = court.buyer.operate("/v1/capacity/challenge/order", order_id=order_id)
        assert found["outcome"] == outcome
        case = wait_for(lambda: ended(court.buyer, found["case"]), 240, "the oracles decide")
        assert case["state"] == "paid"
        assert list(case["answers"].values()).count("guilty") >= 2
        assert court.bond()["state"] == "closed"
        court.end(order_id)
        spent = before + BOND_MICRO - court.buyer.balance_micro()
        assert 0 <= spent <= 3 * CREDIT, "the buyer has the bond, less what the job cost"
        assert court.money() == all_money == 5 * START_MICRO
        again = provider.get("/v1/capacity/bond")["bond"]
        assert again["left_micro"] == 0


def ended(peer: DemoPeer, case: str) -> dict[str, Any] | None:
    items = peer.get("/v1/capacity/cases")["items"]
    mine = [item for item in items if item["case"] == case and item["role"] == "complainer"]
    return mine[0] if mine and mine[0]["state"] != "open" else None


def test_an_honest_provider_passes_and_keeps_its_bond(tmp_path: Path) -> None:
    with open_court(tmp_path) as court:
        provider = court.market.provider
        order_id = court.lease(works=True)
        found = court.buyer.operate("/v1/capacity/challenge/order", order_id=order_id)
        assert (found["outcome"], found["code"], found["case"]) == ("passed", "", None)
        assert found["elapsed_ms"] <= found["allowed_ms"]
        assert found["line"]["kb_per_s"] > 0, "the opened states came over it"
        by_oracle = court.oracles[1].operate("/v1/capacity/challenge/peer", peer_id=provider.peer_id)
        assert by_oracle["outcome"] == "passed"
        shown = court.buyer.get(f"/v1/capacity/{provider.peer_id}")
        assert [one["outcome"] for one in shown["verdicts"]] == ["passed"]
        assert shown["verdicts"][0]["line"] == found["line"]
        checked = court.buyer.operate("/v1/capacity/verify", peer_id=provider.peer_id)
        assert checked == {"cid": shown["cid"], "right": True, "wrong": {}}
        with pytest.raises(Exception, match="oracle"):
            court.buyer.operate("/v1/capacity/challenge/peer", peer_id=provider.peer_id)
        assert (court.bond()["state"], court.bond()["left_micro"]) == ("posted", BOND_MICRO)
        court.end(order_id)
        assert court.money() == 5 * START_MICRO
