"""Who may challenge a machine, how often, and what an answer must hold to pass."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
import trio
from capacity_lab import SIZE, CapacityLab, Stall, capacity_lab

from openstall.app.services.capacity import answering, wire
from openstall.app.services.capacity.testbench import silent
from openstall.market.capacity import Challenge, sign_document
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.p2p.exchange import RefusedByPeer, decode_answer


async def ask(lab: CapacityLab, who: Stall, order_id: str = "") -> tuple[str, str]:
    """Outcome and code of a challenge to the provider's live claim."""
    record = await lab.provider.capacity.claims.live(lab.provider.peer_id)
    assert record is not None
    heard = await who.capacity.challenging.challenge(record, order_id=order_id, progress=silent)
    return heard.verdict.outcome, heard.verdict.code


async def test_a_buyer_with_a_paid_job_challenges_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        blobs, removed = lab.provider.side.blobs, trio.Event()
        before, remove = {blob.cid for blob in blobs.all()}, blobs.remove

        async def remove_and_tell(cid: str) -> None:
            await remove(cid)
            removed.set()

        blobs.remove = remove_and_tell  # type: ignore[method-assign]
        found = await lab.buyer.capacity.challenge_lease(order_id, silent)
        assert (found["outcome"], found["case"]) == ("passed", None)
        assert (lab.provider.machine.proved, lab.buyer.machine.checked) == (1, 1)
        shown = await lab.buyer.capacity.show(lab.provider.peer_id)
        assert [one["outcome"] for one in shown["verdicts"]] == ["passed"]
        with trio.fail_after(20):
            await removed.wait()
        assert {blob.cid for blob in blobs.all()} == before
        assert list((lab.provider.side.folder / "work").iterdir()) == []


