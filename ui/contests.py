"""What the local API answers about contests, and the words for it."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from typing import Any

from openstall.ui import words
from openstall.ui.documents import Document
from openstall.ui.people import NameMark
from openstall.ui.theme import Mark

SHARES = frozenset({"accuracy", "macro_f1", "auc"})
"""Figures that are shares of 1: only in those there is practice, and a pool shared by quality."""


class EntryFigure(Document, frozen=True, kw_only=True):
    """What the evaluators measured, and the interval in which the true figure lies 95 times of 100."""

    value: str = ""
    low: str = ""
    high: str = ""


class ContestEntry(Document, frozen=True, kw_only=True):
    """A model in a contest; no figure, place and prize before it is judged."""

    entrant: str = ""
    name: str = ""
    name_marks: list[NameMark] = []
    model_hash: str = ""
    figure: EntryFigure | None = None
    passed: bool | None = None
    place: int | None = None
    prize_micro: int | None = None
    claimed: bool = False
    mine: bool = False


class BoardLine(Document, frozen=True, kw_only=True):
    """What everybody may know of one developer's practice."""

    developer: str = ""
    name: str = ""
    name_marks: list[NameMark] = []
    figure: str = ""
    tries_used: int = 0
    at: int = 0


class OwnEntry(Document, frozen=True, kw_only=True):
    """One's own entry."""

    state: str = ""
    model_hash: str = ""


class Contest(Document, frozen=True, kw_only=True):
    """A contest as the chain has it, with its figures."""

    request: str = ""
    title: str = ""
    role: str = ""
    state: str = ""
    pool_micro: int = 0
    deposit_micro: int = 0
    weights_bps: list[int] = []
    metric: str = ""
    threshold: str = ""
    entry_by: int = 0
    judge_by: int = 0
    claim_by: int | None = None
    entries: list[ContestEntry] = []
    board: list[BoardLine] = []
    tries_left: int = 0
    own: OwnEntry | None = None
    library_paths: list[str] = []
    trouble: Any = None

    @property
    def judged(self) -> bool:
        """Whether there are figures."""
        return any(entry.passed is not None for entry in self.entries)


class Contests(Document, frozen=True, kw_only=True):
    """The contests in which this node takes part."""

    items: list[Contest] = []


STAGES: dict[str, Mark] = {
    "none": ("beginning", "pending", "muted"),
    "entries": ("takes entries", "upload", "accent"),
    "judging": ("being measured", "measured", "accent"),
    "closing": ("closing", "pending", "muted"),
    "judged": ("decided", "done", "good"),
    "void": ("no result", "back", "muted"),
    "closed": ("over", "done", "muted"),
}


def contest_stage(contest: Contest | None, entry_by: int, judge_by: int, now: int) -> tuple[str, int]:
    """Where a contest stands, and when this stage ends (0 where no clock runs)."""
    state = contest.state if contest is not None else ""
    if contest is not None and state == "judged":
        return "judged", contest.claim_by or 0
    if state in ("void", "closed"):
        return state, 0
    if now < entry_by:
        return "entries", entry_by
    return ("judging", judge_by) if now < judge_by else ("closing", 0)


def entries_words(contest: Contest | None) -> str:
    """How many models are in."""
    if contest is None:
        return "…"
    return words.plural(len(contest.entries), "model") if contest.entries else "none"


def own_words(contest: Contest) -> str:
    """What became of one's own entry; empty where there is none."""
    mine = next((entry for entry in contest.entries if entry.mine), None)
    if mine is None:
        return "Your entry is on its way to the chain." if contest.own is not None else ""
    if contest.state == "void":
        return "Your model was entered. There was no result: your deposit is yours again."
    if mine.passed is None:
        return "Your model is entered. It stays encrypted for all but the evaluators."
    if mine.prize_micro and contest.state == "closed" and not mine.claimed:
        return f"You had place {mine.place}, and did not hand your model over in time: no prize."
    if mine.prize_micro:
        won = f"You have place {mine.place} and a prize of {words.amount(mine.prize_micro)}"
        return f"{won}{': paid.' if mine.claimed else '. Your node claims it by itself; leave it running.'}"
    reason = "It has no prize" if mine.passed else "It missed"
    return f"{reason}: your model stays yours, and your deposit comes back."
