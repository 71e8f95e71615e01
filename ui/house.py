"""What the local API answers about the owner's house: rules, sensors, what follows, and the earnings."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from typing import Any

from msgspec import field

from openstall.ui.documents import Document


class Reason(Document, frozen=True, kw_only=True):
    """Why jobs may not run."""

    rule: str = ""
    words: str = ""
    ends: str = ""


class HouseDevice(Document, frozen=True, kw_only=True):
    """A graphics processor and what it tells now."""

    id: str = ""
    name: str = ""
    temperature_c: int | None = None
    power_mw: int | None = None


class Sensors(Document, frozen=True, kw_only=True):
    """What this computer tells now; None what it cannot."""

    input_idle_ms: int | None = None
    input_by: str = ""
    on_battery: bool | None = None
    metered: bool | None = None
    others_percent: int | None = None
    temperature_c: int | None = None
    fan_rpm: int | None = None
    fan_percent: int | None = None
    power_mw: int | None = None
    memory_free_bytes: int = 0
    disk_free_bytes: int = 0
    devices: list[HouseDevice] = []


class Returned(Document, frozen=True, kw_only=True):
    """How long the owner waited for the machine, at most; milliseconds."""

    count: int = 0
    last_ms: int = 0
    worst_ms: int = 0


class House(Document, frozen=True, kw_only=True):
    """State is open, full, closed or paused; `rules` as `market.house` reads them."""

    state: str = "open"
    words: str = ""
    next_words: str = ""
    reasons: list[Reason] = []
    rules: dict[str, Any] = {}
    sensors: Sensors = field(default_factory=Sensors)
    jobs_running: int = 0
    jobs_waiting: int = 0
    returned: Returned | None = None
    floor_price_micro: int | None = None


class DayEarning(Document, frozen=True, kw_only=True):
    """What one device earned on one day; `energy_by` is measured, stated or unknown."""

    day: str = ""
    device: str = ""
    jobs: int = 0
    worked_s: int = 0
    earned_micro: int = 0
    energy_j: int = 0
    energy_by: str = "unknown"
    cost_micro: int = 0
    net_micro: int | None = None


class Earnings(Document, frozen=True, kw_only=True):
    """Per device and day, the newest first."""

    items: list[DayEarning] = []
    total: int = 0


class Saved(Document, frozen=True, kw_only=True):
    """The files that were written."""

    items: list[str] = []
