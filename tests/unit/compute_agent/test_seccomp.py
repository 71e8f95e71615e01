from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openstall.compute_agent.runtime import find_runtime, open_runtime, runtime_state
from openstall.compute_agent.sandbox.seccomp import build_filter
from openstall.market.errors import SandboxError


def test_filter_is_a_bpf_program_and_fork_makes_a_difference() -> None:
    without, with_fork = build_filter(allow_fork=False), build_filter(allow_fork=True)
    assert len(without) % 8 == 0
    assert 100 < len(without) // 8 < 4096
    assert without != with_fork


def test_no_filter_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError) as caught:
        build_filter(allow_fork=False)
    assert caught.value.code == "no_libseccomp"
    assert "libseccomp" in caught.value.what_next


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
