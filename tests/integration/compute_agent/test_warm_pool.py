"""Warm sandboxes: ready before their job is known, used once, within the memory they were granted."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from agent_lab import descendants, running_agent, table

from openstall.compute_agent import jobs
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox.host import Facilities, run_sandbox
from openstall.compute_agent.sandbox.launcher import children_of
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.pool import Slot, Stock, WarmPool
from openstall.compute_agent.sandbox.supervisor import Outcome
from openstall.compute_agent.specs import GIB, MIB, JobEvent, JobKind, JobResult, JobSpec, Limits, LogLine
from openstall.compute_agent.wire import WarmStock

LIMITS = Limits(
    wall_s=60, cpu_s=60, memory_bytes=512 * MIB, processes=32, disk_bytes=8 * MIB, log_bytes=65536
)
SCRIPT = """
import os, resource, sys
print("modules", "numpy" in sys.modules, os.listdir("/job/in"), sys.argv[1])
kinds = (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)
print("limits", *(resource.getrlimit(kind)[1] >> 20 for kind in kinds))
for door in (lambda: os.fork(), lambda: open("/etc/passwd"), lambda: os.symlink("a", "/job/out/b")):
    try:
        door()
        print("OPEN")
    except OSError:
        pass
open("/tmp/left-by-the-job", "w").close()
"""


@pytest.fixture
async def pool() -> AsyncIterator[WarmPool]:
    made = WarmPool()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.keep)
        yield made
        nursery.cancel_scope.cancel()


class Bench:
    """A pool of sandboxes for a script of ours, in place of a workload."""

    def __init__(self, folder: Path, facilities: Facilities, runtime: Runtime) -> None:
        self.folder = folder
        self.facilities = facilities
        self.runtime = runtime
        self._others = children_of(os.getpid())
        folder.chmod(0o755)
        (folder / "script.py").write_text(SCRIPT)
        self.lines: list[str] = []

    def children(self) -> list[int]:
        """The processes that this test started and that are still there."""
        return [pid for pid in children_of(os.getpid()) if pid not in self._others]

    def plan(self, _kind: JobKind, number: int, inputs: Path) -> Plan:
        return Plan(
            entry=Entry(script=self.folder / "script.py"),
            runtime=self.runtime,
            inputs=inputs,
            params=b"",
            limits=LIMITS,
            mode=self.facilities.mode,
            slot=number,
            preload=("numpy",),
        )

    def stock(self, *, memory_bytes: int = GIB, kinds: tuple[JobKind, ...] = ("infer",)) -> Stock:
        return Stock(
            kinds=kinds,
            memory_bytes=memory_bytes,
            folder=self.folder / "warm",
            facilities=self.facilities,
            make_plan=self.plan,
        )

    async def use(self, slot: Slot, limits: Limits = LIMITS) -> Outcome:
        async def emit(event: JobEvent) -> None:
            if isinstance(event, LogLine):
                self.lines.append(event.text)

        (self.folder / "in").mkdir(exist_ok=True)
        (self.folder / "in" / "data.csv").write_text("a,b\n")
        slot.bring(self.folder / "in")
        plan = dataclasses.replace(
            self.plan("infer", slot.plan.slot, slot.plan.inputs), params=b"hello", limits=limits
        )
        outcome, _ = await run_sandbox(
            facilities=self.facilities,
            plan=plan,
            emit=emit,
            cancel=trio.Event(),
            allowed={},
            destination=self.folder,
            warm=slot.running,
        )
        return outcome


@pytest.fixture
def bench(tmp_path: Path, facilities: Facilities, workload_runtime: Runtime) -> Bench:
    return Bench(tmp_path, facilities, workload_runtime)


async def test_a_slot_is_a_finished_sandbox_and_is_used_once(pool: WarmPool, bench: Bench) -> None:
    await pool.hold(bench.stock())
    assert await pool.filled() == ("infer",)
    slot = pool.take("infer", LIMITS, bench.facilities)
    assert slot is not None
    assert pool.take("infer", LIMITS, bench.facilities) is None
    assert (await bench.use(slot)).exit_code == 0
    assert bench.lines == ["modules True ['data.csv'] hello", "limits 512 8"]
    assert await pool.filled() == ("infer",)
    second = pool.take("infer", LIMITS, bench.facilities)
    assert second is not None
    assert second.plan.slot != slot.plan.slot
    assert second.running.init_pid != slot.running.init_pid
    await bench.use(second)
    assert "left-by-the-job" not in "".join(bench.lines)


async def test_a_job_gets_its_own_limits_never_wider_ones(pool: WarmPool, bench: Bench) -> None:
    await pool.hold(bench.stock())
    assert await pool.filled() == ("infer",)
    for wider in ({"memory_bytes": GIB}, {"processes": 33}, {"disk_bytes": 9 * MIB}, {"threads": 2}):
        wanted = Limits(**{**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}, **wider})
        assert pool.take("infer", wanted, bench.facilities) is None
    narrow = Limits(memory_bytes=256 * MIB, processes=16, disk_bytes=2 * MIB, wall_s=60, cpu_s=60)
    slot = pool.take("infer", narrow, bench.facilities)
    assert slot is not None
    await bench.use(slot, narrow)
    assert "limits 256 2" in bench.lines


async def test_the_pool_keeps_within_its_memory(pool: WarmPool, bench: Bench) -> None:
    await pool.hold(bench.stock(memory_bytes=MIB))
    assert await pool.filled() == ()


async def test_a_slot_that_turns_out_too_large_is_given_back(
    pool: WarmPool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openstall.compute_agent.sandbox.pool._GUESSED_BYTES", 0)
    await pool.hold(bench.stock(memory_bytes=MIB))
    assert await pool.filled() == ()
    assert bench.children() == []


async def test_another_sandbox_of_the_machine_means_another_pool(pool: WarmPool, bench: Bench) -> None:
    await pool.hold(bench.stock())
    assert await pool.filled() == ("infer",)
    changed = dataclasses.replace(bench.facilities, landlock=99)
    assert pool.take("infer", LIMITS, changed) is None
    await pool.hold(None)
    assert pool.held() == ()
    assert bench.children() == []
    assert list((bench.folder / "warm").iterdir()) == []


async def test_a_job_keeps_its_files_when_the_agent_is_to_hold_something_else(
    pool: WarmPool, bench: Bench
) -> None:
    left = bench.folder / "warm" / "slot-1"
    left.mkdir(parents=True)
    await pool.hold(bench.stock())
    assert not left.exists(), "an agent that was killed left it"
    assert await pool.filled() == ("infer",)
    slot = pool.take("infer", LIMITS, bench.facilities)
    assert slot is not None
    await pool.hold(bench.stock())
    assert (await bench.use(slot)).exit_code == 0
    assert bench.lines[0] == "modules True ['data.csv'] hello"


async def test_a_slot_that_was_killed_is_replaced(pool: WarmPool, bench: Bench) -> None:
    await pool.hold(bench.stock())
    assert await pool.filled() == ("infer",)
    slot = pool._slots["infer"]
    slot.running.kill()
    await trio.lowlevel.wait_readable(slot.running.outer_pidfd)
    assert pool.held() == ()
    assert pool.take("infer", LIMITS, bench.facilities) is None
    assert await pool.filled() == ("infer",)


STOCK = {"kinds": ("train",), "limits": Limits(memory_bytes=2 * GIB), "memory_bytes": 2 * GIB}
RECIPE = {"task": "classification", "label": "y", "epochs": 2}


async def train(client: AgentClient, folder: Path) -> JobResult:
    async def ignore(event: JobEvent) -> None:
        pass

    spec = JobSpec(job_id="job", kind="train", params=RECIPE, limits=STOCK["limits"])
    return await client.run(spec, folder / "in", folder / "out", ignore)


async def test_a_job_of_the_agent_runs_in_a_warm_sandbox(tmp_path: Path) -> None:
    stock = WarmStock(folder=str(tmp_path), **STOCK)
    async with running_agent() as client:
        assert client.pid is not None
        assert not descendants(client.pid)
        assert await client.keep_warm(stock) == ("train",)
        warm = set(descendants(client.pid))
        assert warm
        result = await train(client, table(tmp_path / "job"))
        assert result.state == "done"
        assert result.usage.cpu_s < 60
        await client.keep_warm(None)
        assert not descendants(client.pid)
    assert list((tmp_path / "warm-sandboxes").iterdir()) == []


async def test_an_agent_that_comes_back_holds_the_same(tmp_path: Path) -> None:
    stock = WarmStock(folder=str(tmp_path), **STOCK)
    async with running_agent() as client:
        assert await client.keep_warm(stock) == ("train",)
        killed = client.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with trio.fail_after(120):
            while client.pid in {None, killed} or not descendants(client.pid or 0):  # noqa: ASYNC110
                await trio.sleep(0.05)  # the client restarts it on its own clock, and asks by itself
        assert await client.keep_warm(stock) == ("train",)


def test_what_is_imported_ahead_is_never_the_workload() -> None:
    for kind, modules in jobs.PRELOAD.items():
        assert jobs.entry_of(kind).module not in modules
