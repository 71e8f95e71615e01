"""What the local API answers about what waits to be sent, mailboxes, and exchange by file."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document
from openstall.ui.people import NameMark


class Waiting(Document, frozen=True, kw_only=True):
    """Something that waits to reach somebody; `keeper_marks` are about the mailbox in which it lies."""

    id: str = ""
    kind: str = ""
    what: str = ""
    to: str = ""
    to_name: str = ""
    to_marks: list[NameMark] = []
    keeper_marks: list[NameMark] = []
    order_id: str = ""
    written_at: int = 0
    expires: int = 0
    state: str = ""
    state_words: str = ""
    trouble: str = ""
    may_drop: bool = False


class OutboxItems(Document, frozen=True, kw_only=True):
    """All that waits."""

    items: list[Waiting] = []
    total: int = 0


class Kept(Document, frozen=True, kw_only=True):
    """Letters that this node keeps for others."""

    letters: int = 0
    bytes: int = 0
    peers: int = 0


class Box(Document, frozen=True, kw_only=True):
    """A mailbox of this node's own letters."""

    peer_id: str = ""
    name: str = ""
    marks: list[NameMark] = []
    trouble: str = ""


class Mailboxes(Document, frozen=True, kw_only=True):
    """Who keeps whose letters."""

    serves: bool = False
    kept: Kept = field(default_factory=Kept)
    mine: list[Box] = []


class Exported(Document, frozen=True, kw_only=True):
    """A file that was written."""

    path: str = ""
    bytes: int = 0
    objects: dict[str, int] = {}


class TakenIn(Document, frozen=True, kw_only=True):
    """What became of one object of a file."""

    kind: str = ""
    taken: bool = False
    words: str = ""


class Imported(Document, frozen=True, kw_only=True):
    """What came in, and what was refused."""

    items: list[TakenIn] = []
    taken: int = 0
    refused: int = 0


class Qr(Document, frozen=True, kw_only=True):
    """A text and its picture, row by row; `1` is dark."""

    text: str = ""
    rows: list[str] = []
