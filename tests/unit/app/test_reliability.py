"""What two nodes conclude about a provider from their own books, and what a lying one gains by a report."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from capacity_lab import capacity_lab
from trade_lab import Side, funded_job, step, trade_lab
from trade_parts import works_for

from openstall.app.services.capacity.testbench import silent
from openstall.app.services.reliability import ReliabilityService, summary_words
from openstall.compute_agent.specs import JobResult
from openstall.market.errors import PeerError
from openstall.market.mechanisms.reliability import Reliability
from openstall.store.orders import Orders
from openstall.store.provider_log import BondPaid, ProviderLog
from openstall.store.settings import Settings
from openstall.store.verdicts import Verdicts
from openstall.store.vouchers import Vouchers


def reliability(side: Side, other: Side) -> ReliabilityService:
    """The service on one side's own books; it knows the wallet of the other."""

    async def wallet_of(_peer_id: str) -> str:
        return other.wallet.address.lower()

    return ReliabilityService(
        orders=Orders(side.store),
        vouchers=Vouchers(side.store),
        verdicts=Verdicts(side.store),
        kept=ProviderLog(side.store),
        settings=Settings(side.store),
        chain=side.chain_lab.chain,
        workers=side.workers,
        clock=side.clock,
        wallet=side.wallet.address,
        wallet_of=wallet_of,
    )


async def both(provider: Side, buyer: Side) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provider's own figure, and the buyer's of it."""
    own = await reliability(provider, buyer).own()
    return own, await reliability(buyer, provider).of(provider.host.peer_id)


def steps(found: dict[str, Any]) -> list[str]:
    """What happened, the oldest first."""
    return [item["what"] for item in found["items"]][::-1]


def ends(state: Any, reason: str) -> Any:
    """A job that the provider reports to have ended so, without any work."""

    async def script(_spec: Any, _inputs: Path, outputs: Path, _on_event: Any) -> JobResult:
        await trio.Path(outputs).mkdir()
        return JobResult(state=state, reason=reason, words="It ended.")

    return script


async def run(lab: Any, script: Any) -> str:
    """One job from its money to its settlement, in both books."""
    lab.clock.ahead_s += 5  # each job has its own second
    order_id: str = await funded_job(lab)
    lab.seller.agent.script = script
    await step(lab.seller, order_id)
    with trio.fail_after(30):
        while not (order := await lab.buyer.desk.load(order_id)).final or order.waits_for_results:
            for side in (lab.buyer, lab.seller):
                with suppress(PeerError):  # results are asked for again once the voucher has arrived
                    await step(side, order_id)
    assert (await step(lab.seller, order_id)).state == "settled"
    return order_id


async def test_two_nodes_with_the_same_evidence_have_the_same_figure(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        assert (await reliability(lab.seller, lab.buyer).own())["score"] == 0
        await run(lab, works_for(3))
        await run(lab, ends("failed", "sandbox_unavailable"))
        last = await run(lab, works_for(2))
        own, seen = await both(lab.seller, lab.buyer)
        assert steps(own) == steps(seen) == ["done", "failed", "done"]
        assert own["score"] == seen["score"] > 0
        assert [item["order_id"] for item in own["items"]] == [item["order_id"] for item in seen["items"]]
        assert own["items"][0]["order_id"] == last
        assert sum(item["points"] + item["aged"] for item in own["items"]) == own["score"]
        failed = own["items"][1]
        assert failed["points"] < 0 < failed["done_to_mend"]
        assert "doctor" in failed["mend"]


async def test_a_provider_that_blames_the_buyer_untruly_loses_more_than_by_the_truth(tmp_path: Path) -> None:
    """Its report says that the buyer cancelled; the buyer's own books know better."""
    async with trade_lab(tmp_path) as lab:
        await run(lab, ends("cancelled", "cancelled"))
        own, seen = await both(lab.seller, lab.buyer)
        assert steps(own) == ["buyer_ended"]
        assert steps(seen) == ["false_report"]
        assert seen["bad_milli"] == 4_000
        await run(lab, ends("limit", "cap"))
        assert steps((await both(lab.seller, lab.buyer))[1]) == ["false_report", "false_report"]


