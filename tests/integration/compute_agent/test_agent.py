"""The agent as the node sees it: a child process that dies cleanly in every way it can die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from agent_lab import descendants, running_agent, table

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import End, FirstOutput, JobEvent, JobResult, JobSpec, Limits, UsageTick
from openstall.market.errors import Conflict, SandboxError

ENDLESS = {"task": "classification", "label": "y", "epochs": 10_000, "hidden": [64], "batch_size": 4}


async def run(
    client: AgentClient,
    folder: Path,
    on_event: Callable[[JobEvent], Awaitable[None]] | None = None,
    *,
    job_id: str = "job",
    params: dict[str, object] | None = None,
) -> JobResult:
    async def ignore(event: JobEvent) -> None:
        pass

    spec = JobSpec(
        job_id=job_id, kind="train", params=params or ENDLESS, limits=Limits(wall_s=300, cpu_s=300)
    )
    return await client.run(spec, folder / "in", folder / "out", on_event or ignore)


async def gone(pidfds: list[int]) -> None:
    """Until every process is dead. The descriptors are closed."""
    for pidfd in pidfds:
        with trio.fail_after(30):
            await trio.lowlevel.wait_readable(pidfd)
        os.close(pidfd)


async def test_probe_doctor_and_runtime() -> None:
    async with running_agent() as client:
        inventory = await client.probe()
        assert inventory.cores_logical >= 1
        assert inventory.memory_bytes > 0
        assert inventory.gpus or inventory.gpu_note
        assert client.tier == "none"
        checks = await client.doctor(fresh=True)
        assert client.tier == "full"
        assert [check.cause for check in checks if check.severity == "error" and not check.ok] == []
        assert (await client.runtime()).state == "ready"


async def test_cancel_while_running_owes_the_seconds_so_far(tmp_path: Path) -> None:
    events: list[JobEvent] = []
    async with running_agent() as client:

        async def on_event(event: JobEvent) -> None:
            events.append(event)
            if isinstance(event, UsageTick):
                await client.cancel("job")

        result = await run(client, table(tmp_path), on_event)
    assert result.state == "cancelled"
    assert result.usage.seconds_useful >= 1
    assert result.outputs == ()
    assert list((tmp_path / "out").iterdir()) == []
    assert [type(event) for event in events].count(End) == 1
    assert isinstance(events[-1], End)


async def test_leaving_the_call_cancels_the_job(tmp_path: Path) -> None:
    async with running_agent() as client:
        begun = trio.Event()

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, FirstOutput):
                begun.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, client, table(tmp_path), on_event)
            await begun.wait()
            assert client.pid is not None
            inside = [os.pidfd_open(pid) for pid in descendants(client.pid)]
            assert inside
            nursery.cancel_scope.cancel()
        await gone(inside)


async def test_one_id_runs_once(tmp_path: Path) -> None:
    async with running_agent() as client:

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, FirstOutput):
                with pytest.raises(Conflict):
                    await run(client, tmp_path)
                await client.cancel("job")

        assert (await run(client, table(tmp_path), on_event)).state == "cancelled"


async def test_two_jobs_at_once(tmp_path: Path) -> None:
    recipe = {"task": "classification", "label": "y", "epochs": 3}
    results: list[JobResult] = []
    async with running_agent() as client, trio.open_nursery() as nursery:
        for name in ("one", "two"):

            async def work(name: str = name) -> None:
                folder = table(tmp_path / name)
                results.append(await run(client, folder, job_id=name, params=recipe))

            nursery.start_soon(work)
    assert [result.state for result in results] == ["done", "done"]


async def test_killed_agent_leaves_nothing_and_comes_back(tmp_path: Path) -> None:
    inside: list[int] = []
    async with running_agent() as client:

        async def on_event(event: JobEvent) -> None:
            if isinstance(event, FirstOutput):
                assert client.pid is not None
                inside.extend(os.pidfd_open(pid) for pid in descendants(client.pid))
                os.kill(client.pid, signal.SIGKILL)

        result = await run(client, table(tmp_path / "first"), on_event)
        assert (result.state, result.reason) == ("failed", "agent_lost")
        assert len(inside) >= 3
        await gone(inside)
        assert list((tmp_path / "first" / "out").iterdir()) == []
        again = await until_back(client, table(tmp_path / "second"))
    assert again.state == "done"


async def until_back(client: AgentClient, folder: Path) -> JobResult:
    recipe = {"task": "classification", "label": "y", "epochs": 2}
    with trio.fail_after(60):
        while True:
            result = await run(client, folder, params=recipe)
            if result.reason != "agent_lost":
                return result
            await trio.sleep(0.05)  # the client restarts it on its own clock


NODE = """
import sys, trio
from pathlib import Path
sys.path[:0] = {tests!r}
from test_agent import run, running_agent, table
from openstall.compute_agent.specs import FirstOutput

