"""How reliable a provider is, from what one node has seen itself: a figure, and every change of it explained.

The figure is the lower end of Wilson's score interval (E. B. Wilson, "Probable inference, the law of
succession, and statistical inference", J. Am. Stat. Assoc. 22, 1927; one-sided, 95 %): so many of 10,000
orders end well at the least, as far as the evidence carries. A newcomer is at 0, not at 10,000. Evidence
counts for half after 90 days (forgetting as in A. Josang and R. Ismail, "The beta reputation system",
2002). All arithmetic is in integers, so that the same evidence gives the same figure on every machine.

A provider's own word about its figure is never taken: a buyer's node works out its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import isqrt

from openstall.market.mechanisms.reliability_words import What, words_of
from openstall.market.orders.failover import BAD_CHECKPOINT, is_providers_fault

WHOLE = 10_000
DAY_S = 86_400
HALF_LIFE_DAYS = 90
FORGOTTEN_DAYS = 8 * HALF_LIFE_DAYS
ENOUGH = 5
"""With less evidence than that many fresh orders a provider counts as new."""
MOST_TO_MEND = 1_000
_UNIT = 1_000_000
_Z2 = 2_705_543
"""The square of 1.644854, the one-sided 95 % quantile of the normal distribution, in millionths."""
_DAILY = (992_328_053, 1_000_000_000)
"""2 to the power of -1/90: what is left of a weight after a day."""

_WEIGHTS: dict[What, tuple[int, int]] = {
    "done": (1, 0),
    "challenge_passed": (1, 0),
    "failed": (0, 1),
    "late": (0, 1),
    "owner_ended": (0, 1),
    "silent": (0, 2),
    "false_report": (0, 4),
    "challenge_failed": (0, 4),
    "cheated": (0, 8),
    "bond_paid": (0, 16),
}
"""For and against, in orders; what is not named here weighs nothing."""

_OWNERS = frozenset({"owner_stopped", "house_rules", "deadline"})
_BUYERS = frozenset({"cancelled", "withdrawn", "unpaid", "cap"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that a node has seen itself: when (Unix seconds), what, and in which order, if in one."""

    at: int
    what: What
    order_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What one party's books say of a job whose money is settled.

    `report` is the state and the reason that the provider signed; `untrue` that this node knows the blame
    in it to be wrong; `caught` what this node caught the provider at; `silent` that it did not answer.
    """

    order_id: str
    at: int
    started: bool
    late: bool
    silent: bool = False
    report: tuple[str, str] | None = None
    untrue: bool = False
    caught: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One dated step of the figure: what happened, by how much, and what would mend it.

    `aged` is what it had lost or won since the step before, because older evidence counts for less.
    `done_to_mend` is how many jobs done would bring the points back; 0 where none are to be brought back.
    """

    at: int
    what: What
    order_id: str
    reason: str
    aged: int
    points: int
    score: int
    words: str
    mend: str
    done_to_mend: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """The figure of 10,000, the evidence it rests on (in thousandths of an order), and how it came about."""

    score: int
    good_milli: int
    bad_milli: int
    is_new: bool
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Sum:
    """Evidence gathered per day, for and against."""

    days: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, at: int, what: What) -> None:
        good, bad = _WEIGHTS.get(what, (0, 0))
        if good or bad:
            day = at // DAY_S
            held = self.days.get(day, (0, 0))
            self.days[day] = (held[0] + good, held[1] + bad)

    def weigh(self, now: int) -> tuple[int, int]:
        """For and against, in millionths of an order, as they count at that moment."""
        today, good, bad = now // DAY_S, 0, 0
        for day, (for_it, against) in self.days.items():
            weight = _weight(max(0, today - day))
            good, bad = good + for_it * weight, bad + against * weight
        return good, bad


def of_job(facts: JobFacts) -> Evidence:
    """What a settled job says about its provider."""
    what, reason = _what(facts)
    return Evidence(at=facts.at, what=what, order_id=facts.order_id, reason=reason)


def untrue_blame(reason: str, *, buyer_ended: bool, paid_in_time: bool, cap_reached: bool) -> bool:
    """Whether a report blames the buyer for what, by the buyer's own books, was not so."""
    return (
        (reason in ("cancelled", "withdrawn") and not buyer_ended)
        or (reason == "cap" and not cap_reached)
        or (reason == "unpaid" and paid_in_time)
    )


