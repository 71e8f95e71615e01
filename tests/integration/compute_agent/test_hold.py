"""The owner wants the machine: a job stands still at once, costs nothing meanwhile, and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing
from agent_lab import cpu_ticks, descendants, running_agent, states, table, train

from openstall.compute_agent.sandbox.hold import Hold
from openstall.compute_agent.sandbox.launcher import children_of
from openstall.compute_agent.specs import GIB, JobEvent, JobResult, Progress, UsageTick

PAIRS = 12
WORKS = 20
"""Ticks of a hundredth of a second: one that computes uses more in a second, standing still about none."""
RunScript = Callable[..., Awaitable[Any]]
SAY = """
import json, os
def say(**event): os.write(3, json.dumps(event).encode() + b"\\n")
"""


async def test_a_held_torch_job_stands_still_costs_nothing_and_goes_on_to_its_end(tmp_path: Path) -> None:
    """It is held for longer than it works: the meter must not count the pause."""
    held = trio.Event()
    ticks: list[int] = []
    steps: list[int] = []
    results: list[JobResult] = []

    async def on_event(event: JobEvent) -> None:
        if isinstance(event, UsageTick):
            ticks.append(event.usage.seconds_useful)
        if isinstance(event, Progress):
            steps.append(event.done)
            held.set()

    async with running_agent() as client, trio.open_nursery() as nursery:

        async def work() -> None:
            place = table(tmp_path)
            results.append(await client.run(train(epochs=40), place / "in", place / "out", on_event))

        nursery.start_soon(work)
        await held.wait()
        await client.suspend("job")
        assert client.pid is not None
        inside = [pid for pid in descendants(client.pid) if states([pid]) <= {"T"}]
        assert len(inside) >= 2  # pid 1 of the sandbox and the workload, at least
        used, before_s, done = cpu_ticks(inside), trio.current_time(), len(steps)
        while trio.current_time() < before_s + 6:
            await client.probe()  # the agent itself goes on answering
            assert states(inside) == {"T"}
        assert cpu_ticks(inside) - used < WORKS
        assert len(steps) <= done + 1  # what was on its way when it stopped
        await client.resume("job")
    [result] = results
    assert result.state == "done"
    assert {item.name for item in result.outputs} == {"model.onnx", "report.json"}
    took_s = trio.current_time() - before_s
    assert result.usage.seconds_useful <= took_s - 6 + 3


async def test_a_held_job_can_be_ended(tmp_path: Path) -> None:
    begun = trio.Event()
    results: list[JobResult] = []

    async def on_event(event: JobEvent) -> None:
        if isinstance(event, UsageTick):
            begun.set()

    async with running_agent() as client, trio.open_nursery() as nursery:

        async def work() -> None:
            place = table(tmp_path)
            results.append(await client.run(train(), place / "in", place / "out", on_event))

        nursery.start_soon(work)
        await begun.wait()
        await client.suspend("job")
        await client.cancel("job")
    assert results[0].state == "cancelled"


async def test_a_held_job_dies_with_its_agent(tmp_path: Path) -> None:
    """What stands still must not be left behind when the agent is killed."""
    begun = trio.Event()

    async def on_event(event: JobEvent) -> None:
        if isinstance(event, UsageTick):
            begun.set()

    async with running_agent() as client, trio.open_nursery() as nursery:
        place = table(tmp_path)
        nursery.start_soon(client.run, train(), place / "in", place / "out", on_event)
        await begun.wait()
        await client.suspend("job")
        assert client.pid is not None
        inside = [os.pidfd_open(pid) for pid in descendants(client.pid)]
        assert len(inside) >= 3
        os.kill(client.pid, signal.SIGKILL)
        for pidfd in inside:
            with trio.fail_after(30):
                await trio.lowlevel.wait_readable(pidfd)
            os.close(pidfd)


async def test_a_job_that_is_held_before_it_runs_does_not_run_until_let_go(tmp_path: Path) -> None:
    """The word comes in the same moment as the job."""
    events: list[JobEvent] = []
    results: list[JobResult] = []

    async def on_event(event: JobEvent) -> None:
        events.append(event)

    async with running_agent() as client, trio.open_nursery() as nursery:

        async def work() -> None:
            place = table(tmp_path)
            results.append(await client.run(train(epochs=3), place / "in", place / "out", on_event))

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        await client.suspend("job")
        used = cpu_ticks(descendants(client.pid or 0))
        with trio.move_on_after(2):
            await trio.sleep_forever()
        assert cpu_ticks(descendants(client.pid or 0)) - used < WORKS
        assert not any(isinstance(event, UsageTick) for event in events)
        await client.resume("job")
    assert results[0].state == "done"


async def test_the_time_limit_does_not_run_while_a_job_is_held(run_script: RunScript) -> None:
    hold = Hold()
    began = trio.Event()
    found: list[Any] = []

    async def work() -> None:
        script = (
            SAY + 'import time\nsay(t="begin")\nprint("begun", flush=True)\ntime.sleep(1)\nprint("end")\n'
        )
        found.append(await run_script(script, hold=hold, wall_s=4, on_line=lambda _line: began.set()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await began.wait()
        await hold.ask(still=True)
        with trio.move_on_after(5):  # longer than its time limit
            await trio.sleep_forever()
        await hold.ask(still=False)
    [ran] = found
    assert ran.outcome.limit == ""
    assert ran.log == ["begun", "end"]
    assert ran.outcome.usage.seconds_useful <= 3


async def test_children_go_on_whose_parent_dies_as_soon_as_it_goes_on(run_script: RunScript) -> None:
    script = """
