"""A promise that is broken is paid by the bond behind it; a bug of the buyer's own is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from court import Oracles
from stage import CREDIT, RULES, START_MICRO, open_market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for

BOND_MICRO = 100 * CREDIT
PENALTY_MICRO = 2 * CREDIT
MAX_S = 20
PROMISE = {"start_s": 120, "uptime_bps": 9_000, "penalty_micro": PENALTY_MICRO}
LONG_JOB = {"task": "classification", "label": LABEL, "epochs": 10_000, "seed": 7}
BUG = """
import time
print("working", flush=True)
time.sleep(8)
raise ValueError("the buyer's own bug")
"""


@dataclass(slots=True, kw_only=True)
class Court(Oracles):
    """A market whose provider has promised something, with a bond that two of three oracles can make pay."""

    provider: DemoPeer

    def rent(self, **changes: Any) -> str:
        """A job with the promise as the provider gives it, watched by all oracles."""
        cid = self.provider.post("/v1/compute/sell", **RULES | {"kinds": ["train", "script"]})["cid"]
        offer = self.market.seen_by(self.buyer, cid)
        order_id = self.market.rent(offer, service={}, max_s=MAX_S, cap_micro=CREDIT, **changes)

        def watched() -> dict[str, Any] | None:
            order = self.buyer.get(f"/v1/orders/{order_id}")
            return order if order["service"]["watched_by"] == len(self.oracles) else None

        order = wait_for(watched, 60, "all oracles watch")
        assert order["service"]["worst_case_micro"] == PENALTY_MICRO
        return order_id

    def until(self, order_id: str, what: str, look: Any, timeout_s: float = 120) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            order = self.buyer.get(f"/v1/orders/{order_id}")
            return order if look(order) else None

        order: dict[str, Any] = wait_for(found, timeout_s, what)
        return order

    def bond(self) -> dict[str, Any]:
        """The provider's bond as the chain has it, seen by its buyer."""
        found: dict[str, Any] = self.buyer.get(f"/v1/service-levels/{self.provider.peer_id}")["bond"]
        return found


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """The one who will be killed hosts no chain: the buyer of models is the provider here."""
    folder = tmp_path_factory.mktemp("court")
    with open_market(folder) as market, ExitStack() as stack:
        oracles = [market.provider]
        for name in ("second", "third"):
            oracle = stack.enter_context(running_peer(f"{name} oracle", folder / name))
            oracle.operate("/v1/group/join", invitation=market.provider.get("/v1/group")["invitation"])
            oracle.operate("/v1/wallet/faucet")
            oracles.append(oracle)
        for oracle in oracles:
            oracle.post("/v1/capacity/oracle", on=True)
        provider = market.buyer
        provider.post("/v1/compute/house", rules={})
        provider.post(
            "/v1/capacity/bond",
            amount_micro=BOND_MICRO,
            oracles=[oracle.wallet for oracle in oracles],
            quorum=2,
            unlock_delay_s=86_400,
        )
        shown = provider.post("/v1/service-levels", **PROMISE)
        assert (shown["level"]["penalty_micro"], shown["pledged_micro"]) == (PENALTY_MICRO, 0)
        opened = Court(market=market, provider=provider, oracles=oracles)
        for peer in (opened.buyer, *oracles):
            wait_for(lambda peer=peer: seen(peer, opened), 60, "the promise and the oracles are known")
        yield opened


def seen(peer: DemoPeer, court: Court) -> bool | None:
    bond = peer.get(f"/v1/service-levels/{court.provider.peer_id}")["bond"]
    known = {item["author"] for item in peer.get("/v1/catalogue", type="peer", limit=50)["items"]}
    return (bond is not None and {oracle.peer_id for oracle in court.oracles} <= known) or None


def test_a_job_that_fails_by_the_buyers_own_bug_costs_the_provider_nothing(court: Court) -> None:
    program = court.market.folder / "bug.py"
    program.write_text(BUG)
    before = court.bond()["left_micro"]
    order_id = court.rent(
        kind="script", inputs={"script.py": str(program)}, params={"arguments": [], "outputs": ["no.txt"]}
    )
    order = court.until(order_id, "its own node judges", lambda o: o["service"]["broken_bps"] is not None)
    assert (order["service"]["blamed"], order["service"]["found_micro"]) == ("buyer", 0)
    assert order["job"]["result"]["blamed"] == "buyer"
    assert order["service"]["complaint"] is None, "a node complains only where it saw something"
    court.buyer.post("/v1/service-levels/complaints", order_id=order_id)  # the buyer insists
    order = court.until(
        order_id, "the oracles decide", lambda o: o["service"]["complaint"]["state"] != "open"
    )
    assert order["service"]["complaint"]["state"] == "dismissed"
    cases = [one for one in court.buyer.get("/v1/capacity/cases")["items"] if one["order_id"] == order_id]
    assert [sorted(one["answers"].values()) for one in cases] == [["cleared"] * 3]
    court.until(order_id, "settled", lambda o: o["state"] == "settled")
    assert court.bond()["left_micro"] == before
    assert court.money() == 5 * START_MICRO


def test_a_provider_that_is_killed_and_stays_away_pays_from_its_bond(court: Court) -> None:
    buyer = court.buyer
    before, bonded = buyer.balance_micro(), court.bond()["left_micro"]
    order_id = court.rent(params=LONG_JOB)
    court.until(order_id, "some work is done", lambda o: o["job"]["seconds"] >= 2)
    court.provider.kill()

    order = court.until(order_id, "the bond pays", lambda o: paid(o["service"]["complaint"]), 180)
    amount = order["service"]["complaint"]["amount_micro"]
    assert order["service"]["blamed"] == "provider"
    assert PENALTY_MICRO // 4 < amount <= PENALTY_MICRO
    assert court.bond()["left_micro"] == bonded - amount
    judged = [
        [one for one in oracle.get("/v1/capacity/cases")["items"] if one["order_id"] == order_id]
        for oracle in court.oracles
    ]
    assert sum(bool(cases) and cases[0]["state"] == "guilty" for cases in judged) >= 2
    found = sorted((cases[0]["amount_micro"] for cases in judged if cases), reverse=True)
    assert found[1] == amount, "what two of three have found at least"

    # The dead one comes back, and is paid for the seconds that it worked, and no more.
    court.provider.start_again()
    ended = court.until(order_id, "settled", lambda o: o["state"] == "settled")
    assert buyer.balance_micro() == before + amount - ended["paid_micro"]
    again = buyer.post("/v1/service-levels/complaints", order_id=order_id)["service"]["complaint"]
    assert again == order["service"]["complaint"], "one case an order"
    assert court.money() == 5 * START_MICRO


def paid(complaint: dict[str, Any] | None) -> bool:
    return complaint is not None and complaint["state"] == "paid"
