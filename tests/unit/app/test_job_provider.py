"""A provider with a buyer who bends the protocol: no free work, no free results, nobody else's files."""

from __future__ import annotations

import base64
import gc
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trade_lab import funded_job, step, trade_lab
from trade_parts import leave, works_for

from openstall.app.services.orders import job_provider
from openstall.app.services.orders.job_wire import MAX_FRAME, PROTOCOL, FromBuyer, write
from openstall.app.services.orders.view import possible_actions
from openstall.compute_agent.specs import JobResult, LogLine, Usage, UsageTick
from openstall.market.errors import OpenstallError
from openstall.market.orders.agree import SETTLE_AFTER_S
from openstall.market.orders.results import read_report


async def test_a_voucher_that_comes_after_the_settlement_buys_nothing(tmp_path: Path) -> None:
    """Else work of up to twenty seconds would be free: wait for the close, then promise."""
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider, buyer = lab.seller, lab.buyer
        provider.agent.script = works_for(10)
        order = await step(provider, order_id)
        assert order.state == "ended"
        lab.clock.ahead_s += 61
        order = await step(provider, order_id)
        assert order.state == "settled"
        signature = await buyer.channel.pay(await buyer.desk.load(order_id), 10_000)
        with pytest.raises(OpenstallError) as caught:
            await provider.provider.accept_voucher(order, 10_000, signature)
        assert caught.value.code == "channel_closed"
        [artefact] = order.data["artefacts"]
        assert not provider.access.allowed(artefact, buyer.host.peer_id)


async def test_a_voucher_after_a_withdrawal_buys_nothing(tmp_path: Path) -> None:
    """The buyer takes all the money back while the provider is away, and then promises it."""
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider, buyer = lab.seller, lab.buyer
        provider.agent.script = works_for(10)
        order = await step(provider, order_id)
        await buyer.channel.start_withdraw(await buyer.desk.load(order_id))
        lab.clock.ahead_s += 120
        lab.next_block()
        await buyer.channel.withdraw(await buyer.desk.load(order_id))
        signature = await buyer.channel.pay(await buyer.desk.load(order_id), 10_000)
        with pytest.raises(OpenstallError) as caught:
            await provider.provider.accept_voucher(order, 10_000, signature)
        assert caught.value.code == "channel_closed"


