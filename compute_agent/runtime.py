"""The workload runtime: a virtual environment of its own that is mounted read-only into sandboxes."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import trio

from openstall.compute_agent.lines import lines_of
from openstall.compute_agent.specs import InstallProgress, RuntimeState
from openstall.market.errors import SandboxError

REQUIRED = ("numpy", "onnx", "onnxruntime", "safetensors", "torch")
"""Distributions without which no workload starts."""

_COLLECTING = re.compile(rb"^(?:Collecting|Requirement already satisfied:?) ([A-Za-z0-9._-]+)")
_LOCKED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*==")
_SELF_CHECK = "import numpy, onnx, onnxruntime, safetensors, torch; print(torch.__version__)"
_SELF_CHECK_TIMEOUT_S = 120
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_LOCKED_FOR = (3, 11)
_HOW_TO_GET = (
    "Install the workload runtime: `openstall compute install-runtime`, or the button in Sell compute."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Paths on the host. `python` is the real interpreter (no link), `prefix` where it is installed."""

    root: Path
    site_packages: Path
    python: Path
    prefix: Path
    version: str

    @property
    def torch_version(self) -> str:
        """As its folder says; empty where it does not."""
        found = sorted(self.site_packages.glob("torch-*.dist-info"))
        return found[0].name.removeprefix("torch-").removesuffix(".dist-info") if found else ""


def runtime_candidates() -> list[Path]:
    """Where a runtime is looked for, in order.

    OPENSTALL_RUNTIME alone if it is set; else the one for graphics cards, which only its owner puts there,
    the checkout's `.runtime`, and the user's data folder.
    """
    named = os.environ.get("OPENSTALL_RUNTIME")
    if named:
        return [Path(named)]
    checkout = Path(__file__).resolve().parents[1] / ".runtime"
    return [default_runtime_folder(gpu=True), checkout, default_runtime_folder()]


def default_runtime_folder(*, gpu: bool = False) -> Path:
    """Where `install_runtime` puts it for an installed application."""
    return Path(platformdirs.user_data_dir("openstall")) / ("runtime-gpu" if gpu else "runtime")


def find_runtime() -> Runtime:
    """The first usable candidate. Raises SandboxError `runtime_missing` or `runtime_broken`."""
    broken: SandboxError | None = None
    for root in runtime_candidates():
        try:
            return open_runtime(root)
        except SandboxError as error:
            if error.code == "runtime_broken":
                broken = broken or error
    if broken is not None:
        raise broken
    raise SandboxError("runtime_missing", "The workload runtime is not installed.", _HOW_TO_GET)


def open_runtime(root: Path) -> Runtime:
    """The runtime in `root`, checked by its files only (nothing is imported).

    Raises SandboxError `runtime_missing` when there is no virtual environment there, and
    `runtime_broken` when its interpreter or one of the required packages is gone or unreadable.
    """
    try:
        settings = _settings(root / "pyvenv.cfg")
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxError(
            "runtime_missing", f"There is no workload runtime in {root}.", _HOW_TO_GET
        ) from error
    full_version = settings.get("version") or settings.get("version_info") or ""
    version = ".".join(full_version.split(".")[:2])
    site = root / "lib" / f"python{version}" / "site-packages"
    try:
        python = (Path(settings.get("home", "/")) / f"python{version}").resolve(strict=True)
        found = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")}
    except OSError as error:
        raise _broken(root, f"its Python {version} interpreter cannot be reached") from error
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise _broken(root, f"it lacks {', '.join(missing)}")
    return Runtime(
        root=root,
        site_packages=site.resolve(),
        python=python,
        prefix=python.parent.parent,
        version=version,
    )


def runtime_state() -> RuntimeState:
    """What `find_runtime` finds, with versions and size; never raises. Reads the whole tree: 0.5 s."""
    try:
        runtime = find_runtime()
    except SandboxError as error:
        return RuntimeState(
            state="missing" if error.code == "runtime_missing" else "broken",
            words=error.message,
            fix=error.what_next,
        )
    found = importlib.metadata.distributions(path=[str(runtime.site_packages)])
    packages = {item.name: item.version for item in found}
    return RuntimeState(
        state="ready",
        path=str(runtime.root),
        size_bytes=_size_of(runtime.root),
        packages={name: packages[name] for name in REQUIRED if name in packages},
        words=f"Python {runtime.version}, torch {packages.get('torch', '?')}",
    )


