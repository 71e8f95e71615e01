"""Windows: one process in an AppContainer and a job object. Written after the API, NOT RUN BY ANYONE YET.

Nothing here runs a job: `host.require_platform` keeps Windows closed, and `untried` only tries this out
where a person asks for that. The structures are those of the 64-bit ABI, whatever system imports them, so
that their sizes can be checked anywhere.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p, c_wchar_p
from dataclasses import dataclass
from pathlib import Path

from openstall.compute_agent.specs import Limits
from openstall.market.errors import SandboxError

NAME = "Openstall.Job"
KILL_ON_CLOSE, ACTIVE_PROCESS, JOB_MEMORY, JOB_TIME, DIE_ON_FAULT = 0x2000, 0x8, 0x200, 0x4, 0x400
ALL_UI = 0xFF
"""Handles of others, clipboard, display, desktops, atoms, shutdown: nothing of the user's session."""
RATE_ENABLE, RATE_HARD_CAP = 0x1, 0x4
_EXTENDED_LIMITS, _UI, _CPU_RATE = 9, 4, 15
_SECURITY_CAPABILITIES, _CHILD_POLICY, _PACKAGES_POLICY = 0x20009, 0x2000E, 0x2000F
_NO_CHILDREN, _OPT_OUT = 1, 1
_SUSPENDED, _UNICODE_ENVIRONMENT, _EXTENDED_STARTUP, _NO_WINDOW = 0x4, 0x400, 0x80000, 0x8000000
_ALREADY_EXISTS = 0x800700B7


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION; times in tenths of a microsecond."""

    _fields_ = (
        ("process_time", c_int64),
        ("job_time", c_int64),
        ("flags", c_uint32),
        ("least_working_set", c_size_t),
        ("most_working_set", c_size_t),
        ("active_processes", c_uint32),
        ("affinity", c_size_t),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", c_uint64 * 6),
        ("process_memory", c_size_t),
        ("job_memory", c_size_t),
        ("peak_process_memory", c_size_t),
        ("peak_job_memory", c_size_t),
    )


class CpuRate(ctypes.Structure):
    """JOBOBJECT_CPU_RATE_CONTROL_INFORMATION; the rate in hundredths of a per cent of all processors."""

    _fields_ = (("flags", c_uint32), ("rate", c_uint32))


class Capabilities(ctypes.Structure):
    """SECURITY_CAPABILITIES; none are given, and without one there is no network."""

    _fields_ = (("sid", c_void_p), ("capabilities", c_void_p), ("count", c_uint32), ("reserved", c_uint32))


class Startup(ctypes.Structure):
    """STARTUPINFOEXW."""

    _fields_ = (
        ("size", c_uint32),
        ("reserved", c_wchar_p),
        ("desktop", c_wchar_p),
        ("title", c_wchar_p),
        ("place", c_uint32 * 7),
        ("flags", c_uint32),
        ("show_window", c_uint16),
        ("more_size", c_uint16),
        ("more", c_void_p),
        ("handles", c_void_p * 3),
        ("attributes", c_void_p),
    )


class Process(ctypes.Structure):
    """PROCESS_INFORMATION."""

    _fields_ = (("process", c_void_p), ("thread", c_void_p), ("pid", c_uint32), ("tid", c_uint32))


def job_limits(limits: Limits) -> ExtendedLimits:
    """One process, its memory and its processor time; everything dies when the handle is closed."""
    found = ExtendedLimits()
    found.basic.flags = KILL_ON_CLOSE | ACTIVE_PROCESS | JOB_MEMORY | JOB_TIME | DIE_ON_FAULT
    found.basic.active_processes = 1
    found.basic.job_time = limits.cpu_s * 10_000_000
    found.job_memory = limits.memory_bytes
    return found


def cpu_rate(limits: Limits, cores: int) -> CpuRate:
    """A hard cap at as many processors as threads were rented."""
    rate = max(1, min(10_000, 10_000 * limits.threads // max(cores, 1)))
    return CpuRate(flags=RATE_ENABLE | RATE_HARD_CAP, rate=rate)


def grants(sid: str, read: Sequence[Path], write: Sequence[Path]) -> list[list[str]]:
    """The commands that let the container, and no other program, read and write these folders."""
    rights = [(path, "RX") for path in read] + [(path, "M") for path in write]
    return [["icacls", str(path), "/grant", f"*{sid}:(OI)(CI)({right})", "/Q"] for path, right in rights]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process in the container ended; `status` is None where its time ran out."""

    status: int | None


