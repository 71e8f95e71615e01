"""What the local API answers about a price that follows the market by itself."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document


class PriceRules(Document, frozen=True, kw_only=True):
    """The owner's limits, per second."""

    floor_micro: int = 0
    ceiling_micro: int = 0
    step_bps: int = 500
    pace_s: int = 3600


class PriceStep(Document, frozen=True, kw_only=True):
    """A step with its working; `middle_micro` and `target_micro` are 0 where there is none."""

    why: str = ""
    words: str = ""
    old_micro: int = 0
    new_micro: int = 0
    target_micro: int = 0
    least_micro: int = 0
    electricity_micro: int = 0
    rivals: int = 0
    middle_micro: int = 0


class PriceChange(Document, frozen=True, kw_only=True):
    """A change that was made."""

    at: int = 0
    old_micro: int = 0
    new_micro: int = 0
    working: PriceStep = field(default_factory=PriceStep)


class PriceChanges(Document, frozen=True, kw_only=True):
    """All that are kept, the newest first."""

    items: list[PriceChange] = []
    total: int = 0


class Autoprice(Document, frozen=True, kw_only=True):
    """The switch, its limits, and what would follow from them now."""

    on: bool = False
    rules: PriceRules | None = None
    price_micro: int | None = None
    electricity_micro: int = 0
    next_at: int | None = None
    step: PriceStep | None = None
    chain_away: bool = False
    changes: PriceChanges = field(default_factory=PriceChanges)
