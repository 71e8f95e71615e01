"""The doctor: can this machine run strangers' jobs safely, and if not, what to do about it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import psutil
import trio

from openstall.compute_agent.inventory import probe_gpus
from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.compute_agent.sandbox import proven
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.fixes import command_in
from openstall.compute_agent.sandbox.gpu_check import Proved, gpu_advice, prove_gpus
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
from openstall.compute_agent.specs import GIB, GPU_CHECK, MIB, Check, Limits, Tier
from openstall.market.errors import SandboxError

_VERSIONS_MODULE = "openstall.compute_agent.workloads.versions"
_VERSIONS_LIMITS = Limits(
    wall_s=90, cpu_s=60, memory_bytes=2 * GIB, processes=64, disk_bytes=MIB, log_bytes=65536
)
_LEAST_MEMORY_BYTES = 2 * GIB
_LEAST_DISK_BYTES = 5 * GIB
_MODES = {
    "user_namespace": "a job runs in a user namespace of its own",
    "dropped_root": "started by root; a job runs under a user id that owns nothing",
    "no_namespaces": "a job runs without namespaces, held by Landlock and the system-call filter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the doctor found. `tier` is `none` where jobs would be refused; `gpus` passed their check."""

    checks: tuple[Check, ...]
    tier: Tier
    gpus: Proved | None = None


async def doctor(*, lent: frozenset[str] = frozenset(), fresh: bool) -> Examination:
    """Every check, so that all that is missing is named at once. Never raises for a failed check.

    Unless it is to be `fresh`, a runtime's libraries are not loaded again where that went well before.
    """
    needed = [
        await _check("system", require_platform, "Linux, supported processor"),
        await _check("bubblewrap", find_bwrap, "bubblewrap is installed"),
        await _check("system-call filter", lambda: build_filter(allow_fork=False), "libseccomp is there"),
    ]
    runtime: Runtime | None = None
    facilities: Facilities | None = None
    checks = [*needed]
    try:
        runtime = await trio.to_thread.run_sync(find_runtime)
        runtime_check = _passed("workload runtime", f"found in {runtime.root}")
    except SandboxError as error:
        runtime_check = _failed("workload runtime", error)
    if all(check.ok for check in needed):
        scope = await trio.to_thread.run_sync(find_scope)
        try:
            facilities = await find_facilities(runtime=runtime or own_interpreter(), scope=scope)
        except SandboxError as error:
            checks.append(_failed("sandbox", error))
    if facilities is not None:
        checks += _sandbox(facilities)
    checks.append(runtime_check)
    if facilities is not None and runtime is not None:
        checks.append(await _runtime_starts(facilities, runtime, fresh=fresh))
    proved = None
    if facilities is not None and runtime is not None:
        gpu_check, proved = await _gpus(facilities, runtime, lent)
        checks += gpu_check
    checks += _machine()
    unfit = facilities is None or any(check.severity == "error" and not check.ok for check in checks)
    tier: Tier = "none" if unfit or facilities is None else facilities.tier
    return Examination(checks=tuple(checks), tier=tier, gpus=proved)


async def _check(name: str, attempt: Callable[[], object], words: str) -> Check:
    try:
        await trio.to_thread.run_sync(attempt)
    except SandboxError as error:
        return _failed(name, error)
    return _passed(name, words)


def _sandbox(facilities: Facilities) -> list[Check]:
    cause, fix = facilities.lacks
    scope = facilities.scope
    return [
        _passed("sandbox", f"self-test passed, tier {facilities.tier}; {_MODES[facilities.mode]}"),
        _advised("namespaces", bool(cause), cause or "files, processes and network of their own", fix),
        _landlock(facilities.landlock),
        Check(
            name="exact limits",
            severity="info",
            ok=bool(scope.manager),
            cause=scope.words,
            fix="" if scope.manager else "None needed: limits are kept by watching ten times a second.",
        ),
    ]


