"""A buyer with a provider who bends the protocol: the money comes back, and what was paid for arrives."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trade_lab import TradeLab, funded_job, step, trade_lab
from trade_parts import works_for

from openstall.app.services.orders import job_buyer
from openstall.app.services.orders.job_wire import MAX_FRAME, PROTOCOL, FromProvider, Line, write
from openstall.market import canonical
from openstall.market.errors import OpenstallError, PeerError
from openstall.market.fields import BlobRef
from openstall.market.metering import Tick, sign_tick
from openstall.market.orders.documents import InputFile
from openstall.market.orders.results import JobReport, sign_report
from openstall.p2p.framing import Framed
from openstall.p2p.limits import Rate

Tells = Callable[[Framed], Awaitable[None]]


def provider_says(lab: TradeLab, tells: Tells) -> None:
    """The provider's node answers followers with the test's own words."""

    async def follow(_peer_id: str, stream: Framed) -> None:
        await stream.receive(timeout_s=10)
        await tells(stream)

    lab.seller.host.serve_stream(
        PROTOCOL, follow, max_frame=MAX_FRAME, per_peer_rate=Rate(per_s=100, burst=100)
    )


def tick_of(lab: TradeLab, contract: Any, seconds: int, seq: int) -> dict[str, Any]:
    plain = Tick(order=contract.order_id, seq=seq, seconds=seconds, owed_micro=1_000 * seconds, at=0)
    found: dict[str, Any] = canonical.decode(sign_tick(plain, contract, lab.seller.seed))
    return found


async def test_a_provider_who_keeps_talking_cannot_hold_the_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_buyer, "LOOK_S", 0.05)
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        order = await lab.buyer.desk.load(order_id)

        async def chatter(stream: Framed) -> None:
            said = await lab.seller.transcripts.say(order.contract, "start")
            await stream.send(write(FromProvider(entries=said)))
            while True:
                lab.clock.ahead_s += 500
                await stream.send(write(FromProvider(done=1, total=2)))
                await trio.sleep(0.05)

        provider_says(lab, chatter)
        with trio.fail_after(20):
            while (order := await step(lab.buyer, order_id)).state != "withdrawing":
                assert order.state in ("funded", "running")


async def test_seconds_after_a_cancel_are_not_paid(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        buyer = lab.buyer
        contract = (await buyer.desk.load(order_id)).contract
        await buyer.desk.advance(
            await buyer.desk.load(order_id),
            "start",
            actor="other",
            words="x",
            data={"started_at": lab.clock.now() - 200},
        )
        await buyer.desk.patch(order_id, cancel_requested=True, cancel_at=lab.clock.now() - 150)

        async def goes_on(stream: Framed) -> None:
            for seq, seconds in enumerate((40, 190), start=1):
                await stream.send(write(FromProvider(tick=tick_of(lab, contract, seconds, seq))))
            await stream.receive(timeout_s=5)
            await trio.sleep_forever()

        provider_says(lab, goes_on)
        with trio.fail_after(20), pytest.raises(OpenstallError) as caught:
            await buyer.buyer._listen(await buyer.desk.load(order_id))
        assert caught.value.code == "meter_ahead"
        assert await buyer.channel.highest(await buyer.desk.load(order_id)) == 40_000


async def test_a_provider_who_ignores_a_cancel_is_left(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        lab.seller.agent.script = works_for(1)
        await lab.buyer.desk.patch(
            order_id, cancel_requested=True, cancel_at=lab.clock.now() - job_buyer.LEAVE_AFTER_S - 1
        )
        assert (await step(lab.buyer, order_id)).state == "withdrawing"


async def test_results_that_were_paid_arrive_even_after_the_settlement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buyer's node was killed, or offline, between its last voucher and the download."""
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider, buyer = lab.seller, lab.buyer
        provider.agent.script = works_for(2)
        assert (await step(provider, order_id)).state == "ended"
        fetch = type(buyer.transfer).fetch

        async def broken(*_args: Any, **_more: Any) -> None:
            raise PeerError("peer_unreachable", "The line broke.")

        monkeypatch.setattr(type(buyer.transfer), "fetch", broken)
        with pytest.raises(PeerError):
            await step(buyer, order_id)
        with trio.fail_after(20):
            while (await step(provider, order_id)).state != "settled":  # the last voucher is on its way
                await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(PeerError):
            await step(buyer, order_id)
        assert (await buyer.desk.load(order_id)).final
        monkeypatch.setattr(type(buyer.transfer), "fetch", fetch)
        buyer.engine.handlers = {("compute", "buyer"): buyer.buyer}
        async with trio.open_nursery() as nursery:
            await nursery.start(buyer.engine.run)
            with trio.fail_after(20):
                while not (await buyer.desk.load(order_id)).done:
                    await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        folder = Path((await buyer.desk.load(order_id)).data["fetched"])
        assert (folder / "model.onnx").read_bytes() == b"result"


