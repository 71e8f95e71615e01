"""Which endpoints are open, in a file that only this user can read: a restart gives the same keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.app.logging import get_logger
from openstall.ledger.private_files import read_private, write_private
from openstall.market.errors import OpenstallError

_MOST_BYTES = 64 * 1024

log = get_logger("openstall.endpoint")


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An endpoint of before a restart."""

    order_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    key: Annotated[str, Meta(pattern=r"^sk-[A-Za-z0-9_-]{43}\Z")]
    port: Annotated[int, Meta(ge=1, le=65535)]


def read_kept(path: Path) -> list[Kept]:
    """All of them. A file that cannot be read costs the keys and no more: that is logged."""
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(read_private(path, max_bytes=_MOST_BYTES), type=list[Kept])
    except (OpenstallError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("endpoints of before are lost: open them again", why=type(error).__name__)
        return []


def write_kept(path: Path, kept: list[Kept]) -> None:
    """Replace the file. Raises StoreError."""
    write_private(path, msgspec.json.encode(kept))
