#!/usr/bin/env python3
"""Set up, run, test and measure Openstall from a checkout. Needs Python 3.11 or newer and nothing else.

    python3 dev.py demo [--headless]    the whole market on this machine: train, sell, buy, settle
    python3 dev.py start                the desktop
    python3 dev.py test [pytest args]   lint and every test; with arguments only those tests
    python3 dev.py lint                 ruff, mypy and the import rules
    python3 dev.py bench [--markdown]   measure against our aims
    python3 dev.py fuzz [decoder ...]   throw bytes at whatever reads those of strangers
    python3 dev.py mutants [file ...]   delete each check of the validators; each time a test must fail
    python3 dev.py nat [--write]        transfers through routers of many kinds, in network namespaces
    python3 dev.py pictures [name ...]  take the pictures of the guides anew, or these of them
    python3 dev.py contracts [--write]  recompile the contracts; compare with (or replace) what is committed
    python3 dev.py setup                only set up
    python3 dev.py lock                 make the requirement locks anew
    python3 dev.py clean                remove everything that this script made

Every command sets up first whatever it needs; a second run finds it done and starts at once.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (said in words, where older interpreters would only show a traceback)
    sys.exit(f"Openstall needs Python 3.11 or newer; this is {sys.version.split()[0]}.")

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import system_packages  # noqa: E402  (needs the line above)

VENV = ROOT / ".venv"
RUNTIME = ROOT / ".runtime"
PYTHONS = ROOT / ".python"
CONTRACTS = ROOT / "ledger" / "contracts"
REQUIREMENTS = ROOT / "requirements"
BIN = "Scripts" if os.name == "nt" else "bin"
# The public home of torch's processor-only builds, asked only where pip does not find them otherwise.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


class Failed(Exception):
    """A step that did not work; the message is for a person."""


def program(folder: Path, name: str) -> Path:
    """Where an environment keeps an executable."""
    return folder / BIN / (f"{name}.exe" if os.name == "nt" else name)


def environment() -> dict[str, str]:
    """This process's environment with the programs of .venv (node and npm among them) found first."""
    path = os.pathsep.join([str(VENV / BIN), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def step(label: str, *commands: Sequence[str | Path], cwd: Path = ROOT) -> None:
    """Run commands silently under one line of progress; what they printed is shown only if one fails."""
    print(f"  {label} ", end="", flush=True)
    start = time.monotonic()
    for command in commands:
        words = [str(word) for word in command]
        with subprocess.Popen(
            words, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        ) as process:  # fmt: skip
            output = ""
            while process.returncode is None:
                try:
                    output = process.communicate(timeout=5)[0]
                except subprocess.TimeoutExpired:
                    print(".", end="", flush=True)
        if process.returncode:
            print("failed", flush=True)
            raise Failed(f"{output.strip()}\n\n`{' '.join(words)}` ended with status {process.returncode}.")
    print(f" {time.monotonic() - start:.1f} s", flush=True)


def run(command: Sequence[str | Path]) -> int:
    """Run a command in the foreground; Ctrl+C reaches it and it decides how to end."""
    with subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment()) as process:
        while process.returncode is None:
            with contextlib.suppress(KeyboardInterrupt):
                if os.getpid() == 1:  # the first process of a container must bury what others leave behind
                    ended, status = os.wait()
                    if ended == process.pid:
                        process.returncode = os.waitstatus_to_exitcode(status)
                else:
                    process.wait()
        return process.returncode


# --- set-up ---


class Marks:
    """What has been set up in an environment: step name → fingerprint of everything that went into it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "openstall-setup.json"

    def read(self) -> dict[str, str]:
        """The marks on disk; none if the environment is not there."""
        try:
            marks: dict[str, str] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return marks

    def has(self, name: str, fingerprint: str) -> bool:
        """Whether the step was finished with exactly these inputs."""
        return self.read().get(name) == fingerprint

    def put(self, name: str, fingerprint: str) -> None:
        """Remember that the step is finished."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({**self.read(), name: fingerprint}, indent=1), encoding="utf-8")
        new.replace(self.path)


def fingerprint(*files: Path) -> str:
    """A hash of files, the kind of interpreter and the checkout's place (environments cannot be moved)."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\0{ROOT}\0".encode())
    for file in files:
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def make_environment(folder: Path, interpreter: str | Path = sys.executable) -> None:
    """Create a virtual environment, anew if its interpreter is gone or differs."""
    marks, wanted = Marks(folder), fingerprint()
    if marks.has("environment", wanted) and program(folder, "python").exists():
        return
    if folder.exists() and not marks.read() and (folder / "pyvenv.cfg").exists():
        marks.put("environment", wanted)  # made by hand; keep it
        return
    clear = ["--clear"] if folder.exists() else []
    step(f"environment {folder.name}", [interpreter, "-m", "venv", *clear, folder])
    marks.put("environment", wanted)


def pip(folder: Path, *arguments: str | Path) -> list[str | Path]:
    """A pip command for an environment: hashes or nothing, no resolver, no builds with unlocked tools."""
    return [program(folder, "python"), "-m", "pip", "install", "--no-input", "--no-deps",
            "--no-build-isolation", "--use-pep517", *arguments]  # fmt: skip


def install(folder: Path, label: str, lock: Path, *extra: str) -> None:
    """Install a locked set of packages unless this very set is there."""
    marks, wanted = Marks(folder), fingerprint(lock)
    if marks.has(lock.stem, wanted):
        return
    step(label, pip(folder, "--require-hashes", "-r", lock, *extra))
    marks.put(lock.stem, wanted)


def runtime_python() -> str | Path:
    """The interpreter of the workload runtime: on Linux 3.11, because torch's build is locked for that."""
    if platform.system() != "Linux" or sys.implementation.cache_tag == "cpython-311":
        return sys.executable
    ready = ["python3.11", "-c", "import ensurepip"]
    if shutil.which("python3.11") and subprocess.run(ready, check=False, capture_output=True).returncode == 0:
        return "python3.11"
    install(VENV, "development packages", REQUIREMENTS / "dev.lock")
    uv = program(VENV, "uv")
    step("Python 3.11 for the workload runtime", [uv, "python", "install", "3.11", "-i", PYTHONS, "--no-bin"])
    return next(PYTHONS.glob("cpython-3.11*/bin/python3.11"))


def install_runtime() -> None:
    """The environment that sandboxes see: torch and what goes with it."""
    lock = REQUIREMENTS / "runtime.lock"
    if not Marks(RUNTIME).has(lock.stem, fingerprint(lock)):
        make_environment(RUNTIME, runtime_python())
    try:
        install(RUNTIME, "workload runtime: torch, onnxruntime", lock)
    except Failed as first:
        if "No matching distribution found for torch" not in str(first):
            raise
        install(RUNTIME, "workload runtime, with PyTorch's own index", lock, "--extra-index-url", TORCH_INDEX)


def install_project() -> None:
    """Openstall itself, editable, and the links that type checkers follow."""
    marks, wanted = Marks(VENV), fingerprint(ROOT / "pyproject.toml", REQUIREMENTS / "app.in")
    if not marks.has("project", wanted):
        step("openstall itself", pip(VENV, "-e", "."))
        marks.put("project", wanted)
    links = ROOT / "build" / "types" / "openstall"
    if not links.exists() or not marks.has("links", wanted):
        step("links for type checkers", [program(VENV, "python"), ROOT / "tools" / "link_types.py"])
        marks.put("links", wanted)


def install_npm(folder: Path, mark: str, label: str, *options: str) -> None:
    """Install a locked set of npm packages: what the group chain needs, or a witness of the tests.

    The chain's lock names anvil's builds for other systems without hashes, which could not be had where it
    was made; npm takes only the one that fits.
    """
    marks, wanted = Marks(VENV), fingerprint(folder / "package-lock.json")
    if marks.has(mark, wanted) and (folder / "node_modules").exists():
        return
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    step(label, [program(VENV, "npm"), "ci", *options, *quiet], cwd=folder)
    marks.put(mark, wanted)


def setup(*, development: bool = False, runtime: bool = True) -> None:
    """Everything a command needs; what is already there is left alone."""
    start = time.monotonic()
    system_packages.ensure(step, compilers=not Marks(VENV).read().get("app"), tests=development)
    make_environment(VENV)
    install(VENV, "build tools", REQUIREMENTS / "build.lock")
    install(VENV, "application packages", REQUIREMENTS / "app.lock")
    if development:
        install(VENV, "development packages", REQUIREMENTS / "dev.lock")
    install_project()
    install_npm(CONTRACTS, "chain", "group chain: anvil")
    for lock in sorted((ROOT / "tests" / "interop").glob("*/package-lock.json")) if development else ():
        name = lock.parent.name
        install_npm(lock.parent, f"witness {name}", f"witness of the tests: {name}", "--ignore-scripts")
    if runtime:
        install_runtime()
    if time.monotonic() - start > 2:
        print(f"  set up in {time.monotonic() - start:.0f} s\n", flush=True)


# --- checks ---


def python(*arguments: str | Path) -> list[str | Path]:
    """A command for the application's interpreter."""
    return [program(VENV, "python"), *arguments]


def checks() -> dict[str, list[str | Path]]:
    """The static checks by name."""
    return {
        "format": [program(VENV, "ruff"), "format", "--check", "--output-format", "concise", "."],
        "ruff": [program(VENV, "ruff"), "check", "--output-format", "concise", "."],
        "types": python("-m", "mypy"),
        "import rules": [program(VENV, "lint-imports"), "--no-logo"],
    }


def lint() -> int:
    """Run every static check, also when an earlier one failed."""
    failed = []
    for name, command in checks().items():
        try:
            step(name, command)
        except Failed as fault:
            print(f"\n{fault}\n", flush=True)
            failed.append(name)
    print(f"  not clean: {', '.join(failed)}" if failed else "  clean", flush=True)
    return 1 if failed else 0


def find_links() -> list[str]:
    """The folders of wheels that pip looks into here, as words for uv, which does not read pip's settings."""
    told = os.environ.get("PIP_FIND_LINKS", "").split()
    asked = [str(program(VENV, "python")), "-m", "pip", "config", "get", "global.find-links"]
    told += subprocess.run(asked, check=False, capture_output=True, text=True).stdout.split()
    return [word for folder in dict.fromkeys(told) for word in ("--find-links", folder)]


# --- commands ---


def cmd_demo(arguments: Sequence[str]) -> int:
    """The whole market on this machine."""
    setup()
    return run([program(VENV, "openstall"), "demo", *arguments])


def cmd_start(arguments: Sequence[str]) -> int:
    """The desktop."""
    setup()
    return run([program(VENV, "openstall-gui"), *arguments])


def cmd_test(arguments: Sequence[str]) -> int:
    """Lint and the whole suite, or only the tests that were named."""
    setup(development=True)
    if arguments:
        return run(python("-m", "pytest", *arguments))
    linted = lint()  # then several at a time: most wait for other processes, and a file's share one market
    several = ["-n", str(min(4, 2 * (os.cpu_count() or 1))), "--dist", "loadfile", "--no-loadscope-reorder"]
    tested = run(python("-m", "pytest", *several, "-m", "not slow and not alone"))
    return run(python("-m", "pytest", "-m", "alone and not slow")) or tested or linted


def cmd_lint(_: Sequence[str]) -> int:
    """The static checks."""
    setup(development=True, runtime=False)
    return lint()


def script(place: str, needs: dict[str, bool], arguments: Sequence[str]) -> int:
    """Set up and then run a program of this checkout."""
    setup(**needs)
    return run(python(ROOT / place, *arguments))


def cmd_contracts(arguments: Sequence[str]) -> int:
    """Recompile the contracts and compare with, or replace, what is committed."""
    setup(development=True, runtime=False)
    mode = [] if list(arguments) == ["--write"] else ["--check", *arguments]
    return run(python("-m", "openstall.ledger.contracts.build", *mode))


def cmd_setup(_: Sequence[str]) -> int:
    """Everything that any command needs."""
    setup(development=True)
    print("  ready")
    return 0


def cmd_lock(_: Sequence[str]) -> int:
    """Resolve requirements/*.in into *.lock with hashes, for every system and every Python from 3.11 on."""
    make_environment(VENV)
    install(VENV, "development packages", REQUIREMENTS / "dev.lock")
    options = ["--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    options += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links", *find_links()]
    for name in ("build", "app", "dev", "prove", "runtime", "runtime-gpu"):
        source, target = REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.lock"
        command: list[str | Path] = [program(VENV, "uv"), "pip", "compile", *options, source, "-o", target]
        step(f"requirements/{name}.lock", command)
    return 0


def cmd_clean(_: Sequence[str]) -> int:
    """Remove environments, downloaded tools and caches; never a wallet or anything else of the user's."""
    caches = [".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".hypothesis"]
    made = [VENV, RUNTIME, PYTHONS, CONTRACTS / "node_modules", ROOT / "build", ROOT / "dist"]
    made += [*(ROOT / name for name in caches), *ROOT.glob("*.egg-info")]
    made += [*(ROOT / "tests" / "interop").glob("*/node_modules"), *ROOT.rglob("__pycache__")]
    for folder in made:
        if folder.exists():
            shutil.rmtree(folder)
            if folder.name != "__pycache__":
                print(f"  removed {folder.relative_to(ROOT)}")
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": cmd_demo,
    "start": cmd_start,
    "test": cmd_test,
    "lint": cmd_lint,
    "bench": partial(script, "benchmarks/run.py", {"development": True}),
    "fuzz": partial(script, "tools/fuzz.py", {"development": True, "runtime": False}),
    "mutants": partial(script, "tools/delete_checks.py", {"development": True, "runtime": False}),
    "nat": partial(script, "tests/nat/campaign.py", {"development": True}),
    "contracts": cmd_contracts,
    "pictures": partial(script, "tools/take_pictures.py", {}),
    "setup": cmd_setup,
    "lock": cmd_lock,
    "clean": cmd_clean,
}


def main() -> int:
    """Read the command line; everything after the command's name belongs to the command."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"], ["help"]) else 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our letters is no reason to stop
    try:
        return COMMANDS[sys.argv[1]](sys.argv[2:])
    except system_packages.Missing as missing:
        print(f"\n{missing}", file=sys.stderr)
        return 2
    except Failed as fault:
        print(f"\n{fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command continues where this one was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
