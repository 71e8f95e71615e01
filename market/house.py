"""The house rules: when, how hot and how loud a provider's machine may work for others. They always win.

`decide` is a table: each rule that the owner has switched on looks at one fact and at the owner's local
time. A rule whose fact cannot be read on this machine holds jobs back and says so: a limit that nobody
can watch is not kept by hoping. The one exception is the battery: a machine without one is on the mains.

Local times are naive, as on the owner's clock: an hour that daylight saving time skips or repeats is
skipped or repeated here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from openstall.market import text
from openstall.market.errors import InvalidRecord, Refused
from openstall.market.money import MAX_MICRO

DAY_MIN = 1440
HORIZON_DAYS = 15
"""So far ahead the hours are looked at; open throughout means open without end."""
COOLER_C = 5
QUIETER_PERCENT = 10
"""A job that is held by a limit goes on only when this much below it, so that it does not stutter."""

Short = Annotated[str, Meta(max_length=120)]
Size = Annotated[int, Meta(ge=0, le=2**50)]
Minute = Annotated[int, Meta(ge=0, le=DAY_MIN)]
Percent = Annotated[int, Meta(ge=1, le=100)]
AppName = Annotated[str, Meta(pattern=r"^[^/\\\x00-\x1f]{1,64}\Z")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}\Z")]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rules are made of: as strict as records, without their keys and signatures."""


class Span(Body, frozen=True, kw_only=True):
    """Minutes of a day; an end that is not after the start lies on the next day."""

    start_min: Minute
    end_min: Minute


class DayException(Body, frozen=True, kw_only=True):
    """One date with other hours than its weekday; without any it is closed."""

    day: Day
    spans: Annotated[tuple[Span, ...], Meta(max_length=8)]


class Maintenance(Body, frozen=True, kw_only=True):
    """The machine is needed, or switched off: no job runs, and those who would be hit are told before."""

    starts: Moment
    ends: Moment
    words: Short = ""


class HouseRules(Body, frozen=True, kw_only=True):
    """What the owner allows. None or empty: no such rule. Unit in the name; hours are Monday to Sunday."""

    idle_s: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    hours: (
        Annotated[
            tuple[Annotated[tuple[Span, ...], Meta(max_length=8)], ...], Meta(min_length=7, max_length=7)
        ]
        | None
    ) = None
    exceptions: Annotated[tuple[DayException, ...], Meta(max_length=366)] = ()
    maintenance: Annotated[tuple[Maintenance, ...], Meta(max_length=64)] = ()
    exclusive_apps: Annotated[tuple[AppName, ...], Meta(max_length=64)] = ()
    mains_only: bool = False
    unmetered_only: bool = False
    others_percent_max: Percent | None = None
    temperature_c_max: Annotated[int, Meta(ge=30, le=110)] | None = None
    fan_rpm_max: Annotated[int, Meta(ge=100, le=20_000)] | None = None
    noise_percent_max: Percent | None = None
    """Noise by the fastest fan, in per cent of its full speed."""
    power_w_max: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    memory_free_bytes_min: Size = 0
    disk_free_bytes_min: Size = 0
    threads_cap: Annotated[int, Meta(ge=1, le=4096)] | None = None
    memory_bytes_cap: Size | None = None
    disk_bytes_cap: Size | None = None
    network_bytes_day_cap: Size | None = None
    devices_off: Annotated[tuple[Short, ...], Meta(max_length=64)] = ()
    wait_s: Annotated[int, Meta(ge=0, le=86_400)] = 600
    """So long a job that was stopped waits for the machine; then it is ended."""
    tariff_micro_per_kwh: Annotated[int, Meta(ge=0, le=MAX_MICRO)] = 0
    stated_w: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """What the machine draws more while it works, by the owner's word, where nothing can measure it."""


class Device(Body, frozen=True, kw_only=True):
    """A graphics processor now; None what its driver does not tell. `foreign` counts programs not of ours."""

    id: Short
    name: Short
    memory_bytes: Size = 0
    temperature_c: int | None = None
    fan_percent: int | None = None
    power_mw: int | None = None
    busy_percent: int | None = None
    foreign: int | None = None


class Facts(Body, frozen=True, kw_only=True):
    """What the machine's sensors say now; None what it cannot tell."""

    input_idle_ms: int | None = None
    input_by: Short = ""
    on_battery: bool | None = None
    metered: bool | None = None
    others_percent: int | None = None
    temperature_c: int | None = None
    fan_rpm: int | None = None
    fan_percent: int | None = None
    power_mw: int | None = None
    apps: tuple[Short, ...] = ()
    """Of the programs that were asked for, those that run."""
    memory_free_bytes: Size = 0
    disk_free_bytes: Size = 0
    devices: tuple[Device, ...] = ()