async def install_runtime(
    folder: Path, lock: Path, on_progress: Callable[[InstallProgress], None]
) -> Runtime:
    """Build the runtime from a hash-locked requirements file and put it at `folder` in one rename.

    Cancelling the call ends pip and leaves an earlier runtime as it was. Raises SandboxError
    `runtime_install_failed` with pip's last words.
    """
    text = await trio.Path(lock).read_text("utf-8")
    wanted = sum(1 for line in text.splitlines() if _LOCKED.match(line))
    total = wanted + 3
    fresh = folder.with_name(folder.name + ".new")
    try:
        await trio.to_thread.run_sync(_clear, fresh)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        on_progress(InstallProgress(stage="prepare", done=0, total=total, words="Making the folder"))
        await _run([_python_for_runtime(), "-m", "venv", str(fresh)], lambda _line: None)
        seen: set[bytes] = set()

        def on_line(line: bytes) -> None:
            match = _COLLECTING.match(line.strip())
            if match:
                seen.add(match.group(1).lower())
                name = match.group(1).decode()
                done = min(1 + len(seen), total - 2)
                on_progress(InstallProgress(stage="download", done=done, total=total, words=name))
            elif line.startswith(b"Installing collected"):
                on_progress(InstallProgress(stage="install", done=total - 2, total=total, words="Unpacking"))

        pip = [str(fresh / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
        pip += ["--disable-pip-version-check", "--no-compile", "--progress-bar", "off"]
        pip += ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        try:
            await _run(pip, on_line)
        except SandboxError as error:
            if "No matching distribution found for torch" not in error.message:
                raise
            await _run([*pip, "--extra-index-url", _TORCH_INDEX], on_line)
        on_progress(InstallProgress(stage="check", done=total - 1, total=total, words="Self-check"))
        with trio.fail_after(_SELF_CHECK_TIMEOUT_S):
            await _run([str(fresh / "bin" / "python"), "-I", "-c", _SELF_CHECK], lambda _line: None)
        open_runtime(fresh)
        await trio.to_thread.run_sync(_swap, fresh, folder)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_clear, fresh)
    on_progress(InstallProgress(stage="done", done=total, total=total, words="Ready"))
    return open_runtime(folder)


async def _run(command: list[str], on_line: Callable[[bytes], None]) -> None:
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    last = b""
    try:
        if process.stdout is not None:
            async for line in lines_of(process.stdout):
                last = line.strip() or last
                on_line(line)
        status = await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()
    if status != 0:
        raise SandboxError(
            "runtime_install_failed",
            f"The workload runtime could not be installed: {last.decode('utf-8', 'replace')}",
            "Check the network and the free disk space (3 GB; 8 GB for graphics cards), then try again.",
        )


def _python_for_runtime() -> str:
    """An interpreter of the version that the lock is for."""
    if sys.version_info[:2] == _LOCKED_FOR and not getattr(sys, "frozen", False):
        return sys.executable
    name = ".".join(("python3", str(_LOCKED_FOR[1])))
    found = shutil.which(name)
    if found is None:
        raise SandboxError(
            "runtime_install_failed",
            f"The workload runtime needs Python 3.{_LOCKED_FOR[1]}, which is not on this machine.",
            f"Install {name} with its venv module, then try again.",
        )
    return found


def _settings(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text("utf-8").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _broken(root: Path, words: str) -> SandboxError:
    return SandboxError(
        "runtime_broken", f"The workload runtime in {root} cannot be used: {words}.", _HOW_TO_GET
    )


def _size_of(root: Path) -> int:
    total = 0
    for folder, _folders, files in os.walk(root):
        for name in files:
            total += Path(folder, name).lstat().st_size
    return total


def _swap(fresh: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    _clear(old)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    _clear(old)


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