def score(evidence: Iterable[Evidence], now: int) -> int:
    """The figure alone, of 10,000."""
    gathered = _Sum()
    for one in evidence:
        gathered.add(min(one.at, now), one.what)
    return _wilson(*gathered.weigh(now))


def explain(evidence: Sequence[Evidence], now: int) -> Reliability:
    """The figure now, and every step that led there, the oldest first; the points add up to the figure.

    What has aged between two steps is a step of its own. Evidence dated later than now counts as of now.
    """
    gathered, changes, last = _Sum(), list[Change](), 0
    for one in sorted(evidence, key=lambda one: (one.at, one.order_id, one.what)):
        at = min(one.at, now)  # the chain may be some seconds ahead of our clock
        good, bad = gathered.weigh(at)
        gathered.add(at, one.what)
        for_it, against = _WEIGHTS.get(one.what, (0, 0))
        after = good + for_it * _UNIT, bad + against * _UNIT
        before, score_then = _wilson(good, bad), _wilson(*after)
        lost = score_then < before
        changes.append(
            _change(
                at,
                one,
                aged=before - last,
                points=score_then - before,
                score=score_then,
                done_to_mend=_done_to_mend(after, before) if lost else 0,
            )
        )
        last = score_then
    good, bad = gathered.weigh(now)
    current = _wilson(good, bad)
    if current != last:
        older = Evidence(at=now, what="older")
        changes.append(_change(now, older, aged=current - last, points=0, score=current, done_to_mend=0))
    return Reliability(
        score=current,
        good_milli=good // 1000,
        bad_milli=bad // 1000,
        is_new=good + bad < ENOUGH * _UNIT,
        changes=tuple(changes),
    )


def counts(evidence: Iterable[Evidence]) -> dict[str, int]:
    """How often each thing was seen, undiminished by age."""
    found: dict[str, int] = {}
    for one in evidence:
        found[one.what] = found.get(one.what, 0) + 1
    return found


def _what(facts: JobFacts) -> tuple[What, str]:
    if facts.caught:
        return "cheated", facts.caught
    if facts.report is None:
        return _without_report(facts), ""
    state, reason = facts.report
    return ("done", "") if state == "done" else _of_a_failure(facts, state, reason)


def _of_a_failure(facts: JobFacts, state: str, reason: str) -> tuple[What, str]:
    if reason == BAD_CHECKPOINT:
        return "job_failed", reason  # the fault of whoever wrote it
    if facts.untrue:
        # That vouchers were lost on their way cannot be ruled out; that a buyer cancelled who did not, can.
        return ("failed" if reason == "unpaid" else "false_report"), reason
    if is_providers_fault(state, reason):
        return ("late" if reason == "too_late" else "owner_ended" if reason in _OWNERS else "failed"), reason
    return ("buyer_ended" if reason in _BUYERS else "job_failed"), reason


def _without_report(facts: JobFacts) -> What:
    if facts.started or facts.silent:
        return "silent"
    return "late" if facts.late else "called_off"


@cache
def _weight(days: int) -> int:
    """What is left of one order after so many days, in millionths."""
    if days >= FORGOTTEN_DAYS:
        return 0
    left, whole = _DAILY
    return int(_UNIT * left**days // whole**days)


def _wilson(good: int, bad: int) -> int:
    """The lower end of Wilson's interval, in ten-thousandths; `good` and `bad` in millionths of an order."""
    total = good + bad
    if not total:
        return 0
    spread = isqrt(_Z2 * good * bad // total + _Z2 * _Z2 // 4)
    return max(0, WHOLE * (good + _Z2 // 2 - spread) // (total + _Z2))


def _done_to_mend(weighed: tuple[int, int], target: int) -> int:
    """How many jobs done at once would bring the figure back; 0 where more than a thousand would not."""
    good, bad = weighed

    def enough(count: int) -> bool:
        return _wilson(good + count * _UNIT, bad) >= target

    low, high = 1, MOST_TO_MEND
    if not enough(high):
        return 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _change(at: int, one: Evidence, *, aged: int, points: int, score: int, done_to_mend: int) -> Change:
    words, mend = words_of(one.what, one.reason)
    return Change(
        at=at,
        what=one.what,
        order_id=one.order_id,
        reason=one.reason,
        aged=aged,
        points=points,
        score=score,
        words=words,
        mend=mend,
        done_to_mend=done_to_mend,
    )