class Reason(Body, frozen=True, kw_only=True):
    """Why not: a stable name of the rule, the owner's words, and what makes it end."""

    rule: str
    words: str
    ends: str = ""


class Decision(Body, frozen=True, kw_only=True):
    """Whether a job may start, and whether one may go on. Times are local; None: not known, or no end."""

    may_take: bool
    may_go_on: bool
    reasons: tuple[Reason, ...] = ()
    opens_at: datetime | None = None
    closes_at: datetime | None = None


def read_rules(value: Any) -> HouseRules:
    """The rules from a JSON value, whole and sensible.

    Raises:
        Refused: `bad_house_rules`, with what does not fit.
    """
    try:
        rules = msgspec.convert(value, HouseRules)
        for spans in [*(rules.hours or []), *(one.spans for one in rules.exceptions)]:
            _check(all(span.start_min != span.end_min for span in spans), "hours that begin when they end")
            _check(all(span.start_min < DAY_MIN for span in spans), "hours that begin after the day")
        for one in rules.exceptions:
            date.fromisoformat(one.day)
        for window in rules.maintenance:
            _check(_moment(window.starts) < _moment(window.ends), "maintenance that ends before it starts")
        text.refuse_hidden(rules)
    except (msgspec.ValidationError, ValueError, InvalidRecord) as error:
        raise Refused(
            "bad_house_rules",
            f"The house rules make no sense: {text.clean(str(error))[:200]}.",
            "Correct it.",
        ) from error
    return rules


def decide(rules: HouseRules, facts: Facts, now_local: datetime, *, held: bool = False) -> Decision:
    """What the rules say now.

    Args:
        now_local: the owner's clock, without a zone.
        held: a job stands still already: limits must be passed by a margin before it goes on.
    """
    opens_at, closes_at = _open(rules, now_local)
    stops = [*_by_clock(rules, now_local, opens_at), *_by_use(rules, facts), *_by_limits(rules, facts, held)]
    room = list(_by_room(rules, facts))
    return Decision(
        may_take=not stops and not room,
        may_go_on=not stops,
        reasons=(*stops, *room),
        opens_at=opens_at,
        closes_at=closes_at,
    )


def suggested(facts: Facts) -> HouseRules:
    """Rules for an owner who has set none, as far as this machine can watch them: nobody is to regret it."""
    return HouseRules(
        idle_s=None if facts.input_idle_ms is None else 300,
        mains_only=facts.on_battery is not None,
        unmetered_only=facts.metered is not None,
    )


def app_name(program: str) -> str:
    """A program's name as rules compare it: `Steam.EXE` and `steam` are one."""
    return program.strip().lower().removesuffix(".exe")


def _check(fits: bool, words: str) -> None:  # noqa: FBT001 - a condition and its words
    if not fits:
        raise ValueError(words)


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _by_clock(rules: HouseRules, now: datetime, opens_at: datetime | None) -> Iterator[Reason]:
    for window in rules.maintenance:
        if _moment(window.starts) <= now < _moment(window.ends):
            why = f": {window.words}" if window.words else ""
            yield Reason(rule="maintenance", words=f"maintenance{why}", ends=f"at {_clock(window.ends, now)}")
            return
    if opens_at is not None:
        yield Reason(rule="hours", words="outside your hours", ends=f"at {_clock(opens_at.isoformat(), now)}")
    elif not _is_open(rules, now):
        yield Reason(rule="hours", words="your hours are closed for the next two weeks")


def _by_use(rules: HouseRules, facts: Facts) -> Iterator[Reason]:
    if rules.idle_s is not None:
        after = f"{_span_words(rules.idle_s)} after your last key press or mouse movement"
        if facts.input_idle_ms is None:
            yield _blind("idle", "whether you are using the computer")
        elif facts.input_idle_ms < rules.idle_s * 1000:
            yield Reason(rule="idle", words="you are using the computer", ends=after)
    if facts.apps:
        names = ", ".join(facts.apps)
        yield Reason(rule="apps", words=f"{names} is running", ends=f"when {names} has ended")
    if rules.mains_only and facts.on_battery:
        yield Reason(rule="battery", words="the computer runs on its battery", ends="on mains power")
    if rules.unmetered_only and facts.metered is not False:
        if facts.metered is None:
            yield _blind("network", "whether the network is metered")
        else:
            yield Reason(rule="network", words="the network is metered", ends="on an unmetered network")


