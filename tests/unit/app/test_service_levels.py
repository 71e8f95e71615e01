"""From a promise to the money of a bond: who can get there by whose word, and who cannot."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from capacity_lab import BOND_MICRO, CapacityLab, Stall, capacity_lab, make_stall
from trade_lab import leave, step

from openstall.app.services.renting import OFFER_KEY
from openstall.app.services.service_levels import court, wire
from openstall.app.services.service_levels.promises import Wanted
from openstall.app.services.service_levels.pursuit import ROLE
from openstall.compute_agent.specs import FirstOutput, JobResult, Usage, UsageTick
from openstall.market import canonical
from openstall.market.capacity import sign_document
from openstall.market.errors import OpenstallError, PeerError, Refused
from openstall.market.records import Service, ServiceLevel
from openstall.market.sightings import JUDGE_S, ServiceCase
from openstall.p2p.exchange import RefusedByPeer

PENALTY = 900_000
MAX_S = 600
LONG_S = 100_000


@dataclass(slots=True, kw_only=True)
class Hearing:
    """A leased machine with a promise, watched by the buyer and by the oracles."""

    lab: CapacityLab
    bond: str
    order_id: str = ""
    ending: JobResult | None = None
    release: trio.Event | None = None

    @property
    def witnesses(self) -> list[Stall]:
        """Who looks at the provider."""
        return [self.lab.buyer, *self.lab.oracles]

    def level(self, **changes: Any) -> ServiceLevel:
        plain = {
            "start_s": 60,
            "uptime_bps": 9_500,
            "steps_per_1000s": 0,
            "bond": self.bond,
            "penalty_micro": PENALTY,
        }
        return msgspec.convert(plain | changes, ServiceLevel)

    async def lease(self, **changes: Any) -> str:
        """A paid job with that promise, handed to everybody who shall watch."""
        self.order_id = await self.lab.lease(service=msgspec.to_builtins(self.level(**changes)))
        await self.hand_over(self.lab.oracles)
        return self.order_id

    async def contract_lease(self) -> wire.Lease:
        order = await self.lab.buyer.side.desk.load(self.order_id)
        return wire.Lease(
            order=msgspec.to_builtins(order.contract.order),
            buyer_signature=order.buyer_signature,
            seller_signature=order.seller_signature,
        )

    async def hand_over(self, oracles: list[Stall]) -> None:
        """What the buyer's node does once a job is paid."""
        async with trio.open_nursery() as nursery:
            await self.lab.buyer.levels.pursuit._look_at(self.order_id, nursery)
            nursery.cancel_scope.cancel()
        for oracle in oracles:
            await self.lab.buyer.levels.pursuit._watch_by(oracle.wallet, await self.contract_lease())

    async def look(self, seconds: int, witnesses: list[Stall] | None = None) -> None:
        """Some time passes, and everybody looks at the provider."""
        self.lab.trade.clock.ahead_s += seconds
        for witness in self.witnesses if witnesses is None else witnesses:
            row = witness.levels.witness.watches.get(self.order_id)
            if not row.report:
                contract = wire.open_lease(msgspec.convert(row.contract, wire.Lease))
                await witness.levels.witness.look(row, contract)

    async def script(self, _spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
        """A job that has begun and goes on until the test lets it end."""
        assert self.release is not None
        leave(outputs, b"")
        await on_event(FirstOutput(start_ms=1))
        await on_event(UsageTick(usage=Usage(seconds_useful=1)))
        self.started.set()
        await self.release.wait()
        assert self.ending is not None
        return self.ending

    started: trio.Event = None  # type: ignore[assignment]  # made in the loop

    @asynccontextmanager
    async def running(self, ending: JobResult) -> AsyncIterator[None]:
        """The provider's node runs the job; it ends so when the block is left."""
        self.release, self.started, self.ending = trio.Event(), trio.Event(), ending
        self.lab.provider.side.agent.script = self.script
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step, self.lab.provider.side, self.order_id)
            with trio.fail_after(30):
                await self.started.wait()
            yield
            self.release.set()

    async def vanish(self) -> None:
        """The provider's node is gone, as after a kill."""
        await self.stop(self.lab.provider, self.witnesses)

    async def stop(self, gone: Stall, seen_by: list[Stall]) -> None:
        """A node ends, and the others have noticed."""
        gone.side.host.stop()
        with trio.fail_after(30):
            while any(one.side.host.peer(gone.peer_id) is not None for one in seen_by):
                await trio.testing.wait_all_tasks_blocked(0.01)

    async def judge(self) -> dict[str, Any]:
        """The buyer's node draws its conclusions, and pursues its case to the end; the case's row."""
        pursuit = self.lab.buyer.levels.pursuit
        await pursuit.found(pursuit.watches.get(self.order_id))
        return await self.pursue()

    async def pursue(self) -> dict[str, Any]:
        pursuit = self.lab.buyer.levels.pursuit
        rows = pursuit.cases.items(role=ROLE)
        if not rows:
            return {"state": "none"}
        for _ in range(3):
            row = pursuit.cases.get(rows[0].case_hash, ROLE)
            if row.state != "open" or await pursuit._step(row):
                break
        row = pursuit.cases.get(rows[0].case_hash, ROLE)
        return {"state": row.state, **row.data}

    def balance(self) -> int:
        return self.lab.trade.chain.balance(self.lab.buyer.side.wallet)

    async def order(self) -> dict[str, Any]:
        return (await self.lab.buyer.side.desk.load(self.order_id)).data


