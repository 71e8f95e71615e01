"""One node per home folder, held by a lock of the operating system.

The lock ends with the process, however it ends, so `kill -9` leaves nothing to clean up.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from openstall.market.errors import Conflict


class HomeLock:
    """Context manager; entering raises Conflict with the holder's process id if another node runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def __enter__(self) -> Self:
        # Not inherited by children: an orphan must never keep the home locked.
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(self._handle):
            os.close(self._handle)
            holder = holder_of(self._path)
            raise Conflict(
                "node_running",
                f"A node already runs on {self._path.parent}" + (f" (process {holder})." if holder else "."),
                "Use that one, or stop it first: openstall node stop.",
            )
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps({"pid": os.getpid()}).encode(), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def holder_of(path: Path) -> int | None:
    """Process id that the lock's holder wrote into it, or None."""
    try:
        pid = json.loads(path.read_bytes())["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None


if os.name == "nt":
    import msvcrt

    _FAR = 1 << 30
    """The locked byte lies beyond the text, so that others can still read who holds the lock."""

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