async def test_a_voucher_in_time_pays_and_opens_the_results(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider, buyer = lab.seller, lab.buyer
        before = lab.chain.balance(provider.wallet)
        provider.agent.script = works_for(10)
        order = await step(provider, order_id)
        signature = await buyer.channel.pay(await buyer.desk.load(order_id), 10_000)
        await provider.provider.accept_voucher(order, 10_000, signature)
        [artefact] = order.data["artefacts"]
        assert provider.access.allowed(artefact, buyer.host.peer_id)
        assert (await step(provider, order_id)).state == "settled"
        assert lab.chain.balance(provider.wallet) == before + 10_000


async def test_who_follows_an_order_that_has_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller.provider
        lab.seller.agent.script = works_for(10)
        await step(lab.seller, order_id)
        stream = await lab.buyer.host.open_stream(
            lab.seller.host.peer_id, PROTOCOL, timeout_s=10, max_frame=MAX_FRAME
        )
        async with stream:
            await stream.send(write(FromBuyer(follow=order_id)))
            while (raw := await stream.receive(timeout_s=20)) is not None and b'"report"' not in raw:
                pass
        with trio.fail_after(20):
            while provider._beginnings:
                await trio.testing.wait_all_tasks_blocked(0.01)
                gc.collect()
        waits = provider.beginning(order_id)
        assert provider.beginning(order_id) is waits, "one for all who wait"
        provider._no_longer_waits(order_id)
        assert waits.is_set()


async def test_a_paid_job_waits_for_a_free_place(tmp_path: Path) -> None:
    """However many orders are paid at once, no more jobs run than the owner lets in."""
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller
        provider.places = 0
        provider.agent.script = works_for(1)
        assert (await step(provider, order_id)).state == "funded"
        provider.places = 1
        assert (await step(provider, order_id)).state == "ended"


async def test_an_owner_may_stop_a_job_that_waits_for_its_place_and_its_buyer_pays_nothing(
    tmp_path: Path,
) -> None:
    async with trade_lab(tmp_path) as lab:
        before = lab.chain.balance(lab.buyer.wallet)
        order_id = await funded_job(lab)
        provider = lab.seller
        provider.places = 0
        assert (await step(provider, order_id)).state == "funded"
        order = await provider.desk.load(order_id)
        assert possible_actions(order, lab.clock.now()) == ["cancel"]
        await provider.provider.stop(order)
        order = await provider.desk.load(order_id)
        report = read_report(base64.b64decode(order.data["report"]), order.contract).report
        assert (order.state, report.state, report.reason) == ("ended", "cancelled", "owner_stopped")
        assert (await step(provider, order_id)).state == "settled"
        assert lab.chain.balance(lab.buyer.wallet) == before
        assert provider.agent.ran == []


async def test_a_job_that_was_cancelled_while_its_data_came_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller
        provider.agent.script = works_for(10)
        fetch = type(provider.transfer).fetch

        async def cancelled_meanwhile(self: Any, *args: Any, **more: Any) -> Any:
            found = await fetch(self, *args, **more)
            await provider.provider.cancel(await provider.desk.load(order_id))
            return found

        monkeypatch.setattr(type(provider.transfer), "fetch", cancelled_meanwhile)
        order = await step(provider, order_id)
        assert provider.agent.ran == []
        assert order.state == "ended"
        assert int(order.data["owed_micro"]) == 0


async def test_data_that_never_comes_gives_the_place_free_at_the_latest_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller

        async def drips(*_args: Any, **_more: Any) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(type(provider.transfer), "fetch", drips)
        lab.clock.ahead_s += 1599
        with trio.fail_after(20):
            order = await step(provider, order_id)
        assert order.state == "ended"
        assert order.data["artefacts"] == []


async def test_an_input_cannot_name_a_file_of_somebody_else(tmp_path: Path) -> None:
    """The provider holds it, but this buyer cannot show that it has it."""
    async with trade_lab(tmp_path) as lab:
        provider = lab.seller
        private = await provider.file("secret.csv", b"another buyer's rows\n")
        order_id = await lab.both(lab.job([private]))
        lab.buyer.access.grant(private.blob.cid, provider.host.peer_id)
        await step(lab.buyer, order_id)
        provider.agent.script = works_for(1)
        with pytest.raises(OpenstallError):
            await step(provider, order_id)
        assert provider.agent.ran == []


async def test_an_input_that_the_buyer_has_too_is_not_fetched_twice(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        provider = lab.seller
        await provider.file("same.csv", b"1,2\n")
        order_id = await funded_job(lab)
        provider.agent.script = works_for(1)
        assert (await step(provider, order_id)).state == "ended"
        assert provider.agent.ran == [order_id]


async def test_inputs_do_not_stay_on_the_disk_of_the_provider(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller
        provider.agent.script = works_for(1)
        order = await step(provider, order_id)
        held = {info.cid for info in provider.blobs.all()}
        assert held == set(order.data["artefacts"])


async def test_an_input_with_another_checksum_than_signed_is_refused(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        data = await lab.buyer.file("data.csv", b"1,2\n")
        wrong = msgspec.structs.replace(data.blob, sha256="ab" * 32)
        order_id = await lab.both(lab.job([msgspec.structs.replace(data, blob=wrong)]))
        await step(lab.buyer, order_id)
        order = await step(lab.seller, order_id)
        assert lab.seller.agent.ran == []
        assert order.state == "ended"


@pytest.mark.parametrize(
    "limits",
    [{"memory_bytes": 1}, {"processes": 1}, {"disk_bytes": 1}, {"log_bytes": 1}, {"threads": 4096}],
)
async def test_limits_that_the_agent_would_choke_on_never_reach_it(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    """The agent ends on a malformed request, and with it the jobs of all other buyers."""
    async with trade_lab(tmp_path) as lab:
        whole = {"memory_bytes": 2**30, "disk_bytes": 2**28, "threads": 1, "processes": 8, "log_bytes": 2**20}
        order_id = await funded_job(lab, limits=whole | limits)
        lab.seller.agent.script = works_for(1)
        order = await step(lab.seller, order_id)
        assert lab.seller.agent.ran == []
        assert order.state == "ended"


async def test_a_flood_of_log_lines_is_kept_in_few_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller
        commits = []
        append = type(provider.log).append

        def counted(self: Any, *args: Any, **more: Any) -> int:
            commits.append(len(args) - 1)
            return append(self, *args, **more)

        monkeypatch.setattr(type(provider.log), "append", counted)

        async def noisy(_spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
            leave(outputs, b"")
            for number in range(2_000):
                await on_event(LogLine(seq=number, text=f"line {number} \x1b[31m"))
            return JobResult(state="done", reason="done", words="Done.")

        provider.agent.script = noisy
        await step(provider, order_id)
        lines = [line.text for line in provider.log.read(order_id, limit=5_000)]
        assert lines == [f"line {number}  [31m" for number in range(2_000)]
        assert len(commits) < 50


async def test_inputs_of_a_job_that_came_too_late_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two inputs came; the buyer went away before the second."""
    async with trade_lab(tmp_path) as lab:
        first, second = await lab.buyer.file("a.csv", b"1\n"), await lab.buyer.file("b.csv", b"2\n")
        order_id = await lab.both(lab.job([first, second]))
        await step(lab.buyer, order_id)
        provider = lab.seller
        await lab.buyer.blobs.remove(second.blob.cid)
        with pytest.raises(OpenstallError):
            await step(provider, order_id)
        lab.clock.ahead_s += 2_000
        assert (await step(provider, order_id)).state == "ended"
        assert provider.blobs.all() == []


async def test_a_job_that_stands_still_is_ended_before_its_order_can_be_paid_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner keeps the machine for hours: what was earned must still be claimed in time."""
    monkeypatch.setattr(job_provider, "CHANNEL_POLL_S", 0.05)
    async with trade_lab(tmp_path) as lab:
        order_id = await funded_job(lab)
        provider = lab.seller
        terms = (await provider.desk.load(order_id)).contract.compute

        async def stands_still(_spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
            leave(outputs, b"")
            await on_event(UsageTick(usage=Usage(seconds_useful=3)))
            lab.clock.ahead_s += terms.settle_by - SETTLE_AFTER_S - lab.clock.now()
            while not provider.agent.cancelled:
                await trio.testing.wait_all_tasks_blocked(0.01)
            return JobResult(state="cancelled", reason="cancelled", words="x", usage=Usage(seconds_useful=3))

        provider.agent.script = stands_still
        with trio.fail_after(20):
            order = await step(provider, order_id)
        report = read_report(base64.b64decode(order.data["report"]), order.contract).report
        assert (order.state, report.reason, report.seconds) == ("ended", "deadline", 3)
        assert lab.clock.now() < terms.settle_by
