"""From a promise to the money of a bond: who can get there by whose word, and who cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from capacity_lab import BOND_MICRO, make_stall
from hearing import MAX_S, PENALTY, done, hearing
from trade_lab import step

from openstall.app.services.capacity.bonds import place_of
from openstall.app.services.service_levels import court, wire
from openstall.app.services.service_levels.pursuit import ROLE
from openstall.compute_agent.specs import JobResult
from openstall.ledger.bond import BondClient
from openstall.market.errors import Refused
from openstall.market.sightings import JUDGE_S


async def test_a_provider_that_vanishes_pays_the_buyer_what_was_computed_once(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        await court_.lease()
        before = court_.balance()
        async with court_.running(done()):
            await court_.look(20)
            await court_.look(30)
            await court_.vanish()
            others, late = court_.witnesses[:2], court_.lab.oracles[1:]
            await court_.look(10, others)
            assert (await court_.judge())["state"] == "none", "it may still come back"
            await court_.look(10, others)
            await court_.look(100, late)  # they look seldom, and find less
            await court_.look(10, late)
            await court_.look(MAX_S)
            found = await court_.judge()
        assert found["state"] == "paid"
        amounts = sorted(one["amount_micro"] for one in found["answers"].values())
        assert amounts[1] < amounts[2]
        assert found["amount_micro"] == amounts[1], "as much as two of three have found at least"
        assert PENALTY // 2 < found["amount_micro"] <= PENALTY
        assert court_.balance() == before + found["amount_micro"]
        bond = await court_.lab.provider.capacity.bonds.own()
        assert bond is not None
        assert bond.left_micro == BOND_MICRO - found["amount_micro"]
        told = (await court_.order())["service_case"]
        assert (told["state"], told["amount_micro"]) == ("paid", found["amount_micro"])
        again = await court_.lab.buyer.levels.pursuit.complain(court_.order_id)
        assert again == told["case"], "one case an order, however often somebody complains"


@pytest.mark.parametrize(
    ("ending", "blamed"),
    [
        (done(state="failed", reason="crashed"), "buyer"),
        (done(state="failed", reason="job_error"), "buyer"),
        (done(state="limit", reason="memory"), "buyer"),
        (done(state="failed", reason="killed"), "nobody"),
        (done(), "nobody"),
    ],
)
async def test_a_job_that_fails_by_itself_costs_the_provider_nothing(
    tmp_path: Path, ending: JobResult, blamed: str
) -> None:
    async with hearing(tmp_path) as court_:
        await court_.lease()
        before = court_.balance()
        async with court_.running(ending):
            await court_.look(5)
        await court_.look(1)
        assert (await court_.judge())["state"] == "none"
        assert (await court_.order())["service_found"]["blamed"] == blamed
        await court_.lab.buyer.levels.pursuit.complain(court_.order_id)  # the buyer insists
        found = await court_.pursue()
        assert found["state"] == "dismissed"
        assert {one["state"] for one in found["answers"].values()} == {"cleared"}
        assert court_.balance() == before


async def test_a_restarted_provider_is_judged_at_once(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        await court_.lease()
        async with court_.running(done(state="failed", reason="agent_lost")):
            await court_.look(20)
        await court_.look(1)
        found = await court_.judge()
        assert found["state"] == "paid"
        assert {one["blamed"] for one in found["answers"].values()} == {"provider"}


async def test_an_oracle_that_is_away_does_not_hinder_the_others(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        court_.order_id = await lab.lease(service=msgspec.to_builtins(court_.level()))
        await court_.hand_over(lab.oracles[:2])
        there = [lab.buyer, *lab.oracles[:2]]
        async with court_.running(done(state="failed", reason="agent_lost")):
            await court_.look(20, there)
        await court_.look(1, there)
        found = await court_.judge()
        assert found["state"] == "paid"
        assert [one["state"] for one in found["answers"].values()].count("guilty") == 2


async def test_fewer_than_the_quorum_of_lying_oracles_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three says that everything was broken."""
    async with hearing(tmp_path) as court_:
        await court_.lease()
        liar = court_.lab.oracles[0].levels.court
        true_finding = court.finding

        def lie(contract: Any, found: Any) -> wire.Finding:
            honest = true_finding(contract, found)
            return msgspec.structs.replace(
                honest, state="guilty", broken_bps=10_000, amount_micro=PENALTY, blamed="provider"
            )

        async with court_.running(done()):
            await court_.look(5)
        await court_.look(1)
        await court_.judge()
        monkeypatch.setattr(court, "finding", lie)
        await court_.lab.buyer.levels.pursuit.complain(court_.order_id)
        file = msgspec.convert(court_.lab.buyer.levels.pursuit.cases.items(role=ROLE)[0].file, wire.File)
        assert (await liar.complain(court_.lab.buyer.peer_id, file)).state == "guilty"
        monkeypatch.undo()
        found = await court_.pursue()
        assert found["state"] == "dismissed"
        assert sorted(one["state"] for one in found["answers"].values()) == ["cleared", "cleared", "guilty"]


