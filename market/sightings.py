"""What is seen of a job with a service level while it runs, and what follows from it.

Both parties sign how far the job is (`Telemetry`). The buyer and the oracles of the bond, the witnesses,
ask the provider for that at moments it cannot foresee, each with a nonce, and keep what they saw by their
own clocks. `judge` is the one rule by which each of them decides, alone.

Of a date that the provider says, a witness takes what lies between its own sightings before and after: so
the provider can neither say that it started before somebody saw it waiting, nor hide a pause between two
looks at it that found it paused. What nobody saw counts in the provider's favour.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openstall.market.fields import Address, Body, Network, Sha256, Time
from openstall.market.mechanisms.blame import CUT_OFF, REASONS, VANISHED, Blame, blame
from openstall.market.orders.documents import ComputeTerms, PeerId
from openstall.market.orders.results import JobReport
from openstall.market.service_levels import Course

JUDGE_S: Final = 3600
"""So long after the last deadline of an order a complaint is still taken; the bond must not leave before."""
STATES: Final = ("waiting", "fetching", "working", "paused", "ended")
_DOWN: Final = frozenset({"paused", "silent", "none"})
_GONE: Final = frozenset({"silent", "none"})
_DATES: Final = ("fetch_at", "inputs_at", "started_at", "first_output_at", "ended_at")
MOST_KEPT: Final = 100
"""So many sightings of a job are kept at most."""
_SEEN: Final = (*STATES, "silent", "none", "blind")
Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Telemetry(Body, frozen=True, kw_only=True):
    """How far a job is, as one party to its order saw it; dates are 0 where that did not happen (yet)."""

    network: Network
    order: Sha256
    by: PeerId
    nonce: Nonce
    state: Annotated[str, Meta(pattern=rf"^({'|'.join(STATES)})\Z")]
    fetch_at: Time
    """The provider began to fetch the inputs."""
    inputs_at: Time
    """The provider has all inputs."""
    started_at: Time
    first_output_at: Time
    worked_s: Count
    paused_s: Count
    steps: Count
    heard_at: Time
    """When a buyer last heard from its provider; a provider says 0."""
    ended_at: Time
    at: Time


class ServiceCase(Body, frozen=True, kw_only=True):
    """A complaint about a broken service level; what it costs is for the oracles to say."""

    network: Network
    chain_id: Annotated[int, Meta(ge=1)]
    bond: Sha256
    order: Sha256
    provider: PeerId
    by: PeerId
    beneficiary: Address
    at: Time


class Sighting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a witness saw at `at` of its own clock; the dates are the provider's own.

    `silent`: no line to the provider, while others answered. `none`: it is there and shows no such job.
    `blind`: the witness had no line at all, so it saw nothing.
    """

    at: int
    state: str
    fetch_at: int = 0
    inputs_at: int = 0
    started_at: int = 0
    first_output_at: int = 0
    worked_s: int = 0
    paused_s: int = 0
    steps: int = 0
    ended_at: int = 0
    idle_s: int | None = None
    """Where sightings before this one were left out: the seconds that they found idle, up to this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How the job went, and who is to blame for its end."""

    blame: Blame
    course: Course


def case_hash(bond: str, order_id: str) -> str:
    """Under which name the bond pays for an order: one each, whatever anybody complains of, and how often."""
    return hashlib.sha256(f"openstall-service-case-v1:{bond}:{order_id}".encode()).hexdigest()


def sighting_of(found: Telemetry, at: int) -> Sighting:
    """What a witness keeps of an answer that came at that moment of its own clock."""
    dates = (
        "fetch_at",
        "inputs_at",
        "started_at",
        "first_output_at",
        "worked_s",
        "paused_s",
        "steps",
        "ended_at",
    )
    return Sighting(at=at, state=found.state, **{name: getattr(found, name) for name in dates})