def _by_limits(rules: HouseRules, facts: Facts, held: bool) -> Iterator[Reason]:  # noqa: FBT001 - see decide
    devices = [device for device in facts.devices if device.id not in rules.devices_off]
    temperatures = [facts.temperature_c, *(device.temperature_c for device in devices)]
    fans = [facts.fan_percent, *(device.fan_percent for device in devices)]
    table = (
        ("load", "your other programs", "%", rules.others_percent_max, facts.others_percent, QUIETER_PERCENT),
        ("temperature", "the temperature", "°C", rules.temperature_c_max, _most(temperatures), COOLER_C),
        ("fan", "the fan's speed", "rpm", rules.fan_rpm_max, facts.fan_rpm, None),
        ("noise", "the fan's noise", "%", rules.noise_percent_max, _most(fans), QUIETER_PERCENT),
        ("power", "the power drawn", "W", rules.power_w_max, _watts(facts), None),
    )
    for rule, what, unit, most, value, margin in table:
        if most is None:
            continue
        below = max(0, most - (most // 10 if margin is None else margin))
        if value is None:
            yield _blind(rule, what)
        elif value > (below if held else most):
            verb = "use" if rule == "load" else "is"
            yield Reason(
                rule=rule,
                words=f"{what} {verb} {value} {unit}, above your limit of {most} {unit}",
                ends=f"at {below} {unit}",
            )


def _by_room(rules: HouseRules, facts: Facts) -> Iterator[Reason]:
    for rule, what, least, value in (
        ("memory", "memory", rules.memory_free_bytes_min, facts.memory_free_bytes),
        ("disk", "disk space", rules.disk_free_bytes_min, facts.disk_free_bytes),
    ):
        if value < least:
            yield Reason(
                rule=rule, words=f"only {value >> 20} MiB of {what} are free, you keep {least >> 20}"
            )


def is_too_hot(decision: Decision) -> bool:
    """Whether the machine is seen to be hotter than its owner allows."""
    return any(reason.rule == "temperature" and reason.ends != _NEVER_SEEN for reason in decision.reasons)


_NEVER_SEEN = "when you switch that rule off"


def _blind(rule: str, what: str) -> Reason:
    return Reason(
        rule=rule,
        words=f"this computer cannot tell {what}, and your rule needs it",
        ends=_NEVER_SEEN,
    )


def _most(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _watts(facts: Facts) -> int | None:
    return None if facts.power_mw is None else -(-facts.power_mw // 1000)


def _spans_of(rules: HouseRules, day: date) -> tuple[Span, ...]:
    for one in rules.exceptions:
        if date.fromisoformat(one.day) == day:
            return one.spans
    return (Span(start_min=0, end_min=DAY_MIN),) if rules.hours is None else rules.hours[day.weekday()]


def _intervals(rules: HouseRules, now: datetime) -> list[tuple[datetime, datetime]]:
    """The open times around and after `now`, in order and without overlap, maintenance cut out."""
    found: list[tuple[datetime, datetime]] = []
    first = now.date() - timedelta(days=1)
    for offset in range(HORIZON_DAYS + 1):
        day = first + timedelta(days=offset)
        midnight = datetime.combine(day, time.min)
        for span in _spans_of(rules, day):
            end_min = span.end_min + (DAY_MIN if span.end_min < span.start_min else 0)
            found.append(
                (midnight + timedelta(minutes=span.start_min), midnight + timedelta(minutes=end_min))
            )
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    for window in rules.maintenance:
        merged = [piece for one in merged for piece in _without(one, window)]
    return merged


def _without(one: tuple[datetime, datetime], window: Maintenance) -> Iterator[tuple[datetime, datetime]]:
    start, end = one
    cut, back = _moment(window.starts), _moment(window.ends)
    if start < min(end, cut):
        yield start, min(end, cut)
    if max(start, back) < end:
        yield max(start, back), end


def _is_open(rules: HouseRules, now: datetime) -> bool:
    return any(start <= now < end for start, end in _intervals(rules, now))


def _open(rules: HouseRules, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When it opens, where it is closed; when it closes, where it is open."""
    last = datetime.combine(now, time.min) + timedelta(days=HORIZON_DAYS - 1)
    for start, end in _intervals(rules, now):
        if start <= now < end:
            return None, None if end >= last else end
        if start > now:
            return start, None
    return None, None


def _clock(moment: str, now: datetime) -> str:
    at = _moment(moment)
    return at.strftime("%H:%M" if at.date() == now.date() else "%H:%M on %d %B")


def _span_words(seconds: int) -> str:
    if seconds % 60:
        return f"{seconds} seconds"
    return "1 minute" if seconds == 60 else f"{seconds // 60} minutes"