async def test_what_was_begun_is_finished_after_a_restart_and_paid_once(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        async with court_.running(done(state="failed", reason="agent_lost")):
            await court_.look(20)
        await court_.look(1)
        before = court_.balance()
        lab.oracles[:] = [make_stall(one.side, lab.shelf, one.machine) for one in lab.oracles]
        for oracle in lab.oracles:
            oracle.levels.serve()
        lab.buyer = make_stall(lab.buyer.side, lab.shelf, lab.buyer.machine)
        assert (await court_.judge())["state"] == "paid"
        paid = court_.balance() - before
        assert 0 < paid <= PENALTY
        lab.buyer = make_stall(lab.buyer.side, lab.shelf, lab.buyer.machine)
        pursuit = lab.buyer.levels.pursuit
        row = pursuit.cases.items(role=ROLE)[0]
        pursuit.cases.patch(row.case_hash, ROLE, at=0, state="open")  # killed between paying and noting it
        assert await court_.judge() == {"state": "paid", **pursuit.cases.get(row.case_hash, ROLE).data}
        assert court_.balance() == before + paid
        for oracle in lab.oracles:
            oracle.levels.serve()
            with pytest.raises(Refused):
                await oracle.levels.court.sign(lab.buyer.peer_id, court_.order_id, PENALTY + 1)


async def test_a_case_that_others_have_settled_ends_with_what_the_bond_paid(tmp_path: Path) -> None:
    """A provider whose own oracles make its bond pay next to nothing, before the buyer complains."""
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        async with court_.running(done(state="failed", reason="agent_lost")):
            await court_.look(20)
        await court_.look(1)
        contract = wire.open_lease(await court_.contract_lease())
        said = wire.sentence(contract, 1)
        bond = await lab.buyer.capacity.bonds.read(wire.level_of(contract).bond)
        client = BondClient(lab.oracles[0].levels.court.chain)
        signatures = [
            (place_of(bond, one.wallet), client.sign(one.levels.court.wallet, said)) for one in lab.oracles
        ][: bond.quorum]
        transactions = lab.oracles[0].levels.pursuit.transactions
        await transactions.send("slash", "ahead of the buyer", lambda: client.slash(said, signatures))
        found = await court_.judge()
        assert (found["state"], found["amount_micro"]) == ("paid", 1)


async def test_a_buyer_that_hides_the_report_is_answered_from_what_the_oracles_saw(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        async with court_.running(done()):
            await court_.look(5)
        await court_.look(1, lab.oracles)
        await court_.vanish()
        for seconds in (10, 10, MAX_S):
            await court_.look(seconds, [lab.buyer])
        found = await court_.judge()  # its own looks say: vanished
        assert found["state"] == "dismissed"


async def test_a_buyer_that_takes_its_money_back_first_gets_no_penalty(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        order = await lab.buyer.side.desk.load(court_.order_id)
        await lab.buyer.side.channel.start_withdraw(order)
        await step(lab.provider.side, court_.order_id)
        await court_.look(5)
        await court_.look(JUDGE_S)
        assert (await court_.judge())["state"] == "none"
        assert (await court_.order())["service_found"]["state"] == "cleared"


async def test_a_failed_start_costs_the_buyer_nothing_and_the_bond_pays(tmp_path: Path) -> None:
    """No useful output: no second is owed, no voucher is asked for, and the whole cap comes back."""
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()

        async def no_sandbox(_spec: Any, _inputs: Path, _outputs: Path, _on_event: Any) -> JobResult:
            return JobResult(state="refused", reason="sandbox_unavailable", words="No sandbox.")

        lab.provider.side.agent.script = no_sandbox
        order = await step(lab.provider.side, court_.order_id)
        assert (order.data["seconds"], order.data["owed_micro"]) == (0, 0)
        await court_.look(1)
        assert (await court_.judge())["state"] == "paid"
        settled = await step(lab.provider.side, court_.order_id)
        assert (settled.state, settled.data["paid_micro"]) == ("settled", 0)
        assert await lab.buyer.side.channel.paid(settled) == (0, 0)
