"""The rows that a requester keeps back: encrypted in its home, under a key that follows from the peer key.

A file appears under its name only when all of it is on the disk, so that a kill leaves none or a whole one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from openstall.app.services.keys import rows_key
from openstall.market.errors import StoreError

_PURPOSE: Final = b"openstall sealed rows v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """What an evaluator is given of a request: the columns in the order of the cells, and all rows."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def as_csv(self) -> bytes:
        """A table with a header, as the evaluation reads it."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return out.getvalue().encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsFolder:
    """The folder of sealed rows. Blocks; thread-safe."""

    folder: Path
    seed: bytes
    """The seed of the peer key."""

    def write(
        self, request_id: str, salt: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Seal the rows of a request; on disk when this returns.

        Raises:
            StoreError: no room on the disk; nothing is left of it.
        """
        plain = json.dumps({"columns": columns, "rows": rows}, ensure_ascii=False, separators=(",", ":"))
        sealed = bytes(Aead(rows_key(self.seed, salt)).encrypt(plain.encode(), self._bound_to(request_id)))
        target = self.path(request_id)
        part = target.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(part, "wb", opener=_private) as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            _sync_folder(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise StoreError(
                "disk_full",
                f"Your rows could not be kept: {error.strerror}. Nothing was published.",
                "Make room on the disk and try again.",
            ) from error

    def read(self, request_id: str, salt: str) -> KeptRows:
        """Open the rows of a request.

        Raises:
            StoreError: `rows_lost`: the file is gone, damaged, or of another peer key.
        """
        try:
            sealed = self.path(request_id).read_bytes()
            plain = Aead(rows_key(self.seed, salt)).decrypt(sealed, self._bound_to(request_id))
        except (OSError, CryptoError, ValueError) as error:
            raise StoreError(
                "rows_lost",
                f"The sealed rows of request {request_id} cannot be opened.",
                "Restore the home folder, with peer.key, from your copy.",
            ) from error
        found = json.loads(plain)
        return KeptRows(columns=tuple(found["columns"]), rows=[tuple(row) for row in found["rows"]])

    def remove(self, request_id: str) -> None:
        """Forget the rows of a request that nobody can bid for."""
        self.path(request_id).unlink(missing_ok=True)

    def sweep(self, keep: Sequence[str]) -> None:
        """Remove what a kill left behind: part files, and rows that no request in the books names."""
        known = set(keep)
        for path in self.folder.glob("*.*"):
            if path.suffix == ".part" or (path.suffix == ".rows" and path.stem not in known):
                path.unlink(missing_ok=True)

    def path(self, request_id: str) -> Path:
        """Where the rows of a request lie."""
        return self.folder / f"{request_id}.rows"

    @staticmethod
    def _bound_to(request_id: str) -> bytes:
        return _PURPOSE + b"\0" + request_id.encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    """Have the new name itself on the disk; Windows knows no handle of a folder, and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
