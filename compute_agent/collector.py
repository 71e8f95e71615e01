"""Takes files out of a sandbox: flat files, by name, checked and hashed.

The folder was written by a job and is hostile. Nothing is unpacked, no link is followed, nothing
outside the list is touched. Artefacts are collected when every process of the sandbox is dead; a
checkpoint is copied while the job runs, and a job that changes the file meanwhile spoils its own copy.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from openstall.compute_agent.specs import OutputFile, is_plain_file_name
from openstall.market.errors import SandboxError

_SYS_OPENAT2: Final = 437
_RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH
_CHUNK_BYTES: Final = 1024 * 1024
_ENTRIES_SEEN: Final = 64


def collect(folder_fd: int, allowed: Mapping[str, int], destination: Path) -> tuple[OutputFile, ...]:
    """Copy every name in `allowed` (name to greatest size in bytes) into `destination`.

    Raises SandboxError: `output_unexpected` for any other name in the folder, `output_missing`,
    `output_not_plain` (link, second name, FIFO, device, folder, holes) or `output_too_large`. On any
    error the files already copied are removed again.
    """
    for name in allowed:
        if not is_plain_file_name(name):
            raise ValueError(f"not a name for an output: {name!r}")
    _refuse_other_names(folder_fd, allowed)
    collected: list[OutputFile] = []
    try:
        for name, cap_bytes in allowed.items():
            collected.append(_take(folder_fd, name, cap_bytes, destination / name))
    except BaseException:
        for item in collected:
            (destination / item.name).unlink(missing_ok=True)
        raise
    return tuple(collected)


def take(folder_fd: int, name: str, cap_bytes: int, target: Path) -> OutputFile:
    """Copy one file of a running job; SandboxError like `collect`. The copy goes by its own name."""
    taken = _take(folder_fd, name, cap_bytes, target)
    return OutputFile(name=target.name, size=taken.size, sha256=taken.sha256)


def _refuse_other_names(folder_fd: int, allowed: Mapping[str, int]) -> None:
    strange: list[str] = []
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            if entry.name not in allowed:
                strange.append(ascii(entry.name)[:80])
                if len(strange) >= _ENTRIES_SEEN:
                    break
    if strange:
        raise _rejected("output_unexpected", f"files that were not asked for: {', '.join(strange[:5])}")


def _take(folder_fd: int, name: str, cap_bytes: int, target: Path) -> OutputFile:
    try:
        source = _open_beneath(folder_fd, name)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise _rejected("output_missing", f"no file {name}") from error
        raise _rejected("output_not_plain", f"{name} is not a plain file") from error
    try:
        facts = os.fstat(source)
        _require_plain(name, facts, cap_bytes)
        digest = _copy(source, facts.st_size, target, name)
    finally:
        os.close(source)
    return OutputFile(name=name, size=facts.st_size, sha256=digest)


def _require_plain(name: str, facts: os.stat_result, cap_bytes: int) -> None:
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise _rejected("output_not_plain", f"{name} is not a plain file with one name")
    if facts.st_size > cap_bytes:
        words = f"{name} with {facts.st_size} bytes; {cap_bytes} are allowed"
        raise _rejected("output_too_large", words)
    if facts.st_blocks * 512 < facts.st_size:
        words = f"{name} has holes: it claims more bytes than it holds"
        raise _rejected("output_not_plain", words)


def _copy(source: int, size: int, target: Path, name: str) -> str:
    """Copy exactly `size` bytes to a new file and return their SHA-256."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    digest = hashlib.sha256()
    left = size
    created = False
    try:
        with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
            created = True
            while left > 0 and (data := os.read(source, min(left, _CHUNK_BYTES))):
                digest.update(data)
                out.write(data)
                left -= len(data)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        if created:
            target.unlink(missing_ok=True)
        raise SandboxError(
            "output_not_stored",
            f"The job's {name} could not be written on the provider's disk: {error.strerror}.",
            "Free disk space on the provider's machine and run the job again.",
        ) from error
    if left:
        target.unlink(missing_ok=True)
        raise _rejected("output_not_plain", f"{name} is shorter than it claims")
    return digest.hexdigest()


def _open_beneath(folder_fd: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
    how = struct.pack("=QQQ", flags, 0, _RESOLVE)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_SYS_OPENAT2, folder_fd, name.encode("ascii"), how, len(how)))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return fd


def _rejected(code: str, words: str) -> SandboxError:
    return SandboxError(
        code,
        f"The job left {words}. Its outputs were not taken.",
        "The job is at fault, not your machine; nothing of it was stored.",
    )