async def test_who_has_no_paid_job_and_is_no_oracle_costs_the_machine_nothing(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        data = await lab.buyer.side.file("data.csv", b"1,2\n")
        unpaid = await lab.trade.both(lab.trade.job([data]))
        for who, order_id in (
            (lab.buyer, unpaid),
            (lab.buyer, ""),
            (lab.oracles[0], ""),  # no bond names it
            (lab.stranger, await lab.lease()),  # the order of somebody else
        ):
            assert await ask(lab, who, order_id) == ("refused", "challenge_not_allowed")
        assert lab.provider.machine.proved == 0
        with pytest.raises(Conflict):
            await lab.buyer.capacity.challenge_lease(unpaid, silent)


async def test_an_oracle_challenges_as_long_as_the_bond_is_there(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        await lab.post_bond(unlock_delay_s=60)
        lab.provider.capacity.answering.serve()
        assert await ask(lab, lab.oracles[1]) == ("passed", "")
        assert await ask(lab, lab.stranger) == ("refused", "challenge_not_allowed")
        await lab.provider.capacity.bonds.announce()
        assert await ask(lab, lab.oracles[1]) == ("passed", "")
        lab.trade.clock.ahead_s += 600
        await lab.provider.capacity.bonds.withdraw()
        assert await ask(lab, lab.oracles[1]) == ("refused", "challenge_not_allowed")


async def test_a_machine_is_not_worn_out_by_challenges(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        most = int(answering.PER_CHALLENGER.burst)
        found = [await ask(lab, lab.buyer, order_id) for _ in range(most + 2)]
        assert found == [("passed", "")] * most + [("refused", "too_many_challenges")] * 2
        assert lab.provider.machine.proved == most


async def test_a_claim_that_expires_during_a_lease_is_answered_for(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        lab.trade.clock.ahead_s += 20_000
        assert await ask(lab, lab.buyer, order_id) == ("passed", "")


async def test_one_challenge_at_a_time_is_answered(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        reached, go_on = trio.Event(), trio.Event()
        honest = lab.provider.machine.run

        async def slow(*args: Any, **more: Any) -> Any:
            reached.set()
            await go_on.wait()
            return await honest(*args, **more)

        lab.provider.capacity.answering.bench.jobs.agent.run = slow  # type: ignore[method-assign,assignment]
        found: list[tuple[str, str]] = []

        async def first() -> None:
            found.append(await ask(lab, lab.buyer, order_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await reached.wait()
            assert await ask(lab, lab.buyer, order_id) == ("refused", "challenge_busy")
            go_on.set()
        assert found == [("passed", "")]


async def test_a_challenger_who_leaves_ends_the_work(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        reached, ended = trio.Event(), trio.Event()

        async def endless(*_args: Any, **_more: Any) -> Any:
            reached.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        lab.provider.capacity.answering.bench.jobs.agent.run = endless  # type: ignore[method-assign,assignment]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, lab, lab.buyer, order_id)
            await reached.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(20):
            await ended.wait()


async def test_a_wrong_answer_is_wrong_and_a_late_one_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        lab.provider.machine.trick = "wrong"
        outcome, code = await ask(lab, lab.buyer, order_id)
        assert outcome == "wrong"
        assert code.startswith("segment")
        lab.provider.machine.trick = ""
        monkeypatch.setattr("openstall.app.services.capacity.challenging.allowed_ms", lambda *_a, **_k: 0)
        assert await ask(lab, lab.buyer, order_id) == ("too_slow", "")


async def test_a_peer_that_is_away_is_silent_and_not_guilty(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        record = lab.claim(lab.provider)
        lab.provider.side.host.stop()
        await lab.buyer.side.host.disconnect(lab.provider.peer_id)
        heard = await lab.buyer.capacity.challenging.challenge(record, order_id="ab" * 32, progress=silent)
        assert heard.verdict.outcome == "silent"
        assert heard.passing


async def test_a_client_without_challenges_refuses(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        assert await ask(lab, lab.buyer, "ab" * 32) == ("refused", "not_supported")


async def converse(
    lab: CapacityLab, order_id: str, *, secret: str, signed_by: Stall | None = None, **changes: Any
) -> Any:
    """A challenge by hand, with what a modified challenger would send; the last frame of the provider."""
    record = await lab.provider.capacity.claims.live(lab.provider.peer_id)
    assert record is not None
    me = lab.buyer.capacity.challenging.me
    plain: dict[str, Any] = {
        "network": me.network,
        "claim": record.cid,
        "provider": lab.provider.peer_id,
        "challenger": me.peer_id,
        "order": order_id,
        "seed": "11" * 32,
        "secret_sha256": "22" * 32,
        "at": lab.trade.clock.now(),
    }
    challenge = Challenge(**(plain | changes))
    async with await lab.buyer.side.host.open_stream(
        lab.provider.peer_id, wire.PROTOCOL, timeout_s=20, max_frame=wire.MAX_FRAME
    ) as stream:
        seed = (signed_by or lab.buyer).side.seed
        signed = sign_document(challenge, what="challenge", network=me.network, seed=seed)
        await stream.send(wire.encode(signed))
        raw = await stream.receive(timeout_s=20)
        assert raw is not None
        decode_answer(raw)
        await stream.send(wire.encode({"secret": secret}))
        raw = await stream.receive(timeout_s=20)
        assert raw is not None
        return decode_answer(raw)


async def test_nothing_is_opened_for_another_secret_than_the_sealed_one(tmp_path: Path) -> None:
    """Else the challenger would choose what is opened, after it has seen the digests."""
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        with pytest.raises(RefusedByPeer) as refusal:
            await converse(lab, order_id, secret=secrets.token_hex(32))
        assert refusal.value.code == "wrong_secret"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"at": 5}, "bad_challenge"),
        ({"provider": "other"}, "bad_challenge"),
        ({"claim": "b" + "c" * 58}, "no_such_claim"),
        ({"signed_by": "other"}, "bad_signature"),
        ({"challenger": "other"}, "bad_challenge"),
    ],
    ids=str,
)
async def test_a_challenge_is_for_this_node_now_and_its_own_claim(
    tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        others = {"provider": lab.stranger.peer_id, "challenger": lab.stranger.peer_id}
        others |= {"signed_by": lab.stranger}  # type: ignore[dict-item]
        change = {name: others[name] if value == "other" else value for name, value in change.items()}
        with pytest.raises(OpenstallError) as refusal:
            await converse(lab, order_id, secret="", **change)
        assert refusal.value.code == code
        assert lab.provider.machine.proved == 0


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff" * 50, b'{"doc":{},"sig":"x"}', b"[" * 3000])
async def test_garbage_is_refused_before_any_work(tmp_path: Path, raw: bytes) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.provider.capacity.answering.serve()
        with pytest.raises(PeerError):
            async with await lab.stranger.side.host.open_stream(
                lab.provider.peer_id, wire.PROTOCOL, timeout_s=20, max_frame=wire.MAX_FRAME
            ) as stream:
                await stream.send(raw)
                answer = await stream.receive(timeout_s=20)
                if answer is None:
                    raise PeerError("ended", "The stream ended.")
                decode_answer(answer)
        assert lab.provider.machine.proved == 0


async def test_the_proof_of_a_claim_is_checked_by_any_peer_and_is_of_no_use_to_another(
    tmp_path: Path,
) -> None:
    async with capacity_lab(tmp_path) as lab:
        record = lab.claim(lab.provider)
        stolen = lab.claim(lab.stranger)
        copied = lab.shelf.put(lab.stranger.side, "capacity", stolen.record.key, record.body)
        found = await lab.buyer.capacity.claims.check_proof(copied, silent)
        assert found["wrong"] == {"cpu": "the seed of another peer or time"}


async def test_a_provider_cannot_have_a_file_of_the_challenger_removed(tmp_path: Path) -> None:
    """It names one of the challenger's own files as its answer: the same size, but not the same bytes."""
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        lab.provider.capacity.answering.serve()
        order_id = await lab.lease()
        own = await lab.buyer.side.file("own.bin", bytes(3 * SIZE * SIZE))
        await lab.provider.side.file("own.bin", bytes(3 * SIZE * SIZE))

        async def cut(_states: Path, _work: Any, _opened: list[int], target: Path) -> None:
            await trio.Path(target).write_bytes(bytes(3 * SIZE * SIZE))

        lab.provider.capacity.answering.bench = Spoilt(lab.provider.capacity.answering.bench, cut)  # type: ignore[assignment]
        assert (await ask(lab, lab.buyer, order_id))[0] == "wrong"
        assert lab.buyer.side.blobs.have(own.blob.cid)


class Spoilt:
    """The bench of a provider that shows what it likes."""

    def __init__(self, honest: Any, cut: Any) -> None:
        self.prove, self.cut = honest.prove, cut


async def test_the_house_rules_win_over_a_challenge_and_cost_no_bond(tmp_path: Path) -> None:
    async with capacity_lab(tmp_path) as lab:
        lab.claim(lab.provider)
        answering = lab.provider.capacity.answering
        answering.serve()
        order_id = await lab.lease()
        answering.held_back = lambda: "you are using the computer."
        assert await ask(lab, lab.buyer, order_id) == ("silent", "house_paused")
        assert lab.provider.machine.proved == 0
        answering.held_back = lambda: ""
        reached = trio.Event()
        found: list[tuple[str, str]] = []

        async def endless(*_args: Any, **_more: Any) -> Any:
            reached.set()
            await trio.sleep_forever()

        lab.provider.machine.run = endless  # type: ignore[method-assign]

        async def challenge() -> None:
            found.append(await ask(lab, lab.buyer, order_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(challenge)
            await reached.wait()
            answering.give_way()
        assert found == [("silent", "house_paused")]
