"""What the local API answers about service levels: promises, and how an order kept them."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from openstall.ui.capacity import Bond
from openstall.ui.documents import Document


class Level(Document, frozen=True, kw_only=True):
    """What is promised; 0 where nothing is."""

    start_s: int = 0
    uptime_bps: int = 0
    steps_per_1000s: int = 0
    penalty_micro: int = 0


class Promise(Document, frozen=True, kw_only=True):
    """A promise with the bond behind it; `pledged_micro` is known of one's own only."""

    level: Level | None = None
    bond: Bond | None = None
    pledged_micro: int = 0


class Complaint(Document, frozen=True, kw_only=True):
    """How far a complaint is, and what it brought."""

    case: str = ""
    state: str = ""
    amount_micro: int = 0


class OrderService(Document, frozen=True, kw_only=True):
    """The service level of an order."""

    start_s: int = 0
    uptime_bps: int = 0
    steps_per_1000s: int = 0
    worst_case_micro: int = 0
    watched_by: int = 0
    refused: dict[str, str] = {}
    broken_bps: int | None = None
    found_micro: int = 0
    blamed: str = ""
    words: str = ""
    complaint: Complaint | None = None
