"""What this machine offers for sandboxes, found once, and the one function that runs a sandbox."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec
import trio

from openstall.compute_agent.collector import collect
from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox import untried
from openstall.compute_agent.sandbox.cgroup import CgroupScope
from openstall.compute_agent.sandbox.fixes import install_command, namespace_advice
from openstall.compute_agent.sandbox.gpu import Grant
from openstall.compute_agent.sandbox.hold import Hold
from openstall.compute_agent.sandbox.launcher import Running, launch
from openstall.compute_agent.sandbox.plan import Entry, Mode, Plan
from openstall.compute_agent.sandbox.seccomp import build_filter
from openstall.compute_agent.sandbox.supervisor import Emit, Outcome, supervise
from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.sandbox.unboxed import sweep
from openstall.compute_agent.specs import MIB, JobEvent, Limits, LogLine, OutputFile, Tier
from openstall.market.errors import SandboxError

_PROBE = Path(__file__).with_name("probe.py")
_PROBE_LIMITS = Limits(
    wall_s=20, cpu_s=10, memory_bytes=256 * MIB, processes=16, disk_bytes=MIB, log_bytes=16384
)
_MACHINES = ("x86_64", "aarch64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """Everything a launch needs, proved by the self-test. `landlock` is its ABI, 0 for none.

    `lacks` says why there are no namespaces, in words and with the fix; empty where there are.
    """

    bwrap: Path
    mode: Mode
    scope: CgroupScope
    filter: bytes
    filter_with_fork: bytes
    filter_unboxed: bytes
    filter_gpu: bytes
    landlock: int
    lacks: tuple[str, str] = ("", "")

    @property
    def tier(self) -> Tier:
        """How much holds a job here: `full`, or `reduced` where there are no namespaces."""
        return "reduced" if self.mode == "no_namespaces" else "full"

    def filter_for(self, plan: Plan) -> bytes:
        """The system-call filter that belongs to this plan."""
        if not plan.boxed:
            return self.filter_unboxed
        if plan.gpu is not None:
            return self.filter_gpu
        return self.filter_with_fork if plan.allow_fork else self.filter


class _ProbeReport(msgspec.Struct, forbid_unknown_fields=True):
    open: list[str]
    tried: int


async def run_sandbox(
    *,
    facilities: Facilities,
    plan: Plan,
    emit: Emit,
    cancel: trio.Event,
    allowed: Mapping[str, int],
    destination: Path,
    hold: Hold | None = None,
    warm: Running | None = None,
    talk: Talk | None = None,
) -> tuple[Outcome, tuple[OutputFile, ...]]:
    """Start, supervise, collect. Outputs are taken only from a job that ended well.

    `warm`: a finished sandbox that `plan` fits, instead of a new one; it is used up.

    To be called from the process's main thread. Raises SandboxError when the sandbox does not start
    or the outputs are not what was allowed, ValueError for a plan that goes without a layer.
    """
    if plan.without:
        raise ValueError("a job never goes without a layer")
    running = warm or launch(
        plan,
        bwrap=facilities.bwrap,
        seccomp=facilities.filter_for(plan),
        prefix=facilities.scope.prefix(plan.limits),
    )
    try:
        outcome = await supervise(running=running, plan=plan, emit=emit, cancel=cancel, hold=hold, talk=talk)
        if outcome.exit_code or outcome.limit or outcome.cancelled or outcome.fault is not None:
            return outcome, ()
        outputs = await trio.to_thread.run_sync(collect, running.folders["job/out"], allowed, destination)
        return outcome, outputs
    finally:
        with trio.CancelScope(shield=True):
            # without namespaces a hostile job leaves thousands of files, and removing them takes its time
            await trio.to_thread.run_sync(running.close)


def find_bwrap() -> Path:
    """Raises SandboxError `no_bwrap` when bubblewrap is not on PATH."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError(
            "no_bwrap",
            "bubblewrap, which makes the sandbox, is not installed.",
            install_command("bubblewrap"),
        )
    return Path(found)


def require_platform() -> None:
    """Raises SandboxError `unsupported_system` or `untried_sandbox` where no sandbox has been proved."""
    if untried.mechanism(sys.platform):
        raise untried.closed(sys.platform)
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        raise SandboxError(
            "unsupported_system",
            f"Jobs run on Linux (x86_64, aarch64); this is {platform.system()} on {platform.machine()}.",
            "You can still buy and sell models here; rent compute from a Linux machine.",
        )


