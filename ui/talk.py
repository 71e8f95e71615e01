"""What the local API answers about messages and evidence."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from openstall.ui.documents import Document
from openstall.ui.people import WayOut


class Message(Document, frozen=True, kw_only=True):
    """One message about an order."""

    seq: int = 0
    by: str = ""
    mine: bool = False
    at: int = 0
    text: str = ""
    unread: bool = False
    waits: bool = False
    ways_out: list[WayOut] = []


class Talk(Document, frozen=True, kw_only=True):
    """All messages about an order, and who reads the next one."""

    items: list[Message] = []
    total: int = 0
    may_write: bool = False
    readers: list[str] = []


class Finding(Document, frozen=True, kw_only=True):
    """One thing that was looked at in a file of evidence; `holds` is None where nobody could decide it."""

    what: str = ""
    holds: bool | None = None
    words: str = ""


class Shown(Document, frozen=True, kw_only=True):
    """What one side has shown to the arbiter."""

    by: str = ""
    at: int = 0
    reason: str = ""
    items: int = 0
    holds: bool = False
    findings: list[Finding] = []
    messages: list[Message] = []


class ShownBySides(Document, frozen=True, kw_only=True):
    """What both sides have shown to the arbiter."""

    items: list[Shown] = []
    total: int = 0


class SavedEvidence(Document, frozen=True, kw_only=True):
    """A file of evidence was written."""

    path: str = ""
    items: int = 0