def add(seen: Sequence[Sighting], new: Sighting) -> list[Sighting]:
    """The sightings with one more; of a run of the same state only its first and last are kept.

    A provider that says something else at each look makes no more than `MOST_KEPT` of them, and changes
    nothing of the verdict: what is left out is counted in what stays.
    """
    kept = list(seen)
    same = len(kept) > 1 and kept[-1].state == kept[-2].state == new.state and kept[-1].idle_s is None
    if same and not _progress(kept[-1], new):
        kept.pop()
    kept.append(new)
    return kept if len(kept) <= MOST_KEPT else _shortened(kept)


def _shortened(seen: Sequence[Sighting]) -> list[Sighting]:
    """The same with the oldest left out that no date, no end and no present silence rests on."""
    kept = [one for one in seen if one.state != "blind"]  # says nothing anyway
    needed = _needed(kept)
    at = 1
    while len(kept) > MOST_KEPT and at < len(kept) - 1:
        if id(kept[at]) in needed:
            at += 1
        else:
            joined = _joined(kept[at - 1], kept[at], kept[at + 1])
            if id(kept[at + 1]) in needed:
                needed.add(id(joined))
            kept[at : at + 2] = [joined]
    return kept


def _needed(seen: Sequence[Sighting]) -> set[int]:
    """Those on which a date or the end rests: the first that says it and the one before, by their `id`."""
    at = {0, len(seen) - 1}
    for name in _DATES:
        first = next((place for place, one in enumerate(seen) if getattr(one, name)), 0)
        at |= {first, max(0, first - 1)}
    at.add(max((place for place, one in enumerate(seen) if not one.ended_at), default=0))
    there = max((place for place, one in enumerate(seen) if one.state not in _GONE), default=-1)
    at.add(min(there + 1, len(seen) - 1))  # gone since then
    return {id(seen[place]) for place in at}


def _joined(before: Sighting, left_out: Sighting, after: Sighting) -> Sighting:
    """The later of two neighbours, which counts for both; `before` is the one before them."""
    idle_s = _idle_s(before, left_out) + _idle_s(left_out, after)
    plain = msgspec.structs.replace(
        after,
        paused_s=max(left_out.paused_s, after.paused_s),
        steps=max(left_out.steps, after.steps),
        idle_s=None,
    )
    return plain if idle_s == _idle_s(before, plain) else msgspec.structs.replace(plain, idle_s=idle_s)


def _idle_s(one: Sighting, after: Sighting) -> int:
    """The seconds between two neighbours in which the job stood still, or nobody was there."""
    if after.idle_s is not None:
        return after.idle_s
    return after.at - one.at if one.state in _DOWN and after.state in _DOWN else 0


def gone_since(seen: Sequence[Sighting]) -> int:
    """Since when the provider shows nothing any more (two looks at least); 0 where it does."""
    run: list[Sighting] = []
    for one in reversed(seen):
        if one.state == "blind":
            continue
        if one.state not in _GONE:
            break
        run.append(one)
    return run[-1].at if len(run) > 1 else 0


def add_told(seen: Sequence[Sighting], told: Telemetry, *, paid_at: int, now: int) -> list[Sighting]:
    """The sightings with what the provider has signed to somebody else; it was there before it was gone.

    So a job that began and ended between two looks of a witness has begun for it as well.
    """
    at = min(max(told.at, paid_at), gone_since(seen) or now)
    row = sorted(seen, key=_moment)
    place = bisect.bisect_right(row, (at, False), key=_moment)
    one = sighting_of(told, at)
    if place < len(row) and row[place].idle_s is not None:  # which counts for all that was left out before it
        one = msgspec.structs.replace(one, idle_s=0)
    return [*row[:place], one, *row[place:]]


def _moment(one: Sighting) -> tuple[int, bool]:
    return one.at, one.state in _GONE


def _progress(old: Sighting, new: Sighting) -> bool:
    """Whether something happened for the first time, whose date lies between these two looks."""
    return any(not getattr(old, name) and getattr(new, name) for name in _DATES)


