"""A service level in figures: which share of it was broken, and what that costs.

The penalty is the one of CloudChain, lambda times rho: lambda is the most that an order can cost
(`penalty_micro`), rho the share that was broken, in hundredths of a per cent and whole numbers only. Each
promise has one rule, the shares are added, and rho is never more than the whole:

* start: as late again as was promised is the whole; so is a start that failed by the provider's fault;
* uptime: what is missing of the promised share, as a part of it;
* steps: the steps that are missing of those that were due, as a part of them.

`ROUNDING_S` seconds are forgiven where a clock decides: two clocks and whole seconds are never exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from openstall.market.errors import Refused
from openstall.market.money import format_amount
from openstall.market.records import ServiceLevel

WHOLE_BPS = 10_000
LEAST_PENALTY_MICRO = 100_000
"""A provider pledges so much of its bond for each order at least: places of oracles are not for nothing."""
MOST_ORDERS = 40
"""So many orders of one provider oracles watch at once."""
ROUNDING_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a job went, in whole seconds and steps.

    `waited_s` runs from the payment to the start in the sandbox, without the time in which the inputs were
    fetched. `window_s` begins at the first useful output; `worked_s` of it the job worked.
    """

    waited_s: int = 0
    started: bool = True
    window_s: int = 0
    worked_s: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The share of each promise that was broken, in hundredths of a per cent."""

    start_bps: int
    uptime_bps: int
    steps_bps: int

    @property
    def total_bps(self) -> int:
        """Rho."""
        return min(WHOLE_BPS, self.start_bps + self.uptime_bps + self.steps_bps)


def broken(level: ServiceLevel, course: Course) -> Broken:
    """What of the service level was broken."""
    return Broken(
        start_bps=_start(level.start_s, course),
        uptime_bps=_uptime(level.uptime_bps, course),
        steps_bps=_steps(level.steps_per_1000s, course),
    )


def penalty(level: ServiceLevel, share_bps: int) -> int:
    """What a broken share costs, in micro-credits: lambda times rho, rounded down, never above lambda."""
    return level.penalty_micro * min(max(share_bps, 0), WHOLE_BPS) // WHOLE_BPS


def within(asked: ServiceLevel, offered: ServiceLevel) -> list[str]:
    """In which points an order asks for more than was offered; empty where it asks for no more."""
    more = {
        "start": asked.start_s and (not offered.start_s or asked.start_s < offered.start_s),
        "uptime": asked.uptime_bps > offered.uptime_bps,
        "steps": asked.steps_per_1000s > offered.steps_per_1000s,
        "penalty": asked.penalty_micro > offered.penalty_micro,
        "bond": asked.bond != offered.bond,
    }
    return [name for name, exceeded in more.items() if exceeded]


def check_place(penalty_micro: int, *, left_micro: int, pledged_micro: int = 0, orders: int = 0) -> None:
    """Whether oracles watch one more order: the rule by which provider, buyer and oracle decide alike.

    Args:
        left_micro: what is left of the bond.
        pledged_micro: what other orders of it may cost.
        orders: how many of the provider's orders with a service level are open.

    Raises:
        Refused: they do not.
    """
    if penalty_micro < LEAST_PENALTY_MICRO:
        raise Refused(
            "penalty_too_low",
            f"Oracles watch no order whose penalty is below {format_amount(LEAST_PENALTY_MICRO)} credits.",
            "Set a higher penalty (an order's cap is at least a tenth of it), or no service level.",
        )
    if orders >= MOST_ORDERS:
        raise Refused(
            "too_many_watched",
            f"{MOST_ORDERS} orders of this provider are watched already, and oracles take no more.",
            "Order without a service level, or try again when some of them are over.",
        )
    if pledged_micro + penalty_micro > left_micro:
        raise Refused(
            "bond_pledged",
            "The provider's bond stands for other orders already, and cannot pay for all.",
            "Ask for a smaller penalty, order without a service level, or try again later.",
        )


def _start(promised_s: int, course: Course) -> int:
    if not promised_s:
        return 0
    if not course.started:
        return WHOLE_BPS
    late_s = max(0, course.waited_s - promised_s - ROUNDING_S)
    return min(WHOLE_BPS, WHOLE_BPS * late_s // promised_s)


def _uptime(promised_bps: int, course: Course) -> int:
    if not promised_bps or course.window_s <= 0:
        return 0
    idle_s = max(0, course.window_s - course.worked_s - ROUNDING_S)
    kept_bps = WHOLE_BPS * (course.window_s - idle_s) // course.window_s
    return WHOLE_BPS * max(0, promised_bps - kept_bps) // promised_bps


def _steps(promised: int, course: Course) -> int:
    due = promised * max(0, course.worked_s - ROUNDING_S) // 1000
    if due <= 0:
        return 0
    return WHOLE_BPS * max(0, due - course.steps) // due
