"""Files that hold secrets: 0600 from the first byte, replaced in one step, safe on disk before we go on."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from openstall.market.errors import IdentityError, StoreError


def write_private(path: Path, content: bytes) -> None:
    """Write or replace a file atomically and fsync it and its folder.

    Raises:
        StoreError: the disk refuses; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError("cannot_write", f"{path.name} could not be written: {error.strerror}.") from error


def read_private(path: Path, *, max_bytes: int) -> bytes:
    """The content of a small file.

    Raises:
        IdentityError: unreadable, or larger than such a file can be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise IdentityError("cannot_read", f"{path.name} could not be read: {error.strerror}.") from error
    if len(content) > max_bytes:
        raise IdentityError("damaged_wallet", f"{path.name} is too large to be what it should be.")
    return content


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (POSIX; Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
