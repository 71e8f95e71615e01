"""What the local API answers about reports that were checked again."""

from __future__ import annotations

from openstall.ui.documents import Document


class Replay(Document, frozen=True, kw_only=True):
    """What came of checking a report again."""

    at: int = 0
    outcome: str = ""
    words: str = ""
    opened: int = 0
    proof: str = ""

    @property
    def confirms(self) -> bool:
        """Whether the model answered as reported."""
        return self.outcome == "as_reported"

    @property
    def doubts(self) -> bool:
        """Whether it speaks against the evaluator."""
        return self.outcome in ("differs", "unlikely", "not_committed", "not_shown")


class ReplayAnswer(Document, frozen=True, kw_only=True):
    """What came of all of them, and what one can do."""

    doubted: bool = False
    confirmed: bool = False
    what_next: str = ""
