"""What the local API answers about demand: prices of the group, our place, and jobs that went by."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document


class Market(Document, frozen=True, kw_only=True):
    """Asking prices per second of all offers in the group."""

    offers: int = 0
    p10_micro: int = 0
    median_micro: int = 0
    p90_micro: int = 0


class Standing(Document, frozen=True, kw_only=True):
    """Our place by price among offers that a buyer could take instead."""

    place: int = 0
    rivals: int = 0
    first_micro: int = 0


class Suggestion(Document, frozen=True, kw_only=True):
    """The price that would earn most, with what it was worked out from."""

    price_per_s_micro: int = 0
    cost_per_s_micro: int = 0
    worth_micro: int = 0
    jobs: int = 0
    seconds_then: int = 0


class LossReason(Document, frozen=True, kw_only=True):
    """Why a job did not come here, and what would have won it."""

    rule: str = ""
    words: str = ""
    change: str = ""


class LostJob(Document, frozen=True, kw_only=True):
    """A job that another provider got, or that was turned away here."""

    key: str = ""
    at: int = 0
    chosen: str = ""
    amount_micro: int = 0
    reasons: list[LossReason] = []


class LostJobs(Document, frozen=True, kw_only=True):
    """The newest of them."""

    items: list[LostJob] = []
    total: int = 0


class Demand(Document, frozen=True, kw_only=True):
    """Everything that the page shows; `price_micro` is what our offer asks."""

    price_micro: int = 0
    market: Market | None = None
    standing: Standing | None = None
    suggestion: Suggestion | None = None
    lost: LostJobs = field(default_factory=LostJobs)
