"""What the local API says of measured models: figures, signed reports, and what came of checking them."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

import base64
import json

from msgspec import field

from openstall.market.requests.replays import DOUBTS
from openstall.ui import documents
from openstall.ui.documents import Document, UnreadableAnswer


class Figure(Document, frozen=True, kw_only=True):
    """A figure that an evaluator measured, with the interval in which the true one lies 95 times of 100."""

    name: str = ""
    hits: int | None = None
    rows: int = 0
    value: str = ""
    low: str = ""
    high: str = ""


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
        return self.outcome in DOUBTS


class ReplayAnswer(Document, frozen=True, kw_only=True):
    """What came of all of them, and what one can do."""

    doubted: bool = False
    confirmed: bool = False
    what_next: str = ""


class Verdict(Document, frozen=True, kw_only=True):
    """What one evaluator signed about one try; `on_chain` where the chain names its report."""

    attempt: int = 0
    evaluator: str = ""
    passed: bool = False
    fault: str = ""
    figures: list[Figure] = []
    report_hash: str = ""
    on_chain: bool = False
    statement: str = ""
    replay: Replay | None = None


class CustomPart(Document, frozen=True, kw_only=True):
    """What was handed in to an order, and how it was judged."""

    attempt: int = 0
    tries: int = 0
    model_hash: str | None = None
    verdicts: list[Verdict] = []
    may_replay: bool = False
    rows_to_open: int = 0


class Predicate(Document, frozen=True, kw_only=True):
    """What a statement commits to."""

    rows: int = 0
    rows_root: str = ""
    code_sha256: str = ""
    outputs_root: str = ""
    seed: int = 0


class Statement(Document, frozen=True, kw_only=True):
    """A signed assessment."""

    predicate: Predicate = field(default_factory=Predicate)


def statement_of(verdict: Verdict) -> Statement | None:
    """The statement beside a verdict; the node has checked it, here it is only shown."""
    try:
        return documents.read(json.loads(base64.b64decode(verdict.statement)), Statement)
    except (ValueError, UnreadableAnswer):
        return None