async def test_a_voucher_that_was_lost_on_the_way_is_sent_again(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider, buyer = lab.seller, lab.buyer
        provider.agent.script = works_for(3)
        ended = await step(provider, order_id)
        order = await buyer.desk.load(order_id)
        await buyer.desk.advance(
            order, "start", actor="other", words="x", data={"started_at": lab.clock.now() - 10}
        )
        # As a crash leaves it: the voucher is in the books, and never reached the provider.
        await buyer.channel.pay(order, 3_000)
        tick = Tick(order=order_id, seq=1, seconds=3, owed_micro=3_000, at=0)
        tick = msgspec.convert(canonical.decode(base64.b64decode(ended.data["tick"]))["tick"], Tick)
        await buyer.desk.patch(order_id, seconds=3, owed_micro=3_000, tick=msgspec.to_builtins(tick))
        with trio.fail_after(20):
            while "fetched" not in (await buyer.desk.load(order_id)).data:
                try:
                    await step(buyer, order_id)
                except PeerError:
                    await trio.sleep(0.2)
        assert await provider.channel.highest(ended) == 3_000


async def test_artefacts_that_differ_from_the_report_are_not_called_verified(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        buyer = lab.buyer
        contract = (await buyer.desk.load(order_id)).contract
        made = await lab.seller.file("model.onnx", b"something")
        lab.seller.access.make_public(made.blob.cid)
        claimed = BlobRef(cid=made.blob.cid, size=made.blob.size, sha256="ab" * 32)
        report = JobReport(
            order=order_id,
            state="done",
            reason="done",
            words="Done.",
            seconds=0,
            owed_micro=0,
            outputs=[InputFile(name="model.onnx", blob=claimed)],
            at=0,
        )
        signed = sign_report(report, contract, lab.seller.seed)

        async def tells(stream: Framed) -> None:
            await stream.send(write(FromProvider(report=canonical.decode(signed.raw))))
            await trio.sleep_forever()

        provider_says(lab, tells)
        with trio.fail_after(20), pytest.raises(OpenstallError) as caught:
            await step(buyer, order_id)
        assert caught.value.code == "wrong_file"
        order = await buyer.desk.load(order_id)
        assert not order.data.get("fetched")
        assert order.data["fault"]["code"] == "wrong_file"


async def test_a_page_of_log_lines_is_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        buyer = lab.buyer
        commits = []
        append = type(buyer.log).append

        def counted(self: Any, *args: Any, **more: Any) -> int:
            commits.append(len(args) - 1)
            return append(self, *args, **more)

        monkeypatch.setattr(type(buyer.log), "append", counted)

        async def tells(stream: Framed) -> None:
            lines = [Line(seq=number, text=f"{number}\x1b[2J") for number in (0, 1, 2, 2, 7, 3)]
            await stream.send(write(FromProvider(lines=lines)))

        provider_says(lab, tells)
        with trio.fail_after(20), pytest.raises(PeerError):
            await step(buyer, order_id)
        assert [line.text for line in buyer.log.read(order_id)] == ["0 [2J", "1 [2J", "2 [2J", "3 [2J"]
        assert len(commits) == 1