def judge(
    terms: ComputeTerms,
    sightings: Sequence[Sighting],
    *,
    paid_at: int,
    report: JobReport | None,
    now: int,
    buyer_worked_s: int = 0,
) -> Judgement | None:
    """What a witness finds; None while it is too early to say.

    Args:
        paid_at: when the witness learnt that the job is paid.
        report: how the job ended, as the provider signed it.
        buyer_worked_s: the seconds of work that the buyer itself signed for.
    """
    seen = [one for one in sightings if one.state != "blind"]
    found = _Dates(seen, paid_at)
    started, output = found.date("started_at"), found.date("first_output_at")
    if report is not None:
        ended = found.date("ended_at") or max(found.last_at, min(report.at, now))
        why = blame(report.state, report.reason)
    else:
        ran_until = (output or started) + terms.max_s if output or started else terms.start_by
        gone_at = found.gone_at
        if gone_at and now >= ran_until:
            ended, why = gone_at, REASONS[VANISHED]
        elif now >= terms.settle_by:
            ended, why = terms.settle_by, REASONS[CUT_OFF]
        else:
            return None
    return _judged(
        terms,
        found,
        started=started,
        output=output,
        ended=ended,
        why=why,
        signed_s=buyer_worked_s,
        ran=report is not None and report.seconds > 0,
    )


class _Dates:
    """Dates that the provider says, held between what the witness saw itself."""

    def __init__(self, seen: Sequence[Sighting], paid_at: int) -> None:
        self.seen = seen
        self.paid_at = paid_at

    @property
    def last_at(self) -> int:
        """The last sighting of a job that had not ended, or the payment."""
        return max((one.at for one in self.seen if not one.ended_at), default=self.paid_at)

    @property
    def gone_at(self) -> int:
        """See `gone_since`."""
        return gone_since(self.seen)

    def date(self, name: str) -> int:
        """When something happened; 0 where nobody was told that it did."""
        before = self.paid_at
        for one in self.seen:
            said: int = getattr(one, name)
            if said:
                return min(max(said, before), max(one.at, before))
            before = max(before, one.at)
        return 0

    @property
    def fetching_s(self) -> int:
        """How long the inputs were fetched; a start that waits for them is not late."""
        began, last = self.date("fetch_at"), max((one.at for one in self.seen), default=self.paid_at)
        return max(0, (self.date("inputs_at") or last) - began) if began else 0

    def idle_s(self, start: int, end: int) -> int:
        """Seconds of a span between two looks that both found the job standing still, or nobody there."""
        total = 0
        for one, after in zip(self.seen, self.seen[1:], strict=False):
            if after.idle_s is not None:
                total += min(after.idle_s, max(0, min(after.at, end) - start)) if one.at < end else 0
            elif one.state in _DOWN and after.state in _DOWN:
                total += max(0, min(after.at, end) - max(one.at, start))
        admitted = max((one.paused_s for one in self.seen), default=0)
        return min(max(total, admitted), max(0, end - start))


def _judged(
    terms: ComputeTerms,
    found: _Dates,
    *,
    started: int,
    output: int,
    ended: int,
    why: Blame,
    signed_s: int,
    ran: bool,
) -> Judgement:
    """The course of a job; one that ended by the provider's fault stands still until its longest time.

    One that ended so before its first useful output never started. `ran`: the report shows that the job ran,
    also if this witness did not see it.
    """
    if not found.seen:
        return Judgement(blame=why, course=Course())  # whoever saw nothing says nothing
    by_provider = why.who == "provider"
    waited_s = max(0, (started or ended) - found.paid_at - found.fetching_s)
    window_s = worked_s = 0
    if output:
        ran_s = max(0, ended - output)
        window_s = max(ran_s, terms.max_s) if by_provider else ran_s
        worked_s = ran_s - found.idle_s(output, ended)
        worked_s = min(window_s, max(worked_s, min(signed_s, ran_s)))
    course = Course(
        waited_s=0 if ran and not started else waited_s,
        started=bool(output) or ran or not by_provider,
        window_s=window_s,
        worked_s=worked_s,
        steps=max((one.steps for one in found.seen), default=0),
    )
    return Judgement(blame=why, course=course)
