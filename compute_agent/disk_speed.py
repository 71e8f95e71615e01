"""How fast the disk under a folder is: written and synced, then read back past the system's cache."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

from openstall.market.errors import StoreError

_CHUNK: Final = 2**20
_CHUNKS: Final = 64


def disk_speed(folder: Path) -> dict[str, int]:
    """`disk_write` and `disk_read` in MB/s (10**6 bytes), over 64 MiB; blocks about a second.

    Where the system has no way to drop its cache, `disk_read` is left out: it would be the memory's speed.

    Raises:
        StoreError: no room on the disk.
    """
    path = folder / f"speed-{secrets.token_hex(6)}"
    content = secrets.token_bytes(_CHUNK)
    try:
        began = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(_CHUNKS):
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        found = {"disk_write": _rate(began)}
        if hasattr(os, "posix_fadvise"):
            with path.open("rb", buffering=0) as source:
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                began = time.perf_counter()
                while source.read(_CHUNK):
                    pass
            found["disk_read"] = _rate(began)
    except OSError as error:
        raise StoreError(
            "disk_full",
            f"The speed of the disk cannot be measured: {error.strerror}.",
            "Free 64 MiB and try again.",
        ) from error
    finally:
        path.unlink(missing_ok=True)
    return found


def _rate(began: float) -> int:
    return round(_CHUNK * _CHUNKS / 10**6 / max(time.perf_counter() - began, 1e-6))
