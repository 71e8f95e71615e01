"""What oracles, buyers and providers of a service level refuse: strangers, garbage, hollow promises."""

from __future__ import annotations

import dataclasses
import secrets
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from capacity_lab import BOND_MICRO, Stall, capacity_lab
from hearing import LONG_S, PENALTY, Hearing, hearing
from offers import OWN

from openstall.app.services.renting import OFFER_KEY
from openstall.app.services.service_levels import court, wire
from openstall.app.services.service_levels.promises import Wanted
from openstall.market import canonical, service_levels
from openstall.market.capacity import sign_document
from openstall.market.errors import OpenstallError, PeerError, Refused
from openstall.market.records import Service, ServiceLevel
from openstall.market.sightings import ServiceCase
from openstall.p2p.exchange import RefusedByPeer


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


async def test_two_orders_at_once_do_not_both_get_the_last_place_of_an_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hearing(tmp_path) as court_:
        lab, oracle = court_.lab, court_.lab.oracles[0].levels.court
        leases = []
        for _ in range(2):
            level = court_.level(penalty_micro=PENALTY // 4)
            court_.order_id = await lab.lease(service=msgspec.to_builtins(level))
            leases.append(await court_.contract_lease())
        monkeypatch.setattr(court, "MOST_PER_BUYER", 1)
        answers = []

        async def watch(lease: wire.Lease) -> None:
            try:
                await oracle.watch(lab.buyer.peer_id, lease)
                answers.append("watched")
            except Refused as error:
                answers.append(error.code)

        async with trio.open_nursery() as nursery:
            for lease in leases:
                nursery.start_soon(watch, lease)
        assert sorted(answers) == ["too_many_watched", "watched"]
        assert oracle.watches.count("oracle") == 1


async def test_an_order_that_never_ends_is_not_watched(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        level = msgspec.to_builtins(court_.level())
        court_.order_id = await lab.lease(service=level, settle_by=lab.trade.clock.now() + 90 * 86_400)
        with pytest.raises(Refused) as caught:
            await lab.oracles[0].levels.court.watch(lab.buyer.peer_id, await court_.contract_lease())
        assert caught.value.code == "bad_times"


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
        monkeypatch.setattr(service_levels, "MOST_ORDERS", 0)
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


async def test_nobody_is_an_oracle_who_has_not_agreed(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        lab, oracle = court_.lab, court_.lab.oracles[0]
        court_.order_id = await lab.lease(service=msgspec.to_builtins(court_.level()))
        lease = await court_.contract_lease()
        oracle.capacity.bonds.settings.remove("capacity.oracle")  # as before its user was asked
        with pytest.raises(Refused) as refusal:
            await oracle.levels.court.watch(lab.buyer.peer_id, lease)
        assert (refusal.value.code, oracle.levels.court.watches.count("oracle")) == ("no_oracle", 0)
        assert await oracle.capacity.be_oracle(on=True) == {"oracle": True}
        await oracle.levels.court.watch(lab.buyer.peer_id, lease)
        await oracle.capacity.be_oracle(on=False)
        await oracle.levels.court.watch(lab.buyer.peer_id, lease)  # what it took on, it finishes
        with pytest.raises(Refused):
            await oracle.capacity.bonds.check_oracle()


async def test_one_provider_cannot_have_all_places_of_an_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs count together, for whichever buyers and bonds they are; its money is locked meanwhile."""
    async with hearing(tmp_path) as court_:
        lab, oracle = court_.lab, court_.lab.oracles[0].levels.court

        async def code(**changes: Any) -> str:
            court_.order_id = await lab.lease(
                service=msgspec.to_builtins(court_.level(**{"penalty_micro": 100_000, **changes})),
                cap_micro=10_000,
            )
            try:
                await oracle.watch(lab.buyer.peer_id, await court_.contract_lease())
            except OpenstallError as error:
                return error.code
            return ""

        assert [await code(), await code()] == ["", ""]
        row = oracle.watches.get(court_.order_id)
        count = oracle.watches.count
        assert count("oracle", provider=lab.provider.peer_id) == 2
        assert count("oracle", provider=lab.stranger.peer_id) == count("buyer") == 0
        assert await code(penalty_micro=99_999) == "penalty_too_low"
        monkeypatch.setattr(service_levels, "MOST_ORDERS", 2)
        assert await code() == "too_many_watched"
        monkeypatch.undo()
        bond = await oracle.bonds.read(court_.bond)
        early = dataclasses.replace(bond, unlock_at=row.ends_at - 1)

        async def leaves(_bond_id: str) -> Any:
            return early

        monkeypatch.setattr(type(oracle.bonds), "read", lambda _self, bond_id: leaves(bond_id))
        assert await code() == "bond_leaves"
        monkeypatch.undo()
        order_id = await lab.lease(service=msgspec.to_builtins(court_.level()))
        await lab.buyer.side.channel.start_withdraw(await lab.buyer.side.desk.load(order_id))
        court_.order_id = order_id
        with pytest.raises(Refused) as refusal:
            await oracle.watch(lab.buyer.peer_id, await court_.contract_lease())
        assert refusal.value.code == "not_paid_yet", "its buyer takes the money back"


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
        assert await asked(penalty_micro=99_999) == "penalty_too_low"
        monkeypatch.setattr(service_levels, "MOST_ORDERS", 2)
        assert await asked(penalty_micro=1_000_000) == "too_many_watched"
        monkeypatch.undo()
        lab.trade.clock.ahead_s += LONG_S
        assert await mine.pledged() == 0, "nobody may complain of them any more"


async def test_what_a_provider_signs_its_oracles_watch(tmp_path: Path) -> None:
    """A bond has no fewer places than orders that it can pay: ten small ones as well as a large one."""
    async with hearing(tmp_path) as court_:
        lab, small = court_.lab, BOND_MICRO // 10
        mine = lab.provider.levels.promises
        mine.settings.set("service.promise", msgspec.to_builtins(court_.level(penalty_micro=small)))
        level = msgspec.to_builtins(court_.level(penalty_micro=small))
        for number in range(10):
            data = await lab.buyer.side.file(f"{number}.csv", b"1,2\n")
            await mine.admit(lab.trade.job([data], service=level, cap_micro=small // 10))
            court_.order_id = await lab.lease(service=level, cap_micro=small // 10)
            await lab.oracles[0].levels.court.watch(lab.buyer.peer_id, await court_.contract_lease())
        data = await lab.buyer.side.file("more.csv", b"1,2\n")
        with pytest.raises(Refused) as refusal:
            await mine.admit(lab.trade.job([data], service=level, cap_micro=small // 10))
        assert refusal.value.code == "bond_pledged"


async def test_a_promise_that_no_oracle_would_watch_is_not_published(tmp_path: Path) -> None:
    async with hearing(tmp_path) as court_:
        mine = court_.lab.provider.levels.promises
        with pytest.raises(Refused) as refusal:
            await mine.promise(Wanted(start_s=60, penalty_micro=99_999))
        assert (refusal.value.code, await mine.own()) == ("penalty_too_low", None)


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
        assert (await chosen(uptime_bps=5_000, penalty_micro=100_000)).penalty_micro == 100_000
        for wanted, code in (
            ({"penalty_micro": 500_001}, "penalty_too_high"),
            ({"penalty_micro": 99_999}, "penalty_too_low"),
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


async def test_what_is_paid_on_top_raises_the_most_that_a_broken_promise_costs(tmp_path: Path) -> None:
    """The cap holds the priority too: the same bound as on the page, and as the provider checks it."""
    async with hearing(tmp_path) as court_:
        lab = court_.lab
        chain_id = lab.trade.chain.chain.params.chain_id
        provider = lab.provider.side
        lab.shelf.put(provider, "service", OFFER_KEY, Service(level=court_.level(), chain_id=chain_id))
        offer = msgspec.structs.replace(OWN, price_per_s_micro=50, max_s=600)
        cid = lab.shelf.put(provider, "offer", OFFER_KEY, offer).cid

        async def worst(priority: int, cap_micro: int) -> int:
            level = await lab.buyer.levels.choose(
                cid, Wanted(), cap_micro=cap_micro, max_s=600, priority_per_s_micro=priority
            )
            return level.penalty_micro

        assert await worst(0, 60_000) == 10 * 50 * 600
        assert await worst(30, 60_000) == 10 * 80 * 600
        assert await worst(30, 40_000) == 10 * 40_000, "never above the buyer's own cap"
