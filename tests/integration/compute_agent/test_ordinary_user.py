"""The same agent started by an ordinary user: no root, no administrator's help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from openstall.compute_agent.runtime import Runtime

NOBODY = 65534
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SCRIPT = """
import sys, trio
from pathlib import Path
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import FirstOutput, JobSpec

async def main():
    async with trio.open_nursery() as nursery:
        client = AgentClient()
        await client.start(nursery)
        for check in await client.doctor():
            print("check", check.name, check.severity, check.ok, check.cause, "|", check.fix)
        print("tier", client.tier)
        recipe = {"task": "classification", "label": "y", "epochs": 3}
        folder = Path(sys.argv[1])
        await work(client, "train", recipe, folder / "in", folder / "out")
        kinds = (("lint", ["model.onnx"]), ("infer", ["model.onnx", "rows.csv"]), ("serve", ["model.onnx"]))
        for kind, names in kinds:
            inputs = folder / f"in-{kind}"
            inputs.mkdir()
            for name in names:
                source = folder / "in" / "data.csv" if name == "rows.csv" else folder / "out" / name
                (inputs / name).write_bytes(source.read_bytes())
            params = {"lint": {"file": "model.onnx"}, "infer": {"label": "y"}, "serve": {"idle_s": 2}}[kind]
            await work(client, kind, params, inputs, folder / f"out-{kind}")
        await client.aclose()

async def work(client, kind, params, inputs, outputs):
    async def on_event(event):
        print("event", event)
        if kind == "serve" and isinstance(event, FirstOutput):
            await client.ask("job", Question(n=1, rows=[[1, 2]]))

    result = await client.run(JobSpec(job_id="job", kind=kind, params=params), inputs, outputs, on_event)
    print("job", kind, result.state, result.words, sorted(path.name for path in outputs.iterdir()))

trio.run(main)
"""


def as_nobody(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    drop = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all"]
    return subprocess.run(
        [*drop, *command], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own is private."""
    folder = Path("/var/tmp") / f"openstall-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def speak(ran: subprocess.CompletedProcess[str]) -> tuple[list[str], list[str]]:
    """What the doctor said was wrong, and everything else."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert not [line for line in lines if line.startswith("check") and " error False " in line]
    return [line for line in lines if line.startswith("check") and " False " in line], lines


@pytest.fixture
def as_ordinary_user(
    shared_folder: Path, workload_runtime: Runtime
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run SCRIPT as `nobody`; `path` is searched for programs first."""
    for path in [shared_folder / name for name in ("rooms/openstall", "home", "in", "tmp")]:
        path.mkdir(parents=True)
    rooms = Path(__file__).parents[3]
    for name in ("compute_agent", "learning", "market"):
        shutil.copytree(
            rooms / name,
            shared_folder / "rooms" / "openstall" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    site = Path(trio.__file__).parents[1]
    system_python = shutil.which(f"python{VERSION}", path="/usr/bin:/usr/local/bin")
    if system_python is None:
        pytest.skip(f"no system Python {VERSION} that another user can start")
    (shared_folder / "runtime" / "lib" / f"python{VERSION}").mkdir(parents=True)
    (shared_folder / "runtime" / "pyvenv.cfg").write_text(
        f"home = {Path(system_python).parent}\nversion = {VERSION}.0\n"
    )
    (shared_folder / "runtime" / "lib" / f"python{VERSION}" / "site-packages").symlink_to(
        workload_runtime.site_packages
    )
    lines = [f"{n % 7},{n % 5},{n % 2}" for n in range(100)]
    (shared_folder / "in" / "data.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (shared_folder / "script.py").write_text(SCRIPT)
    for path in (shared_folder, *shared_folder.rglob("*")):
        if not path.is_symlink():
            os.chown(path, NOBODY, NOBODY)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(shared_folder / "home"),
        "TMPDIR": str(shared_folder / "tmp"),
        "PYTHONPATH": f"{shared_folder / 'rooms'}:{site}",
        "OPENSTALL_RUNTIME": str(shared_folder / "runtime"),
    }
    if as_nobody([system_python, "-c", "import trio, msgspec"], environment).returncode != 0:
        pytest.skip("another user cannot read this checkout's packages")
    if as_nobody(["test", "-r", str(workload_runtime.site_packages)], environment).returncode != 0:
        pytest.skip("another user cannot read this checkout's workload runtime")

    def run(path: str = "") -> subprocess.CompletedProcess[str]:
        settings = environment | {"PATH": f"{path}:{environment['PATH']}"}
        return as_nobody([system_python, str(shared_folder / "script.py"), str(shared_folder)], settings)

    return run


NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user already")
NO_SETPRIV = pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed"
)
JOBS = [
    "job train done The job is done. ['model.onnx', 'report.json']",
    "job lint done The job is done. ['lint.json']",
    "job infer done The job is done. ['predictions.csv', 'report.json']",
    "job serve done The job is done. ['report.json']",
]


@NOT_ROOT
@NO_SETPRIV
def test_doctor_and_a_job_without_root(
    as_ordinary_user: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    wrong, lines = speak(as_ordinary_user())
    assert not [line for line in wrong if "namespaces" in line or "ordinary user" in line]
    assert any("user namespace of its own" in line for line in lines)
    assert "tier full" in lines
    assert [line for line in lines if line.startswith("job")] == JOBS
    assert [line for line in lines if line.startswith("event Answer(n=1") and "predictions=['" in line]


@NOT_ROOT
@NO_SETPRIV
def test_without_namespaces_jobs_on_data_run_in_the_reduced_tier(
    as_ordinary_user: Callable[..., subprocess.CompletedProcess[str]], shared_folder: Path
) -> None:
    refusing = shared_folder / "bin" / "bwrap"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    wrong, lines = speak(as_ordinary_user(str(refusing.parent)))
    said = next(line for line in wrong if line.startswith("check namespaces warning"))
    assert "setting up uid map: Permission denied" in said
    assert "allow user namespaces" in said.partition("|")[2]
    assert "tier reduced" in lines
    assert [line for line in lines if line.startswith("job")] == JOBS
    assert [line for line in lines if line.startswith("event Answer(n=1") and "predictions=['" in line]
    assert list((shared_folder / "tmp").iterdir()) == []
