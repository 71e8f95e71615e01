"""The doctor: can this machine run strangers' jobs safely, and if not, what to do about it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.host import (
    Facilities,
    find_bwrap,
    find_facilities,
    own_interpreter,
    require_platform,
    trial,
)
from openstall.compute_agent.sandbox.plan import Entry
from openstall.compute_agent.sandbox.seccomp import build_filter
from openstall.compute_agent.specs import GIB, MIB, Check, Limits
from openstall.market.errors import SandboxError

_VERSIONS_MODULE = "openstall.compute_agent.workloads.versions"
_VERSIONS_LIMITS = Limits(
    wall_s=90, cpu_s=60, memory_bytes=2 * GIB, processes=64, disk_bytes=MIB, log_bytes=65536
)
_MODES = {
    "user_namespace": "a job runs in a user namespace of its own",
    "dropped_root": "started by root; a job runs under a user id that owns nothing",
}


async def doctor() -> list[Check]:
    """Every check, in the order in which one depends on another. Never raises for a failed check."""
    checks = [
        await _check("system", require_platform, "Linux, supported processor"),
        await _check("bubblewrap", find_bwrap, "bubblewrap is installed"),
        await _check("system-call filter", lambda: build_filter(allow_fork=False), "libseccomp is there"),
    ]
    if not all(check.ok for check in checks):
        return checks
    scope = await trio.to_thread.run_sync(find_scope)
    runtime: Runtime | None = None
    runtime_error: SandboxError | None = None
    try:
        runtime = await trio.to_thread.run_sync(find_runtime)
    except SandboxError as error:
        runtime_error = error
    try:
        facilities = await find_facilities(runtime=runtime or own_interpreter(), scope=scope)
    except SandboxError as error:
        return [*checks, _failed("sandbox", error)]
    checks.append(_passed("sandbox", f"self-test passed; {_MODES[facilities.mode]}"))
    checks.append(_landlock(facilities.landlock))
    checks.append(
        Check(
            name="exact limits",
            severity="info",
            ok=bool(facilities.scope.manager),
            cause=facilities.scope.words,
            fix=""
            if facilities.scope.manager
            else "None needed: limits are kept by watching ten times a second.",
        )
    )
    if runtime is None:
        if runtime_error is not None:
            checks.append(_failed("workload runtime", runtime_error))
        return checks
    checks.append(_passed("workload runtime", f"found in {runtime.root}"))
    checks.append(await _runtime_starts(facilities, runtime))
    return checks


async def _check(name: str, attempt: Callable[[], object], words: str) -> Check:
    try:
        await trio.to_thread.run_sync(attempt)
    except SandboxError as error:
        return _failed(name, error)
    return _passed(name, words)


async def _runtime_starts(facilities: Facilities, runtime: Runtime) -> Check:
    entry = Entry(module=_VERSIONS_MODULE)
    try:
        tried = await trial(facilities, runtime, entry, _VERSIONS_LIMITS, output="versions.json")
    except SandboxError as error:
        return _failed("libraries in the sandbox", error)
    if tried.written is None:
        return Check(
            name="libraries in the sandbox",
            severity="error",
            ok=False,
            cause=tried.last_line or "the libraries did not load",
            fix="Install the workload runtime again.",
        )
    versions = msgspec.json.decode(tried.written, type=dict[str, str])
    words = ", ".join(f"{library} {version}" for library, version in versions.items())
    return _passed("libraries in the sandbox", words)


def _landlock(abi: int) -> Check:
    if abi:
        return Check(name="Landlock", severity="info", ok=True, cause=f"second file wall, version {abi}")
    return Check(
        name="Landlock",
        severity="warning",
        ok=False,
        cause="This kernel has no Landlock: the second wall around files is missing, the first holds.",
        fix="Use a kernel from 5.13 on with Landlock in its `lsm=` list.",
    )


def _passed(name: str, words: str) -> Check:
    return Check(name=name, severity="error", ok=True, cause=words)


def _failed(name: str, error: SandboxError) -> Check:
    return Check(name=name, severity="error", ok=False, cause=error.message, fix=error.what_next)
