"""What the node tells after it has recovered an order."""

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document, Failure


class AskedPeer(Document, frozen=True, kw_only=True):
    """A peer that was asked for papers, and why it gave none."""

    peer: str = ""
    role: str = ""
    answered: bool = False
    fault: Failure | None = None


class FoundPaper(Document, frozen=True, kw_only=True):
    """What was missing here, and who had it."""

    what: str = ""
    words: str = ""
    source: str = ""


class Recovered(Document, frozen=True, kw_only=True):
    """The answer to “recover this order”."""

    order_id: str = ""
    before: str = ""
    state: str = ""
    state_words: str = ""
    asked: list[AskedPeer] = field(default_factory=list)
    found: list[FoundPaper] = field(default_factory=list)
    chain: Failure | None = None
    what_next: str = ""