async def test_a_job_that_ends_by_its_own_fault_costs_no_points(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        await run(lab, works_for(3))
        await run(lab, ends("failed", "crashed"))
        own, seen = await both(lab.seller, lab.buyer)
        assert [(item["what"], item["points"]) for item in own["items"]][:1] == [("job_failed", 0)], own
        assert own["score"] == seen["score"]


async def test_a_new_wallet_does_not_shed_what_the_bond_of_the_old_one_has_paid(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        await run(lab, works_for(3))
        kept = ProviderLog(lab.buyer.store)
        old = lab.seller.wallet.address
        kept.keep_bond(BondPaid(bond="b", case_hash="h", wallet=old, amount_micro=5, at=lab.clock.now()))
        other = lab.buyer  # the wallet to which the provider has bound itself since
        found = await reliability(lab.buyer, other).of(lab.seller.host.peer_id)
        assert sorted(steps(found)) == ["bond_paid", "done"]


async def test_challenges_and_a_bond_that_paid_count_on_both_sides(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab, trio.open_nursery() as nursery:
        await lab.post_bond()
        for stall in (lab.provider, lab.buyer, *lab.oracles):
            nursery.start_soon(stall.capacity.run)
        await trio.testing.wait_all_tasks_blocked()
        order_id = await lab.lease()
        found = await lab.buyer.capacity.challenge_lease(order_id, silent)
        assert found["outcome"] == "passed"
        async with lab.buyer.side.bus.subscribe() as events:
            lab.provider.machine.trick = "wrong"
            found = await lab.buyer.capacity.challenge_lease(order_id, silent)
            with trio.fail_after(60):
                while lab.buyer.capacity.cases.get(found["case"], "complainer").state == "open":
                    await events.receive()
        own, seen = await both(lab.provider.side, lab.buyer.side)
        assert sorted(steps(seen)) == ["bond_paid", "challenge_failed", "challenge_passed"]
        assert "bond_paid" in steps(own)
        assert "challenge_passed" in steps(own)
        assert seen["score"] < 2_000
        again = await reliability(lab.buyer.side, lab.provider.side).of(lab.provider.peer_id)
        assert again["bad_milli"] == seen["bad_milli"], "looking twice counts nothing twice"
        nursery.cancel_scope.cancel()


async def take_back(lab: Any, order_id: str) -> None:
    """The buyer takes its money back by the clock, and both books see it."""
    buyer = lab.buyer
    await buyer.channel.start_withdraw(await buyer.desk.load(order_id))
    lab.clock.ahead_s += 120
    lab.next_block()
    await buyer.channel.withdraw(await buyer.desk.load(order_id))
    for side in (lab.seller, buyer):
        assert (await side.channel.catch_up(await side.desk.load(order_id))).state == "settled"


async def test_a_job_that_never_started_is_late_only_once_it_should_have_started(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        await take_back(lab, await funded_job(lab))
        own, seen = await both(lab.seller, lab.buyer)
        assert steps(own) == steps(seen) == ["called_off"]
        order_id = await funded_job(lab)
        lab.clock.ahead_s += 1_700
        lab.next_block()
        await take_back(lab, order_id)
        own, seen = await both(lab.seller, lab.buyer)
        assert steps(own) == steps(seen) == ["called_off", "late"]
        assert own["bad_milli"] == seen["bad_milli"] == 1_000


@pytest.mark.parametrize(
    ("good", "is_new", "begin", "end"),
    [
        (
            1_700,
            True,
            "New: so",
            "That rests on little: as much as 1.7 recent orders and challenges; older ones",
        ),
        (1_000, False, "At least", "That rests on as much as 1 recent order or challenge; older ones"),
    ],
)
def test_the_figure_says_on_how_much_it_rests(good: int, is_new: bool, begin: str, end: str) -> None:
    found = Reliability(score=1_208, good_milli=good, bad_milli=0, is_new=is_new, changes=())
    words = summary_words(found)
    assert words.startswith(begin)
    assert words.endswith(f"12.08 % of orders end well. {end} count less.")
