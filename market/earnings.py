"""What a provider earns after electricity: per device and day, and the price below which it pays to stop.

Energy is counted in joules, money in micro-credits; electricity is rounded up, so that nobody is told of
a gain that is a loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

JOULES_PER_KWH = 3_600_000

EnergyBy = Literal["measured", "claimed", "stated", "unknown"]
"""Where a figure of energy comes from: a sensor here, a rig's word, the owner's word, or nowhere."""
_WORST_FIRST: Final[tuple[EnergyBy, ...]] = ("unknown", "stated", "claimed", "measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEarning:
    """One job that was run here; `day` is the owner's date on which it ended, `worked_s` its useful time."""

    day: str
    device: str
    worked_s: int
    earned_micro: int
    energy_j: int
    energy_by: EnergyBy
    cost_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEarning:
    """All jobs of one day on one device; `net_micro` is None where no energy is known."""

    day: str
    device: str
    jobs: int
    worked_s: int
    earned_micro: int
    energy_j: int
    energy_by: EnergyBy
    cost_micro: int
    net_micro: int | None


def cost_micro(energy_j: int, tariff_micro_per_kwh: int) -> int:
    """What energy costs, rounded up."""
    return -(-energy_j * tariff_micro_per_kwh // JOULES_PER_KWH)


def floor_price_micro(power_mw: int, tariff_micro_per_kwh: int) -> int:
    """The least price per second that pays for the electricity of that second, rounded up."""
    return -(-power_mw * tariff_micro_per_kwh // (1000 * JOULES_PER_KWH))


def by_day(jobs: Iterable[JobEarning]) -> list[DayEarning]:
    """The jobs gathered per day and device, the newest day first.

    A sum is no better known than its worst part: one stated figure makes it stated, one unknown unknown.
    """
    groups: dict[tuple[str, str], list[JobEarning]] = {}
    for job in jobs:
        groups.setdefault((job.day, job.device), []).append(job)
    rows = [_day(day, device, group) for (day, device), group in groups.items()]
    return sorted(sorted(rows, key=lambda row: row.device), key=lambda row: row.day, reverse=True)


def _day(day: str, device: str, jobs: list[JobEarning]) -> DayEarning:
    kinds = {job.energy_by for job in jobs}
    worst = next(one for one in _WORST_FIRST if one in kinds)
    earned, cost = sum(job.earned_micro for job in jobs), sum(job.cost_micro for job in jobs)
    return DayEarning(
        day=day,
        device=device,
        jobs=len(jobs),
        worked_s=sum(job.worked_s for job in jobs),
        earned_micro=earned,
        energy_j=sum(job.energy_j for job in jobs),
        energy_by=worst,
        cost_micro=cost,
        net_micro=None if worst == "unknown" else earned - cost,
    )