import os, signal, time
ready, tell = os.pipe()
def end(*_):
    os._exit(0)
def say(*_):
    os.write(1, b"child\\n")
    os._exit(0)
for _ in range(PAIRS):
    if not os.fork():
        if not os.fork():
            signal.signal(signal.SIGCONT, say)
            os.write(tell, b"x")
        else:
            signal.signal(signal.SIGCONT, end)
            os.write(tell, b"x")
        while True:
            time.sleep(600)
got = 0
while got < 2 * PAIRS:
    got += len(os.read(ready, 100))
print("begun", flush=True)
time.sleep(600)
""".replace("PAIRS", str(PAIRS))
    hold = Hold()
    began, cancel, all_went_on = trio.Event(), trio.Event(), trio.Event()
    lines: list[str] = []
    ends: list[object] = []

    def on_line(line: str) -> None:
        lines.append(line)
        began.set()
        if lines.count("child") == PAIRS:
            all_went_on.set()

    async def work() -> None:
        ran = await run_script(
            script,
            hold=hold,
            cancel=cancel,
            allow_fork=True,
            processes=256,
            memory_bytes=GIB,  # what forks share counts for each of them, where no cgroup counts
            wall_s=120,
            on_line=on_line,
        )
        ends.append(ran.outcome)
        began.set()  # also where it ended before its time: then the test fails, and does not wait for ever
        all_went_on.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await began.wait()
        await hold.ask(still=True)
        await hold.ask(still=False)
        with trio.move_on_after(60):
            await all_went_on.wait()
        cancel.set()
    assert lines.count("child") == PAIRS, ends


async def test_a_job_that_makes_processes_without_end_stands_still_too(run_script: RunScript) -> None:
    """Each child makes the next and dies: who only looks once misses one of them."""
    script = """
import os, time
if os.fork():
    print("begun", flush=True)
    time.sleep(600)
while not os.fork():
    time.sleep(0.0005)  # so that the dead are buried as fast
os._exit(0)
"""
    hold = Hold()
    began = trio.Event()
    cancel = trio.Event()

    others = set(children_of(os.getpid()))  # of other tests that this process runs

    def in_sandbox() -> list[int]:
        """Without bubblewrap outside: it wakes for a moment when the first process inside stops."""
        new = [child for child in children_of(os.getpid()) if child not in others]
        return [deeper for child in new for deeper in descendants(child)]

    async def work() -> None:
        await run_script(
            script,
            hold=hold,
            cancel=cancel,
            allow_fork=True,
            processes=512,
            cpu_s=600,
            on_line=lambda _line: began.set(),
        )
        began.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await began.wait()
        await hold.ask(still=True)
        inside = in_sandbox()
        assert "T" in states(inside) <= {"T", "Z"}
        used = cpu_ticks(inside)
        with trio.move_on_after(1):
            await trio.sleep_forever()
        assert in_sandbox() == inside
        assert cpu_ticks(inside) - used < WORKS
        cancel.set()