def done(seconds: int = 1, state: str = "done", reason: str = "ok") -> JobResult:
    usage = Usage(seconds_useful=seconds)
    return JobResult(state=state, reason=reason, words="The end.", usage=usage)  # type: ignore[arg-type]


@asynccontextmanager
async def hearing(folder: Path) -> AsyncIterator[Hearing]:
    async with capacity_lab(folder) as lab:
        bond = await lab.post_bond(unlock_delay_s=LONG_S)
        for stall in lab.stalls:
            stall.levels.serve()
        yield Hearing(lab=lab, bond=bond)


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


async def test_who_may_ask_how_far_a_job_is(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        ask = wire.Ask(do="status", order=court_.order_id, nonce=secrets.token_hex(16))
        for witness in court_.witnesses:
            found = await wire.ask(witness.side.host, lab.provider.peer_id, ask, wire.Status)
            assert found.telemetry["doc"]["state"] == "waiting"
            assert found.telemetry["doc"]["nonce"] == ask.nonce
        with pytest.raises(RefusedByPeer) as refusal:
            await wire.ask(lab.stranger.side.host, lab.provider.peer_id, ask, wire.Status)
        assert refusal.value.code == "no_such_order"


@pytest.mark.parametrize(
    "trick", ["old answer", "other order", "other author", "ended without a report", "busy"]
)
async def test_an_answer_that_proves_nothing_counts_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        true_status = type(lab.provider.levels)._status

        async def dishonest(service: Any, peer_id: str, ask: wire.Ask) -> wire.Status:
            if trick == "busy":
                raise PeerError("busy", "Too busy.")
            found = await true_status(service, peer_id, ask)
            document = dict(found.telemetry["doc"])
            if trick == "old answer":
                document["nonce"] = "00" * 16
            elif trick == "other order":
                document["order"] = "ab" * 32
            elif trick == "ended without a report":
                document |= {"state": "ended", "ended_at": document["at"]}
            by = lab.stranger if trick == "other author" else lab.provider
            seed = by.capacity.challenging.me.seed
            signed = sign_document(
                msgspec.convert(document, court.wire.Telemetry),
                what="telemetry",
                network=document["network"],
                seed=seed,
            )
            return wire.Status(telemetry=signed)

        monkeypatch.setattr(type(lab.provider.levels), "_status", dishonest)
        await court_.look(5)
        for witness in court_.witnesses:
            (seen,) = witness.levels.witness.watches.get(court_.order_id).sightings
            assert seen["state"] == "none"


async def test_a_witness_without_any_line_sees_nothing(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        await court_.lease()
        oracle = lab.oracles[0]
        await court_.vanish()
        await court_.look(1, [oracle])
        for other in (lab.buyer, *lab.oracles[1:], lab.stranger):
            await court_.stop(other, [oracle])
        await court_.look(1, [oracle])
        seen = oracle.levels.witness.watches.get(court_.order_id).sightings
        assert [one["state"] for one in seen] == ["silent", "blind"]


Refusal = tuple[str, Callable[[Hearing], Any]]


async def test_what_an_oracle_does_not_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hearing(tmp_path) as court_:
        lab, oracle = court_.lab, court_.lab.oracles[0].levels.court
        court_.order_id = await lab.lease(service=msgspec.to_builtins(court_.level()))
        lease = await court_.contract_lease()

        async def refused(who: Stall, what: wire.Lease, at: Any = oracle) -> str:
            with pytest.raises(OpenstallError) as caught:
                await at.watch(who.peer_id, what)
            return caught.value.code

        assert await refused(lab.stranger, lease) == "not_the_buyer"
        assert await refused(lab.buyer, lease, lab.stranger.levels.court) == "not_an_oracle"
        unsigned = msgspec.structs.replace(lease, seller_signature=lease.buyer_signature)
        assert await refused(lab.buyer, unsigned) == "bad_signature"
        monkeypatch.setattr(court, "MOST_PER_BUYER", 0)
        assert await refused(lab.buyer, lease) == "too_many_watched"
        monkeypatch.undo()
        lab.trade.clock.ahead_s += 10_000
        assert await refused(lab.buyer, lease) == "bad_times"
        lab.trade.clock.ahead_s -= 10_000
        until = (await oracle.watch(lab.buyer.peer_id, lease)).until
        assert (await oracle.watch(lab.buyer.peer_id, lease)).until == until
        assert oracle.watches.count("oracle") == 1

        court_.order_id = await lab.lease(
            service=msgspec.to_builtins(court_.level(penalty_micro=1_000_000)), cap_micro=100_001
        )
        monkeypatch.setattr(oracle.watches, "pledged", lambda _bond: BOND_MICRO - 999_999)
        assert await refused(lab.buyer, await court_.contract_lease()) == "bond_pledged"
        monkeypatch.undo()

        data = await lab.buyer.side.file("other.csv", b"1\n")
        level = msgspec.to_builtins(court_.level())
        court_.order_id = await lab.trade.both(lab.trade.job([data], service=level))
        assert await refused(lab.buyer, await court_.contract_lease()) == "not_paid_yet"
        oracles = [one.wallet for one in lab.oracles]
        foreign = await lab.stranger.capacity.bonds.post(
            amount_micro=BOND_MICRO, oracles=oracles, quorum=2, unlock_delay_s=LONG_S
        )
        for bond in ("ab" * 32, foreign.bond_id.hex()):
            strange = lab.trade.job([data], service=level | {"bond": bond})
            court_.order_id = await lab.trade.both(strange)
            assert await refused(lab.buyer, await court_.contract_lease()) == "no_bond"
        plain = lab.trade.job([data])
        court_.order_id = await lab.trade.both(plain)
        assert await refused(lab.buyer, await court_.contract_lease()) == "no_service"


async def test_a_complaint_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab, oracle = court_.lab, court_.lab.oracles[0].levels.court
        await court_.lease()
        me = lab.buyer.capacity.challenging.me
        lease = await court_.contract_lease()
        case = {
            "network": me.network,
            "chain_id": me.chain_id,
            "bond": court_.bond,
            "order": court_.order_id,
            "provider": lab.provider.peer_id,
            "by": lab.buyer.peer_id,
            "beneficiary": lab.buyer.wallet,
            "at": lab.buyer.side.clock.now(),
        }

        async def complain(who: Stall = lab.buyer, at: Any = oracle, **changes: Any) -> wire.Finding:
            seed = who.capacity.challenging.me.seed
            document = msgspec.convert(case | changes, ServiceCase)
            signed = sign_document(document, what="service-case", network=me.network, seed=seed)
            return await at.complain(who.peer_id, wire.File(case=signed, lease=lease))

        for changes in (
            {"beneficiary": lab.stranger.wallet},
            {"bond": "ab" * 32},
            {"order": "ab" * 32},
            {"provider": lab.stranger.peer_id},
            {"by": lab.stranger.peer_id},
            {"chain_id": 1},
        ):
            with pytest.raises(OpenstallError) as refusal:
                await complain(**changes)
            assert refusal.value.code == "bad_case", changes
        with pytest.raises(OpenstallError):
            await complain(lab.stranger)
        with pytest.raises(OpenstallError) as refusal:
            await complain(at=lab.stranger.levels.court)
        assert refusal.value.code == "not_watched"
        assert (await complain()).state == "open"
        with pytest.raises(Refused):
            await oracle.sign(lab.buyer.peer_id, court_.order_id, 1)
        with pytest.raises(Refused):
            await oracle.sign(lab.stranger.peer_id, court_.order_id, 1)


GARBAGE = (
    *(b"", b"{}", b"[]", b"\xff", b"[" * 999),
    *(b'{"do":"watch"}', b'{"do":"complain"}', b'{"do":"sign"}', b'{"do":"status"}'),
    b'{"do":"status","nonce":"x","order":"y"}',
    b'{"do":"sign","amount_micro":-1}',
    b'{"do":"ping","extra":1}',
    canonical.encode({"do": "watch", "lease": {"order": {}, "buyer_signature": "", "seller_signature": ""}}),
    canonical.encode({"do": "complain", "file": {"case": {}, "lease": {}, "report": {"report": [[]] * 50}}}),
)


async def test_garbage_is_refused_in_words(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        for raw in GARBAGE:
            with pytest.raises(OpenstallError):
                await lab.oracles[0].levels._answer(lab.stranger.peer_id, raw)


async def test_a_provider_is_bound_to_no_more_than_it_promised_and_its_bond_is_pledged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        mine = lab.provider.levels.promises
        data = await lab.buyer.side.file("data.csv", b"1,2\n")

        async def asked(**changes: Any) -> str:
            level = msgspec.to_builtins(court_.level(**changes))
            contract = lab.trade.job([data], service=level, cap_micro=600_000)
            try:
                await mine.admit(contract)
            except OpenstallError as error:
                return error.code
            return ""

        assert await asked() == "no_service"
        lab.provider.side.store  # noqa: B018 - the promise is set as the owner's node does it
        mine.settings.set("service.promise", msgspec.to_builtins(court_.level(penalty_micro=5_000_000)))
        assert await asked() == ""
        assert await asked(start_s=30) == "more_than_promised"
        assert await asked(uptime_bps=9_600) == "more_than_promised"
        assert await asked(penalty_micro=5_000_001) == "more_than_promised"
        assert await asked(bond="ab" * 32) == "more_than_promised"
        for _ in range(2):
            await lab.lease(
                service=msgspec.to_builtins(court_.level(penalty_micro=3_000_000)), cap_micro=600_000
            )
        assert await mine.pledged() == 6_000_000
        assert await asked(penalty_micro=1_000_000) == ""
        assert await asked(penalty_micro=1_000_001) == "bond_pledged"
        lab.trade.clock.ahead_s += LONG_S
        assert await mine.pledged() == 0, "nobody may complain of them any more"


async def test_a_bond_that_may_be_gone_too_early_binds_nobody(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        bond = await lab.post_bond()  # 600 seconds only
        court_ = Hearing(lab=lab, bond=bond)
        lab.shelf.put(
            lab.provider.side,
            "service",
            OFFER_KEY,
            Service(level=court_.level(), chain_id=lab.trade.chain.chain.params.chain_id),
        )
        with pytest.raises(Refused) as refusal:
            await lab.buyer.levels.promises.choose(
                lab.provider.peer_id, Wanted(), cap_micro=600_000, max_s=600
            )
        assert refusal.value.code == "bond_leaves"


async def test_what_a_buyer_can_ask_for(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        theirs = lab.buyer.levels.promises

        async def chosen(**wanted: Any) -> ServiceLevel:
            return await theirs.choose(lab.provider.peer_id, Wanted(**wanted), cap_micro=50_000, max_s=600)

        with pytest.raises(Refused) as refusal:
            await chosen()
        assert refusal.value.code == "no_service"
        chain_id = lab.trade.chain.chain.params.chain_id
        lab.shelf.put(
            lab.provider.side, "service", OFFER_KEY, Service(level=court_.level(), chain_id=chain_id)
        )
        assert (await chosen()) == court_.level(penalty_micro=500_000), "ten times the cap at most"
        assert (await chosen(uptime_bps=5_000, penalty_micro=7)).penalty_micro == 7
        for wanted, code in (
            ({"penalty_micro": 500_001}, "penalty_too_high"),
            ({"start_s": 1}, "more_than_promised"),
            ({"steps_per_1000s": 1}, "more_than_promised"),
        ):
            with pytest.raises(Refused) as refusal:
                await chosen(**wanted)
            assert refusal.value.code == code
        false = Service(level=court_.level(), chain_id=chain_id)
        lab.shelf.put(lab.stranger.side, "service", OFFER_KEY, false)
        with pytest.raises(Refused) as refusal:
            await theirs.choose(lab.stranger.peer_id, Wanted(), cap_micro=50_000, max_s=600)
        assert refusal.value.code == "no_bond", "the bond of somebody else"
