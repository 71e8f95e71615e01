"""The rows that a requester keeps back: encrypted in its home, under a key that follows from the peer key.

A file appears under its name only when all of it is on the disk, so that a kill leaves none or a whole one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from openstall.app.services.keys import rows_key
from openstall.ledger.private_files import write_private
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
        try:
            write_private(self.path(request_id), sealed)
        except StoreError as error:
            raise StoreError(
                "disk_full",
                f"Your rows could not be kept: {error.message} Nothing was published.",
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
        """Remove what a kill left behind: half written files, and rows that no request in the books names."""
        known = {self.path(request_id) for request_id in keep}
        for path in self.folder.glob("*.rows*"):
            if path not in known:
                path.unlink(missing_ok=True)

    def path(self, request_id: str) -> Path:
        """Where the rows of a request lie."""
        return self.folder / f"{request_id}.rows"

    @staticmethod
    def _bound_to(request_id: str) -> bytes:
        return _PURPOSE + b"\0" + request_id.encode()
