"""From a failed challenge to the money of a bond: who can get there, and who cannot."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from capacity_lab import BOND_MICRO, CapacityLab, Stall, capacity_lab, introduce, make_stall

from openstall.app.services.capacity.casefile import CaseFile
from openstall.app.services.capacity.challenging import Heard
from openstall.app.services.capacity.testbench import silent
from openstall.app.services.door import PEER_KEY
from openstall.ledger.bond import SINK
from openstall.ledger.wallet import Wallet
from openstall.market import canonical
from openstall.market.capacity import Case, Verdict, sha256_of, sign_document
from openstall.market.errors import OpenstallError
from openstall.market.records import SignedRecord


async def until_ended(stall: Stall, case: str, role: str = "complainer") -> str:
    """The state of a case when it is open no longer; woken by the bus."""
    async with stall.side.bus.subscribe() as events:
        while (row := stall.capacity.cases.get(case, role)).state == "open":
            with trio.fail_after(60):
                await events.receive()
        return row.state


async def challenge(lab: CapacityLab, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await lab.buyer.capacity.challenge_lease(order_id, silent)
    return found


def money(lab: CapacityLab) -> int:
    chain = lab.trade.chain
    params = chain.host.params
    wallets = sum(chain.balance(stall.side.wallet) for stall in lab.stalls)
    return wallets + sum(map(chain.balance, (params.bond, params.channel, SINK)))


async def test_a_caught_provider_pays_the_buyer_once_and_no_money_is_made(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        for stall in (lab.provider, lab.buyer, *lab.oracles):
            nursery.start_soon(stall.capacity.run)
        await trio.testing.wait_all_tasks_blocked()
        order_id, all_money = await lab.lease(), money(lab)
        before = lab.trade.chain.balance(lab.buyer.side.wallet)
        lab.provider.machine.trick = "wrong"
        found = await challenge(lab, order_id)
        assert await until_ended(lab.buyer, found["case"]) == "paid"
        assert lab.trade.chain.balance(lab.buyer.side.wallet) == before + BOND_MICRO
        assert money(lab) == all_money
        bond = await lab.provider.capacity.bonds.own()
        assert bond is not None
        assert (bond.state, bond.left_micro) == ("closed", 0)
        again = await challenge(lab, order_id)
        assert again["outcome"] == "wrong"
        assert again["case"] is None, "there is nothing left to pay with"
        nursery.cancel_scope.cancel()


async def test_an_oracle_believes_its_own_challenge_not_the_buyer(tmp_path: Path) -> None:
    """A lying buyer brings a well-signed complaint about an honest provider."""
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        for stall in (lab.provider, lab.buyer, *lab.oracles):
            nursery.start_soon(stall.capacity.run)
        await trio.testing.wait_all_tasks_blocked()
        order_id = await lab.lease()
        record = await lab.buyer.capacity.claims.live(lab.provider.peer_id)
        assert record is not None
        order = await lab.buyer.side.desk.load(order_id)
        heard = lie(lab.buyer, record, order_id)
        case = await lab.buyer.capacity.complaints.open(record, heard, order)
        assert case is not None
        assert await until_ended(lab.buyer, case) == "dismissed"
        answers = lab.buyer.capacity.cases.get(case, "complainer").data["answers"]
        assert "guilty" not in {answer["state"] for answer in answers.values()}
        bond = await lab.provider.capacity.bonds.own()
        assert bond is not None
        assert bond.left_micro == BOND_MICRO
        nursery.cancel_scope.cancel()


def lie(stall: Stall, record: SignedRecord, order_id: str) -> Heard:
    """A signed verdict on a challenge that never was."""
    me = stall.capacity.challenging.me
    verdict = Verdict(
        network=me.network,
        challenge="ab" * 32,
        claim=record.cid,
        provider=record.record.author,
        challenger=me.peer_id,
        order=order_id,
        outcome="wrong",
        code="segment 1",
        elapsed_ms=5,
        allowed_ms=10,
        at=stall.side.clock.now(),
    )
    signed = sign_document(verdict, what="verdict", network=me.network, seed=me.seed)
    return Heard(verdict=verdict, signed=signed, evidence={})


async def test_what_was_begun_is_finished_after_a_restart_and_paid_once(tmp_path: Path) -> None:
    """Complainer and oracles are killed in between, at every point that leaves something on the disk."""
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        lab.provider.machine.trick = "wrong"
        order_id = await lab.lease()
        lab.provider.capacity.answering.serve()
        case = (await challenge(lab, order_id))["case"]
        for oracle in lab.oracles:
            oracle.capacity.oracle.serve()
        # The complainer tells the oracles, which do nothing yet; then all of them are gone.
        row = lab.buyer.capacity.cases.get(case, "complainer")
        assert not await lab.buyer.capacity.complaints._step(row)
        assert all(oracle.capacity.cases.get(case, "oracle").state == "open" for oracle in lab.oracles)
        for oracle in lab.oracles[:2]:
            reborn = make_stall(oracle.side, lab.shelf, oracle.machine)
            reborn.capacity.oracle.serve()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reborn.capacity.oracle.run)
                assert await until_ended(reborn, case, "oracle") == "guilty"
                nursery.cancel_scope.cancel()
            oracle.capacity = make_stall(oracle.side, lab.shelf, oracle.machine).capacity
            oracle.capacity.oracle.serve()
        before = lab.trade.chain.balance(lab.buyer.side.wallet)
        for _ in range(2):  # the same step twice: as after a kill between paying and noting it
            reborn = make_stall(lab.buyer.side, lab.shelf, lab.buyer.machine)
            assert await reborn.capacity.complaints._step(reborn.capacity.cases.get(case, "complainer"))
        assert lab.trade.chain.balance(lab.buyer.side.wallet) == before + BOND_MICRO
        assert lab.buyer.capacity.cases.get(case, "complainer").state == "paid"


async def test_a_provider_that_binds_itself_to_another_wallet_does_not_get_away(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        for stall in (lab.provider, lab.buyer, *lab.oracles):
            nursery.start_soon(stall.capacity.run)
        await trio.testing.wait_all_tasks_blocked()
        lab.provider.machine.trick = "wrong"
        order_id = await lab.lease()
        lab.provider.side.wallet = Wallet(bytes([7]) * 32)
        lab.shelf.frozen = set(lab.shelf.records)
        introduce(lab.shelf, lab.provider.side)
        shown = await lab.buyer.capacity.show(lab.provider.peer_id)
        assert shown["bond"] is None, "for new buyers no bond stands behind it any more"
        found = await challenge(lab, order_id)
        assert await until_ended(lab.buyer, found["case"]) == "paid"
        nursery.cancel_scope.cancel()


async def test_an_oracle_on_its_own_gains_nothing_by_a_verdict(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        for stall in (lab.provider, *lab.oracles):
            nursery.start_soon(stall.capacity.run)
        await trio.testing.wait_all_tasks_blocked()
        lab.provider.machine.trick = "wrong"
        oracle, sunk = lab.oracles[0], lab.trade.chain.balance(SINK)
        before = [lab.trade.chain.balance(one.side.wallet) for one in lab.stalls]
        found = await oracle.capacity.challenge_peer(lab.provider.peer_id, silent)
        assert await until_ended(oracle, found["case"]) == "paid"
        assert [lab.trade.chain.balance(one.side.wallet) for one in lab.stalls] == before
        assert lab.trade.chain.balance(SINK) == sunk + BOND_MICRO
        nursery.cancel_scope.cancel()


Spoil = Callable[[CapacityLab, dict[str, Any]], None]


def _other_beneficiary(lab: CapacityLab, case: dict[str, Any]) -> None:
    case["beneficiary"] = lab.stranger.wallet


def _more_than_the_bond(_lab: CapacityLab, case: dict[str, Any]) -> None:
    case["amount_micro"] = BOND_MICRO + 1


def _old(_lab: CapacityLab, case: dict[str, Any]) -> None:
    case["at"] -= 86_400


def _another_verdict(_lab: CapacityLab, case: dict[str, Any]) -> None:
    case["verdict"] = "cd" * 32


def _another_bond(_lab: CapacityLab, case: dict[str, Any]) -> None:
    case["bond"] = "cd" * 32


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_other_beneficiary, "bad_beneficiary"),
        (_more_than_the_bond, "above_bond"),
        (_old, "bad_case"),
        (_another_verdict, "bad_case"),
        (_another_bond, "bad_case"),
    ],
)
async def test_a_complaint_that_does_not_follow_is_refused(tmp_path: Path, spoil: Spoil, code: str) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        order_id = await lab.lease()
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.buyer, order_id, spoil)
        assert refusal.value.code == code


async def test_a_lease_that_was_never_paid_is_no_lease(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        data = await lab.buyer.side.file("data.csv", b"1,2\n")
        unpaid = await lab.trade.both(lab.trade.job([data]))
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.buyer, unpaid)
        assert refusal.value.code == "no_lease"


async def test_an_oracle_that_has_not_agreed_takes_no_complaint(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        order_id = await lab.lease()
        await lab.oracles[0].capacity.be_oracle(on=False)
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.buyer, order_id)
        assert refusal.value.code == "no_oracle"
        assert lab.oracles[0].capacity.cases.items() == []


async def test_the_lease_of_somebody_else_is_no_lease(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        order_id = await lab.lease()
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.stranger, order_id)
        assert refusal.value.code == "bad_beneficiary"


async def test_nobody_can_put_the_bond_of_another_provider_at_stake(tmp_path: Path) -> None:
    """A stranger claims what it lacks and names the provider's bond behind it; the victim would pay."""
    async with capacity_lab(tmp_path) as lab:
        bond = await lab.post_bond()
        false_claim = lab.claim(lab.stranger, bond)
        order_id = await lab.lease()

        def about_the_stranger(lab: CapacityLab, case: dict[str, Any]) -> None:
            case.update(claim=false_claim.cid, provider=lab.stranger.peer_id)

        with pytest.raises(OpenstallError):
            await complain(lab, lab.buyer, order_id, about_the_stranger, record=false_claim)
        assert await lab.buyer.capacity.bonds.behind(false_claim.body, lab.stranger.peer_id) is None  # type: ignore[arg-type]