async def main():
    async with running_agent() as client:
        async def on_event(event):
            if isinstance(event, FirstOutput):
                print(client.pid, flush=True)
        await run(client, table(Path({folder!r})), on_event)

trio.run(main)
"""


async def test_agent_and_jobs_die_with_the_node(tmp_path: Path) -> None:
    script = NODE.format(
        tests=[str(Path(__file__).parent), str(Path(__file__).parents[2] / "support")], folder=str(tmp_path)
    )
    node = await trio.lowlevel.open_process([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert node.stdout is not None
    with trio.fail_after(60):
        agent_pid = int(await node.stdout.receive_some(100))
    pidfds = [os.pidfd_open(pid) for pid in (agent_pid, *descendants(agent_pid))]
    assert len(pidfds) >= 4
    node.kill()
    await gone(pidfds)
    await node.wait()
    await node.stdout.aclose()


async def test_without_bubblewrap_it_refuses_and_says_how(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    async with running_agent(environment=environment) as client:
        result = await run(client, table(tmp_path / "job"))
        checks = await client.doctor()
    assert (result.state, result.reason) == ("refused", "sandbox_unavailable")
    assert "bubblewrap" in result.words
    assert "apt-get install -y bubblewrap" in result.what_next
    assert [check.name for check in checks if not check.ok and check.severity == "error"] == ["bubblewrap"]
    assert "workload runtime" in [check.name for check in checks]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user gets the reduced tier: test_ordinary_user.py")
async def test_where_namespaces_are_refused_it_refuses_and_says_how(tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    async with running_agent(environment={**os.environ, "PATH": f"{fake.parent}:/usr/bin:/bin"}) as client:
        result = await run(client, table(tmp_path / "job"))
        failed = [check for check in await client.doctor() if not check.ok and check.severity == "error"]
    assert (result.state, result.reason) == ("refused", "sandbox_unavailable")
    assert "setting up uid map: Permission denied" in result.words
    assert result.what_next
    assert [check.name for check in failed] == ["sandbox"]


async def test_without_a_runtime_it_refuses_and_says_how(tmp_path: Path) -> None:
    environment = {**os.environ, "OPENSTALL_RUNTIME": str(tmp_path / "none")}
    async with running_agent(environment=environment) as client:
        result = await run(client, table(tmp_path / "job"))
    assert (result.state, result.reason) == ("refused", "runtime_missing")
    assert result.what_next


async def test_bad_params_and_inputs_are_refused(tmp_path: Path) -> None:
    async with running_agent() as client:
        bad = await run(client, table(tmp_path / "a"), params={"task": "magic", "label": "y"})
        (tmp_path / "b" / "in").mkdir(parents=True)
        empty = await run(client, tmp_path / "b")
    assert (bad.state, bad.reason) == ("refused", "bad_job_params")
    assert (empty.state, empty.reason) == ("refused", "bad_job_inputs")


async def test_an_agent_that_does_not_start_is_an_error() -> None:
    client = AgentClient(command=(sys.executable, "-c", "pass"))
    async with trio.open_nursery() as nursery:
        with pytest.raises(SandboxError) as caught:
            await client.start(nursery)
    assert caught.value.code == "agent_not_starting"
    assert not client.running