if sys.platform == "win32":

    def run(
        command: Sequence[str], *, limits: Limits, cores: int, read: Sequence[Path], write: Sequence[Path]
    ) -> Ended:
        """Run a command in a container of its own, within the limits, and wait for its end; blocks.

        Raises:
            SandboxError: Windows refuses a step; the process has not begun then.
        """
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = c_void_p
        sid = _container()
        for words in grants(_as_text(sid), read, write):
            subprocess.run(words, check=True, capture_output=True)
        job = c_void_p(kernel.CreateJobObjectW(None, None))
        try:
            _need(job.value, "CreateJobObject")
            for kind, value in (
                (_EXTENDED_LIMITS, job_limits(limits)),
                (_UI, c_uint32(ALL_UI)),
                (_CPU_RATE, cpu_rate(limits, cores)),
            ):
                done = kernel.SetInformationJobObject(job, kind, ctypes.byref(value), ctypes.sizeof(value))
                _need(done, f"SetInformationJobObject {kind}")
            started = _start_suspended(kernel, sid, subprocess.list2cmdline(command), write[0])
            try:
                _need(kernel.AssignProcessToJobObject(job, c_void_p(started.process)), "AssignProcess")
                _need(kernel.ResumeThread(c_void_p(started.thread)) != 0xFFFFFFFF, "ResumeThread")
                waited = kernel.WaitForSingleObject(c_void_p(started.process), limits.wall_s * 1000)
                status = c_uint32()
                if waited == 0:
                    _need(
                        kernel.GetExitCodeProcess(c_void_p(started.process), ctypes.byref(status)), "ExitCode"
                    )
                return Ended(status=status.value if waited == 0 else None)
            finally:
                kernel.TerminateProcess(
                    c_void_p(started.process), 1
                )  # before it was assigned, nothing else does
                for handle in (started.thread, started.process):
                    kernel.CloseHandle(c_void_p(handle))
        finally:
            kernel.CloseHandle(job)

    def _start_suspended(kernel: ctypes.WinDLL, sid: c_void_p, line: str, folder: Path) -> Process:
        size = c_size_t()
        kernel.InitializeProcThreadAttributeList(None, 3, 0, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        _need(kernel.InitializeProcThreadAttributeList(room, 3, 0, ctypes.byref(size)), "attribute list")
        try:
            values = (
                (_SECURITY_CAPABILITIES, Capabilities(sid=sid)),
                (_CHILD_POLICY, c_uint32(_NO_CHILDREN)),
                (_PACKAGES_POLICY, c_uint32(_OPT_OUT)),
            )
            for kind, value in values:
                done = kernel.UpdateProcThreadAttribute(
                    room, 0, c_size_t(kind), ctypes.byref(value), c_size_t(ctypes.sizeof(value)), None, None
                )
                _need(done, f"attribute {kind:#x}")
            startup = Startup(size=ctypes.sizeof(Startup), attributes=ctypes.cast(room, c_void_p).value)
            found = Process()
            flags = _SUSPENDED | _UNICODE_ENVIRONMENT | _EXTENDED_STARTUP | _NO_WINDOW
            words = ctypes.create_unicode_buffer(line)
            system = os.environ.get("SYSTEMROOT", r"C:\Windows")
            environment = ctypes.create_unicode_buffer(f"SystemRoot={system}\0")  # all that it is told
            done = kernel.CreateProcessW(
                None,
                words,
                None,
                None,
                0,
                flags,
                environment,
                str(folder),
                ctypes.byref(startup),
                ctypes.byref(found),
            )
            _need(done, "CreateProcess")
            return found
        finally:
            kernel.DeleteProcThreadAttributeList(room)

    def _container() -> c_void_p:
        """The identity of our container, made where there is none yet."""
        userenv = ctypes.WinDLL("userenv")
        sid = c_void_p()
        result = userenv.CreateAppContainerProfile(NAME, NAME, NAME, None, 0, ctypes.byref(sid)) & 0xFFFFFFFF
        if result == _ALREADY_EXISTS:
            result = userenv.DeriveAppContainerSidFromAppContainerName(NAME, ctypes.byref(sid)) & 0xFFFFFFFF
        if result:
            raise _refused(f"CreateAppContainerProfile {result:#x}")
        return sid

    def _as_text(sid: c_void_p) -> str:
        advapi = ctypes.WinDLL("advapi32", use_last_error=True)
        advapi.ConvertSidToStringSidW.argtypes = [c_void_p, POINTER(c_wchar_p)]
        text = c_wchar_p()
        _need(advapi.ConvertSidToStringSidW(sid, ctypes.byref(text)), "ConvertSidToStringSid")
        return str(text.value)

    def _need(done: object, step: str) -> None:
        if not done:
            raise _refused(f"{step}: error {ctypes.get_last_error()}")


def _refused(step: str) -> SandboxError:
    return SandboxError("sandbox_start_failed", f"Windows made no sandbox ({step}).", "No jobs run here.")