def own_interpreter() -> Runtime:
    """The agent's own Python as a stand-in for the runtime, for self-tests before it is installed."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = (Path(sys.base_prefix) / "bin" / f"python{version}").resolve()
    return Runtime(
        root=Path(sys.base_prefix),
        site_packages=_PROBE.parent,
        python=python,
        prefix=python.parent.parent,
        version=version,
    )


async def find_facilities(*, runtime: Runtime, scope: CgroupScope) -> Facilities:
    """Find the strongest mode whose self-test passes with `runtime`. Takes about 100 ms.

    Raises SandboxError `no_bwrap`, `no_libseccomp`, those of `require_platform`, `sandbox_start_failed`, or
    `sandbox_leaks` when a door that must be shut was open.
    """
    require_platform()
    bwrap = find_bwrap()
    plain = await trio.to_thread.run_sync(lambda: build_filter(allow_fork=False))
    with_fork = await trio.to_thread.run_sync(lambda: build_filter(allow_fork=True))
    unboxed = await trio.to_thread.run_sync(lambda: build_filter(allow_fork=False, boxed=False))
    with_gpu = await trio.to_thread.run_sync(lambda: build_filter(allow_fork=False, gpu=True))
    # root that may make no namespaces is in a container, where a job's account could not be its own
    modes: tuple[Mode, ...] = ("user_namespace", "no_namespaces")
    if os.geteuid() == 0:
        modes = ("dropped_root", "user_namespace")
    no_scope = CgroupScope(manager=(), words=f"a sandbox does not start in a scope: {scope.words}")
    first: SandboxError | None = None
    for mode, tried in product(modes, (scope, no_scope) if scope.manager else (scope,)):
        if mode == "no_namespaces" and first is not None and first.code != "sandbox_start_failed":
            break  # namespaces that can be made but do not hold are no reason to go without
        if mode == "no_namespaces":
            await trio.to_thread.run_sync(sweep)
        candidate = Facilities(
            bwrap=bwrap,
            mode=mode,
            scope=tried,
            filter=plain,
            filter_with_fork=with_fork,
            filter_unboxed=unboxed,
            filter_gpu=with_gpu,
            landlock=0,
        )
        try:
            landlock = await probe(candidate, runtime)
        except SandboxError as error:
            first = first or error
            continue
        lacks = (first.message, namespace_advice()) if mode == "no_namespaces" and first else ("", "")
        return dataclasses.replace(candidate, landlock=landlock, lacks=lacks)
    if first is None or first.code == "sandbox_start_failed":
        words = "No way to make a sandbox could be tried." if first is None else first.message
        raise SandboxError("sandbox_start_failed", words, namespace_advice())
    raise first


async def probe(facilities: Facilities, runtime: Runtime) -> int:
    """Run the self-test script in a real sandbox; the Landlock ABI inside it."""
    tried = await trial(facilities, runtime, Entry(script=_PROBE), _PROBE_LIMITS, output="probe.json")
    if tried.written is None:
        end = f"exit status {tried.outcome.exit_code} {tried.outcome.limit}"
        raise SandboxError(
            "sandbox_start_failed",
            f"The sandbox's self-test did not run: {tried.last_line or end}.",
            namespace_advice(),
        )
    report = msgspec.json.decode(tried.written, type=_ProbeReport)
    if report.open:
        raise SandboxError(
            "sandbox_leaks",
            f"The sandbox on this machine does not hold: {', '.join(report.open)}.",
            "Update the kernel and bubblewrap; until then this machine runs no jobs.",
        )
    return tried.outcome.landlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a script of our own did in a sandbox; `written` is None where it left no output."""

    outcome: Outcome
    written: bytes | None
    last_line: str


async def trial(
    facilities: Facilities,
    runtime: Runtime,
    entry: Entry,
    limits: Limits,
    *,
    output: str,
    params: bytes = b"{}",
    gpu: Grant | None = None,
) -> Trial:
    """Run a script of our own, without inputs, as a job would run. Raises like `run_sandbox`."""
    last_line = ""

    async def emit(event: JobEvent) -> None:
        nonlocal last_line
        if isinstance(event, LogLine):
            last_line = event.text

    with tempfile.TemporaryDirectory(prefix="openstall-trial-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - one call on a local temporary folder
        plan = Plan(
            entry=entry,
            runtime=runtime,
            inputs=folder,
            params=params,
            limits=limits,
            mode=facilities.mode,
            gpu=gpu,
        )
        outcome, outputs = await run_sandbox(
            facilities=facilities,
            plan=plan,
            emit=emit,
            cancel=trio.Event(),
            allowed={output: 65536},
            destination=folder,
        )
        written = (folder / output).read_bytes() if outputs else None
    return Trial(outcome=outcome, written=written, last_line=last_line)
