from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import trio

from openstall.compute_agent.runtime import find_runtime, install_runtime, open_runtime, runtime_state
from openstall.compute_agent.specs import InstallProgress
from openstall.market.errors import SandboxError


def test_runtime_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSTALL_RUNTIME", str(tmp_path / "nowhere"))
    with pytest.raises(SandboxError) as caught:
        find_runtime()
    assert caught.value.code == "runtime_missing"
    state = runtime_state()
    assert state.state == "missing"
    assert state.fix


def test_runtime_that_lacks_a_library(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = Path(sys.base_prefix) / "bin"
    (tmp_path / "pyvenv.cfg").write_text(f"home = {home}\nversion = {version}.0\n")
    site = tmp_path / "lib" / f"python{version}" / "site-packages"
    for name in ("numpy-1", "onnx-1", "onnxruntime-1", "safetensors-1"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    with pytest.raises(SandboxError, match="lacks torch") as caught:
        open_runtime(tmp_path)
    assert caught.value.code == "runtime_broken"
    (site / "torch-2.dist-info").mkdir()
    assert open_runtime(tmp_path).version == version


def test_runtime_whose_interpreter_is_gone(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /nonexistent\nversion = 3.11.2\n")
    with pytest.raises(SandboxError, match="interpreter cannot be reached"):
        open_runtime(tmp_path)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A runtime that was there before, and a lock beside it."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "mark").touch()
    (tmp_path / "runtime.lock").write_text("this is no requirement!\n")
    return folder


async def test_a_failed_install_leaves_the_earlier_runtime(earlier: Path) -> None:
    steps: list[InstallProgress] = []
    with pytest.raises(SandboxError) as caught:
        await install_runtime(earlier, earlier.with_name("runtime.lock"), steps.append)
    assert caught.value.code == "runtime_install_failed"
    assert caught.value.what_next
    assert steps[0].stage == "prepare"
    assert (earlier / "mark").exists()
    assert sorted(path.name for path in earlier.parent.iterdir() if "runtime" in path.name) == [
        "runtime",
        "runtime.lock",
    ]


async def test_a_cancelled_install_leaves_the_earlier_runtime(earlier: Path) -> None:
    with trio.CancelScope() as scope:
        await install_runtime(earlier, earlier.with_name("runtime.lock"), lambda _step: scope.cancel())
    assert scope.cancelled_caught
    assert (earlier / "mark").exists()
    assert not earlier.with_name("runtime.new").exists()


@pytest.mark.slow
async def test_the_locked_runtime_installs(tmp_path: Path) -> None:
    lock = Path(__file__).parents[3] / "requirements" / "runtime.lock"
    steps: list[InstallProgress] = []
    installed = await install_runtime(tmp_path / "runtime", lock, steps.append)
    assert installed == open_runtime(tmp_path / "runtime")
    assert steps[-1].done == steps[-1].total
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    shutil.rmtree(tmp_path / "runtime")
