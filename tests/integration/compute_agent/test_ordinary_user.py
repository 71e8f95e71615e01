"""The same agent started by an ordinary user: no root, no administrator's help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
from openstall.compute_agent.specs import JobSpec

async def ignore(event):
    pass

async def main():
    async with trio.open_nursery() as nursery:
        client = AgentClient()
        await client.start(nursery)
        for check in await client.doctor():
            print("check", check.name, check.ok or check.severity != "error", check.cause)
        recipe = {"task": "classification", "label": "y", "epochs": 3}
        job = JobSpec(job_id="job", kind="train", params=recipe)
        folder = Path(sys.argv[1])
        result = await client.run(job, folder / "in", folder / "out", ignore)
        print("job", result.state, result.words)
        await client.aclose()

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


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user already")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_doctor_and_a_job_without_root(shared_folder: Path, workload_runtime: Runtime) -> None:
    for path in (shared_folder / "rooms" / "openstall", shared_folder / "home", shared_folder / "in"):
        path.mkdir(parents=True)
    rooms = Path(__file__).parents[3]
    for name in ("compute_agent", "market"):
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
        "PYTHONPATH": f"{shared_folder / 'rooms'}:{site}",
        "OPENSTALL_RUNTIME": str(shared_folder / "runtime"),
    }
    if as_nobody([system_python, "-c", "import trio, msgspec"], environment).returncode != 0:
        pytest.skip("another user cannot read this checkout's packages")
    if as_nobody(["test", "-r", str(workload_runtime.site_packages)], environment).returncode != 0:
        pytest.skip("another user cannot read this checkout's workload runtime")
    ran = as_nobody([system_python, str(shared_folder / "script.py"), str(shared_folder)], environment)
    assert ran.returncode == 0, ran.stderr
    checks = [line for line in ran.stdout.splitlines() if line.startswith("check")]
    assert [line for line in checks if " False " in line] == []
    assert any("user namespace of its own" in line for line in checks)
    assert "job done" in ran.stdout
    assert {path.name for path in (shared_folder / "out").iterdir()} == {"model.onnx", "report.json"}