async def _runtime_starts(facilities: Facilities, runtime: Runtime, *, fresh: bool) -> Check:
    under = await trio.to_thread.run_sync(proven.conditions, facilities, runtime)
    versions = None if fresh else await trio.to_thread.run_sync(proven.kept, runtime, under)
    if versions is not None:
        return _libraries(versions)
    await trio.to_thread.run_sync(proven.forget, runtime)
    entry = Entry(module=_VERSIONS_MODULE)
    try:
        tried = await trial(facilities, runtime, entry, _VERSIONS_LIMITS, output="versions.json")
    except SandboxError as error:
        return _failed("libraries in the sandbox", error)
    if tried.written is None:
        words = tried.last_line or "the libraries did not load"
        again = "Install the workload runtime again: `openstall compute install-runtime`."
        return _failed("libraries in the sandbox", SandboxError("runtime_broken", words, again))
    versions = msgspec.json.decode(tried.written, type=dict[str, str])
    await trio.to_thread.run_sync(proven.keep, runtime, under, versions)
    return _libraries(versions)


def _libraries(versions: dict[str, str]) -> Check:
    words = ", ".join(f"{library} {version}" for library, version in versions.items())
    return _passed("libraries in the sandbox", words)


async def _gpus(
    facilities: Facilities, runtime: Runtime, lent: frozenset[str]
) -> tuple[list[Check], Proved | None]:
    """Whether jobs may use the graphics cards; no line where there are none."""
    gpus, _note = await trio.to_thread.run_sync(probe_gpus)
    free = [gpu for gpu in gpus if gpu.id not in lent]
    if not gpus:
        return [], None
    if not free:
        words = "each is at work for a job now, and was looked at before"
        return [Check(name=GPU_CHECK, severity="warning", ok=True, cause=words)], None
    try:
        proved = await prove_gpus(facilities, runtime, gpus, lent=lent)
    except SandboxError as error:
        told = gpu_advice(error, runtime)
        return [
            Check(name=GPU_CHECK, severity="warning", ok=False, cause=told.message, fix=told.what_next)
        ], Proved(ids=(), words=told.message)
    whole = len(proved.ids) == len(free)
    fix = "" if whole else "None needed: only the cards that pass are rented out."
    return [Check(name=GPU_CHECK, severity="warning", ok=whole, cause=proved.words, fix=fix)], proved


def _landlock(abi: int) -> Check:
    if abi:
        return Check(name="Landlock", severity="info", ok=True, cause=f"second file wall, version {abi}")
    return Check(
        name="Landlock",
        severity="warning",
        ok=False,
        cause="This kernel has no Landlock: the second wall around files is missing, the first holds.",
        fix="Use a kernel from 5.13 on, and add `landlock` to `lsm=` on its command line.",
    )


def _machine() -> list[Check]:
    """What keeps no job away, but is better known."""
    memory = psutil.virtual_memory().available
    folder = tempfile.gettempdir()
    disk = psutil.disk_usage(folder).free
    return [
        _advised(
            "ordinary user",
            os.geteuid() == 0,
            "the agent runs as root" if os.geteuid() == 0 else "the agent has no rights of an administrator",
            "Start the node as an ordinary user.",
        ),
        _advised(
            "memory",
            memory < _LEAST_MEMORY_BYTES,
            f"{memory // MIB} MiB are free; a training job takes {_LEAST_MEMORY_BYTES // MIB}",
            "Close programs that use much memory.",
        ),
        _advised(
            "disk",
            disk < _LEAST_DISK_BYTES,
            f"{disk // MIB} MiB are free under {folder}; inputs and results need {_LEAST_DISK_BYTES // MIB}",
            "Free some space, or set TMPDIR to a larger disk.",
        ),
    ]


def _advised(name: str, lacking: bool, cause: str, fix: str) -> Check:  # noqa: FBT001 - private, two words
    fix = fix if lacking else ""
    return Check(name=name, severity="warning", ok=not lacking, cause=cause, fix=fix, command=command_in(fix))


def _passed(name: str, words: str) -> Check:
    return Check(name=name, severity="error", ok=True, cause=words)


def _failed(name: str, error: SandboxError) -> Check:
    fix = error.what_next
    return Check(name=name, severity="error", ok=False, cause=error.message, fix=fix, command=command_in(fix))
