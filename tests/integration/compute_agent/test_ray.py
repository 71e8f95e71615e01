"""A Ray cluster as the machine: a real one on this computer, on 127.0.0.1 alone; each job in our sandbox."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from agent_lab import table, train

from openstall.app.demo.peers import wait_for
from openstall.compute_agent.specs import (
    Checkpoint,
    FirstOutput,
    JobResult,
    JobSpec,
    Limits,
    LogLine,
    Progress,
)

# Read when Ray is imported. The first is the one way to have it use 127.0.0.1 and nothing else.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(24)
pytest.importorskip("ray", reason="the optional extra `ray` is not installed")
# Ray's own warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of one machine in processes of its own: it listens on loopback only, and tells nobody."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray puts sockets there
    options = [
        "--head",
        f"--port={port}",
        "--include-dashboard=false",
        "--num-cpus=2",
        "--disable-usage-stats",
    ]
    sizes = ["--object-store-memory=100000000", f"--memory={8 * 2**30}", f"--temp-dir={folder}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *sizes, "--block"]
    with (
        (Path(folder) / "start.log").open("w+") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as head,
    ):
        try:
            wait_for(lambda: "Ray runtime started" in Path(log.name).read_text() or None, 60, "the cluster")
            assert open_to_others(head.pid) == []
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
    shutil.rmtree(folder, ignore_errors=True)


def open_to_others(head: int) -> list[str]:
    """Addresses on which the cluster listens that are not of this machine alone."""
    pids = {head, *(child.pid for child in psutil.Process(head).children(recursive=True))}
    listening = [one for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.pid in pids]
    assert listening
    return [one.laddr.ip for one in listening if not one.laddr.ip.endswith(("127.0.0.1", "::1"))]


@pytest.fixture(scope="module", autouse=True)
def driver(cluster: str) -> Iterator[None]:
    """This process leaves the cluster at the end."""
    yield
    import ray

    ray.shutdown()


@asynccontextmanager
async def ray_agent(address: str) -> AsyncIterator[Any]:
    from openstall.compute_agent.ray_backend import RayAgent

    agent = RayAgent(address)
    async with trio.open_nursery() as nursery:
        await agent.start(nursery)
        await agent.doctor(fresh=True)
        try:
            yield agent
        finally:
            for job in list(agent._running.values()):
                agent._kill(job)
            with trio.CancelScope(shield=True):
                await super(RayAgent, agent).aclose()  # the cluster is the fixture's
            nursery.cancel_scope.cancel()


async def run(agent: Any, spec: JobSpec, place: Path, hear: Any = None) -> tuple[JobResult, list[Any]]:
    events: list[Any] = []

    async def on_event(event: Any) -> None:
        events.append(event)
        if hear is not None:
            await hear(event)

    (place / "states").mkdir(exist_ok=True)
    with trio.fail_after(120):
        result = await agent.run(spec, place / "in", place / "out", on_event, checkpoints=place / "states")
    return result, events


async def test_a_job_runs_in_the_sandbox_of_a_worker_and_its_files_come_back(
    cluster: str, tmp_path: Path
) -> None:
    async with ray_agent(cluster) as agent:
        assert agent.tier in ("full", "reduced")
        inventory = await agent.probe()
        assert inventory.cpu_name.startswith("Ray cluster of 1")
        assert agent.largest_job[0] == inventory.cores_logical
        place = table(tmp_path / "job")
        result, events = await run(agent, train(epochs=40, checkpoint_s=0), place)
    assert (result.state, result.reason) == ("done", "ok")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["model.onnx", "report.json"]
    assert [one.size for one in result.outputs] == [
        (place / "out" / one.name).stat().st_size for one in result.outputs
    ]
    kinds = {type(event) for event in events}
    assert {FirstOutput, Progress, LogLine, Checkpoint} <= kinds
    newest = [event for event in events if isinstance(event, Checkpoint)][-1]
    assert (place / "states" / newest.file.name).stat().st_size == newest.file.size
    assert not (place / "incoming").exists()


async def test_cancel_hold_and_a_worker_that_dies(cluster: str, tmp_path: Path) -> None:
    async with ray_agent(cluster) as agent:

        async def cancel_it(event: Any) -> None:
            if isinstance(event, Progress):
                await agent.suspend("job")
                await agent.resume("job")
                await agent.cancel("job")

        result, _ = await run(agent, train(), table(tmp_path / "a"), cancel_it)
        assert (result.state, result.reason) == ("cancelled", "cancelled")

        async def kill_it(event: Any) -> None:
            if isinstance(event, Progress):
                agent._kill(agent._running["job"])

        result, _ = await run(agent, train(), table(tmp_path / "b"), kill_it)
        assert (result.state, result.reason) == ("failed", "agent_lost")


async def test_a_job_that_cannot_be_is_refused_as_everywhere(cluster: str, tmp_path: Path) -> None:
    async with ray_agent(cluster) as agent:
        place = table(tmp_path / "job")
        (place / "in" / "extra.csv").write_text("x")
        result, _ = await run(agent, train(), place)
        assert (result.state, result.reason) == ("refused", "bad_job_inputs")
        tight = JobSpec(
            job_id="tight", kind="train", params=train().params, limits=Limits(wall_s=3, cpu_s=300)
        )
        result, _ = await run(agent, tight, table(tmp_path / "tight"))
        assert (result.state, result.reason) == ("limit", "wall")


REACH = """
import importlib.util, os, socket
found = ["ray" if importlib.util.find_spec("ray") else "no ray"]
found += sorted(name for name in os.environ if name.startswith("RAY"))
try:
    socket.create_connection(("127.0.0.1", {port}), 2)
    found.append("reached")
except OSError as error:
    found.append("no way")
open("found.txt", "w").write(" ".join(found))
"""


async def test_a_program_of_a_buyer_finds_no_ray_and_no_cluster(cluster: str, tmp_path: Path) -> None:
    async with ray_agent(cluster) as agent:
        if agent.tier != "full":
            pytest.skip("programs of buyers need the full tier")
        place = tmp_path / "job"
        (place / "in").mkdir(parents=True)
        (place / "in" / "script.py").write_text(REACH.format(port=cluster.rpartition(":")[2]))
        spec = JobSpec(
            job_id="reach", kind="script", params={"outputs": ["found.txt"]}, limits=Limits(wall_s=60)
        )
        result, _ = await run(agent, spec, place)
    assert result.state == "done", result
    assert (place / "out" / "found.txt").read_text() == "no ray no way"