async def test_a_wallet_that_the_bond_does_not_name_judges_nothing(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        order_id = await lab.lease()
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.buyer, order_id, oracle=lab.stranger)
        assert refusal.value.code == "not_an_oracle"


async def test_a_claim_that_was_replaced_before_the_lease_binds_nobody(tmp_path: Path) -> None:
    """Else a buyer could hold a provider to the GPU that it has sold long ago."""
    async with capacity_lab(tmp_path) as lab:
        bond = await lab.post_bond()
        replaced = await lab.buyer.capacity.claims.live(lab.provider.peer_id)
        lab.claim(lab.provider, bond)
        order_id = await lab.lease()
        await complain(lab, lab.buyer, order_id)
        with pytest.raises(OpenstallError) as refusal:
            await complain(lab, lab.buyer, order_id, record=replaced)
        assert refusal.value.code == "old_claim"


async def test_a_complaint_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        await lab.post_bond()
        order_id = await lab.lease()
        first = await complain(lab, lab.buyer, order_id)
        assert await complain(lab, lab.buyer, order_id) == first
        assert len(lab.oracles[0].capacity.cases.items(role="oracle")) == 1


async def complain(
    lab: CapacityLab,
    who: Stall,
    order_id: str,
    spoil: Spoil = lambda _lab, _case: None,
    *,
    record: SignedRecord | None = None,
    oracle: Stall | None = None,
) -> str:
    """Bring an oracle a complaint as a modified client would; the hash of the case."""
    me = who.capacity.challenging.me
    claim = record or await who.capacity.claims.live(lab.provider.peer_id)
    assert claim is not None
    order = await lab.buyer.side.desk.load(order_id)
    peer = await lab.shelf.live_of(claim.record.author, "peer", PEER_KEY)
    assert peer is not None
    verdict = lie(who, claim, order_id)
    case: dict[str, Any] = {
        "network": me.network,
        "chain_id": me.chain_id,
        "bond": claim.body.bond,  # type: ignore[attr-defined]
        "claim": claim.cid,
        "provider": claim.record.author,
        "by": who.peer_id,
        "order": order_id,
        "beneficiary": who.wallet,
        "amount_micro": BOND_MICRO,
        "verdict": sha256_of(verdict.verdict),
        "at": order.created_at,
    }
    spoil(lab, case)
    document = Case(**case)
    file = CaseFile(
        case=sign_document(document, what="case", network=me.network, seed=me.seed),
        verdict=verdict.signed,
        claim=base64.b64encode(claim.raw).decode(),
        peer=base64.b64encode(peer.raw).decode(),
        order=msgspec.to_builtins(order.contract.order),
        buyer_signature=order.buyer_signature,
        seller_signature=order.seller_signature,
    )
    ask = {"do": "complain", "file": msgspec.to_builtins(file), "case": ""}
    judge = (oracle or lab.oracles[0]).capacity.oracle
    await judge._answer(who.peer_id, canonical.encode(ask))
    return sha256_of(document)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"do":"x"}', b'{"do":"complain"}', b"\xff", b"[" * 999])
async def test_garbage_is_refused_in_words(tmp_path: Path, raw: bytes) -> None:
    async with capacity_lab(tmp_path) as lab:
        with pytest.raises(OpenstallError):
            await lab.oracles[0].capacity.oracle._answer(lab.stranger.peer_id, raw)
