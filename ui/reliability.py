"""What the local API answers about reliability: a figure, and each change of it explained and dated."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from openstall.ui.documents import Document


class ReliabilityChange(Document, frozen=True, kw_only=True):
    """One step; points and figure of 10,000. `aged` is what it lost or won by age since the step before."""

    at: int = 0
    what: str = ""
    order_id: str = ""
    aged: int = 0
    points: int = 0
    score: int = 0
    words: str = ""
    mend: str = ""
    done_to_mend: int = 0


class Reliability(Document, frozen=True, kw_only=True):
    """The figure of this machine, or of a provider as this node has found it; changes newest first."""

    words: str = ""
    score: int = 0
    new: bool = True
    good_milli: int = 0
    bad_milli: int = 0
    counts: dict[str, int] = {}
    items: list[ReliabilityChange] = []
    total: int = 0
    chain_away: bool = False
