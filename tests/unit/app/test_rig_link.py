"""A paired rig that misbehaves: its connection ends, its job ends as lost, and nothing of it is believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hub_lab import WELL, HubLab, ModelRig, hub_lab, plain

from openstall.app.services.rigs import link as rig_link
from openstall.app.services.rigs.events import Energy, Standing
from openstall.app.services.rigs.wire import (
    Begun,
    Drawn,
    Ended,
    FileRef,
    FromRig,
    Log,
    Refusal,
    Saved,
    Stood,
    Used,
    write,
)
from openstall.compute_agent.specs import Checkpoint, JobResult, JobSpec, Limits, LogLine, UsageTick

SPEC = JobSpec(
    job_id="job",
    kind="train",
    params={"task": "classification", "label": "y"},
    limits=Limits(disk_bytes=2**20),
)
USED = Used(seconds_useful=3, cpu_s=2, peak_memory_bytes=1)
Play = Callable[[ModelRig], Awaitable[None]]


async def run_with(lab: HubLab, play: Play, seen: list[Any] | None = None) -> JobResult:
    """Run a job on a rig that plays a part once it has the job."""
    rig = await lab.paired()
    found = lab.hub.link(rig.host.peer_id)
    assert found is not None
    place = lab.folder / "place"
    (place / "in").mkdir(parents=True)
    (place / "states").mkdir()
    (place / "in" / "data.csv").write_text("a,y\n1,0\n")
    results: list[JobResult] = []

    async def on_event(event: Any) -> None:
        (seen if seen is not None else []).append(event)

    async def run() -> None:
        results.append(
            await found.run(SPEC, place / "in", place / "out", on_event, checkpoints=place / "states")
        )

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            command = (await rig.hear()).command
            assert command is not None
            assert command.run is not None
            assert [one.name for one in command.run.inputs] == ["data.csv"]
            await rig.say(FromRig(answer=command.id))
            await play(rig)
    files = lab.hub._files
    assert files is not None
    assert files.store.all() == []  # nothing is left in the node's store, however it ended
    return results[0]


async def offered(rig: ModelRig, name: str, content: bytes) -> FileRef:
    path = rig.files.store.folder / name
    path.write_bytes(content)
    return await rig.files.offer(path, rig.node.peer_id)


async def end(rig: ModelRig, *outputs: FileRef, **changes: Any) -> None:
    values: dict[str, Any] = {
        "state": "done",
        "reason": "ok",
        "words": "Done.",
        "what_next": "",
        "outputs": outputs,
        "used": USED,
    }
    await rig.say(FromRig(job="job", event=Ended(**{**values, **changes})))


async def test_an_honest_rig(tmp_path: Path) -> None:
    async def honest(rig: ModelRig) -> None:
        await rig.say(FromRig(job="job", event=Begun(start_ms=5)))
        await rig.say(FromRig(job="job", event=Log(seq=0, text="hello")))
        await rig.say(FromRig(job="job", event=USED))
        await rig.say(FromRig(job="job", event=Stood(still=True, words="[Paused.]")))
        state = await offered(rig, "checkpoint-1.safetensors", b"state")
        await rig.say(FromRig(job="job", event=Saved(file=state, done=7)))
        while not any(isinstance(one, Checkpoint) for one in seen):
            await trio.testing.wait_all_tasks_blocked(0.001)
        files = [await offered(rig, "model.onnx", b"model"), await offered(rig, "report.json", b"{}")]
        await end(rig, *files)

    seen: list[Any] = []
    async with hub_lab(tmp_path) as lab:
        result = await run_with(lab, honest, seen)
    assert (result.state, result.usage.seconds_useful) == ("done", 3)
    assert sorted(path.name for path in (tmp_path / "place" / "out").iterdir()) == [
        "model.onnx",
        "report.json",
    ]
    assert (tmp_path / "place" / "out" / "model.onnx").read_bytes() == b"model"
    assert (tmp_path / "place" / "states" / "checkpoint-1.safetensors").read_bytes() == b"state"
    kinds = [type(one) for one in seen]
    assert LogLine in kinds
    assert UsageTick in kinds
    assert Standing(still=True, words="[Paused.]") in seen


async def _bad_name(rig: ModelRig) -> None:
    model = await offered(rig, "model.onnx", b"model")
    evil = FileRef(name="../../wallet.json", cid=model.cid, size=model.size, sha256=model.sha256)
    await end(rig, model, evil)


async def _other_files(rig: ModelRig) -> None:
    await end(rig, await offered(rig, "model.onnx", b"model"))


async def _twice(rig: ModelRig) -> None:
    model, report = await offered(rig, "model.onnx", b"m"), await offered(rig, "report.json", b"{}")
    await end(rig, model, model, report)


async def _too_large(rig: ModelRig) -> None:
    large = await offered(rig, "model.onnx", bytes(2**20 + 1))
    await end(rig, large, await offered(rig, "report.json", b"{}"))


async def _wrong_hash(rig: ModelRig) -> None:
    model = await offered(rig, "model.onnx", b"model")
    lie = FileRef(name=model.name, cid=model.cid, size=model.size, sha256="00" * 32)
    await end(rig, lie, await offered(rig, "report.json", b"{}"))


async def _larger_than_said(rig: ModelRig) -> None:
    model = await offered(rig, "model.onnx", b"model" * 100_000)
    lie = FileRef(name=model.name, cid=model.cid, size=5, sha256=model.sha256)
    await end(rig, lie, await offered(rig, "report.json", b"{}"))


async def _not_there(rig: ModelRig) -> None:
    model, report = await offered(rig, "model.onnx", b"model"), await offered(rig, "report.json", b"{}")
    await rig.files.drop([model], rig.node.peer_id)
    await end(rig, model, report)


async def _no_results(rig: ModelRig) -> None:
    await end(rig)


async def _results_of_a_failure(rig: ModelRig) -> None:
    model, report = await offered(rig, "model.onnx", b"m"), await offered(rig, "report.json", b"{}")
    await end(rig, model, report, state="failed", reason="crashed")


@pytest.mark.parametrize(
    "play",
    [
        *(_bad_name, _other_files, _twice, _too_large, _wrong_hash, _larger_than_said),
        *(_not_there, _no_results, _results_of_a_failure),
    ],
)
async def test_results_that_are_not_what_the_job_leaves(tmp_path: Path, play: Play) -> None:
    async with hub_lab(tmp_path) as lab:
        result = await run_with(lab, play)
    assert (result.state, result.reason, result.outputs) == ("failed", "agent_lost", ())
    assert not (tmp_path / "wallet.json").exists()


def _frame(**fields: Any) -> bytes:
    return plain(fields)


GARBAGE = {
    "no json": b"\xff\xfe\x00",
    "not canonical": b'{"leave": true}',
    "unknown field": _frame(run="rm -rf"),
    "another union": _frame(job="job", event={"type": "shell", "text": "x"}),
    "negative": _frame(job="job", event={"type": "steps", "done": -1, "total": 2}),
    "job name": _frame(job="../x", event={"type": "steps", "done": 1, "total": 2}),
    "deep": b"[" * 50_000,
    "words without end": write(FromRig(job="job", event=Log(seq=0, text="x"))).replace(
        b'"x"', b'"' + b"x" * 9000 + b'"'
    ),
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_ends_the_connection_and_its_job(tmp_path: Path, raw: bytes) -> None:
    async def play(rig: ModelRig) -> None:
        assert rig.stream is not None
        await rig.say(FromRig(job="job", event=USED))
        await rig.stream.send(raw)
        assert await rig.hung_up()

    async with hub_lab(tmp_path) as lab:
        result = await run_with(lab, play)
        assert lab.hub.links == []
    assert (result.reason, result.usage.seconds_useful) == ("agent_lost", 3)


async def test_a_huge_frame_is_not_even_read(tmp_path: Path) -> None:
    async def play(rig: ModelRig) -> None:
        assert rig.stream is not None
        await rig.stream._stream.write((2**31).to_bytes(4, "big"))
        assert await rig.hung_up()

    async with hub_lab(tmp_path) as lab:
        assert (await run_with(lab, play)).reason == "agent_lost"


async def test_a_rig_that_falls_silent_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_link, "LOST_S", 0.5)

    async def play(rig: ModelRig) -> None:
        assert await rig.hung_up()

    async with hub_lab(tmp_path) as lab:
        assert (await run_with(lab, play)).reason == "agent_lost"


async def test_a_refusal_comes_through_in_the_rigs_words(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        rig = await lab.paired()
        found = lab.hub.link(rig.host.peer_id)
        assert found is not None
        (tmp_path / "in").mkdir()
        results = []

        async def ignore(_event: Any) -> None:
            """Nothing comes."""

        async def run() -> None:
            results.append(await found.run(SPEC, tmp_path / "in", tmp_path / "out", ignore, checkpoints=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            command = (await rig.hear()).command
            assert command is not None
            no = Refusal(code="above_cap", message="Too\u202e much.", what_next="")
            await rig.say(FromRig(answer=command.id, refusal=no))
    assert (results[0].state, results[0].reason, results[0].words) == ("refused", "above_cap", "Too  much.")


async def test_events_that_nobody_takes_do_not_hold_up_the_link(tmp_path: Path) -> None:
    """A job is let go while more of its events come than have room; the rig is heard as before."""
    async with hub_lab(tmp_path) as lab:
        rig = await lab.paired()
        found = lab.hub.link(rig.host.peer_id)
        assert found is not None
        (tmp_path / "in").mkdir()
        busy = trio.Event()

        async def never_done(_event: Any) -> None:
            busy.set()
            await trio.sleep_forever()

        async def run() -> None:
            await found.run(SPEC, tmp_path / "in", tmp_path / "out", never_done, checkpoints=None)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                command = (await rig.hear()).command
                assert command is not None
                await rig.say(FromRig(answer=command.id))
                for seq in range(2 * rig_link.BACKLOG):
                    await rig.say(FromRig(job="job", event=Log(seq=seq, text="x")))
                await busy.wait()
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.cancel_scope.cancel()
            assert found.jobs == frozenset()
            await rig.say(FromRig(state=msgspec.structs.replace(WELL, places=1)))
            while found.state is None or found.state.places != 1:
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_what_a_rig_says_of_its_energy_is_no_more_than_can_be(tmp_path: Path) -> None:
    async def greedy(rig: ModelRig) -> None:
        most = 2**53 - 1
        for _ in range(3):
            await rig.say(FromRig(job="job", event=Drawn(millijoules=most, milliseconds=most)))
        while len([one for one in seen if isinstance(one, Energy)]) < 3:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await end(rig, state="failed", reason="crashed")

    seen: list[Any] = []
    began = trio.current_time()
    async with hub_lab(tmp_path) as lab:
        await run_with(lab, greedy, seen)
    passed_ms = (trio.current_time() - began) * 1000
    drawn = [one for one in seen if isinstance(one, Energy)]
    assert 0 < sum(one.milliseconds for one in drawn) <= passed_ms + 2
    assert sum(one.millijoules for one in drawn) <= (passed_ms + 2) * rig_link.MOST_W
