"""Hours, dates and maintenance as people write them, as `mon-fri 18:00-08:00; sat,sun 00:00-24:00`."""

from __future__ import annotations

import re

from openstall.market.errors import Refused
from openstall.market.house import DAY_MIN, DayException, Maintenance, Span

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Week = tuple[tuple[Span, ...], ...]

_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-4]):([0-5][0-9])")
_MAX_CHARS = 1000
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\s+(closed|[0-9].*)")
_AT = r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2})"
_WINDOW = re.compile(rf"{_AT} to {_AT}(?: (.*))?")


def parse_hours(text: str) -> Week | None:
    """The week of a text; None for `always`. Days that are not named are closed.

    Raises:
        Refused: `bad_hours`, with the part that cannot be read.
    """
    text = text.strip().lower()
    if text in ("", "always"):
        return None
    if len(text) > _MAX_CHARS:
        raise _unreadable(text)
    week: list[list[Span]] = [[] for _ in DAYS]
    for part in text.split(";"):
        names, _, times = part.strip().partition(" ")
        if not times.strip():
            raise _unreadable(part)
        spans = parse_times(times)
        for day in _days(names, part):
            week[day] += spans
    return tuple(tuple(spans) for spans in week)


def parse_times(text: str) -> list[Span]:
    """`08:00-12:00, 13:00-18:00`; an end that is not after the start lies on the next day.

    Raises:
        Refused: `bad_hours`.
    """
    spans = []
    for piece in text.split(","):
        found = _TIME.fullmatch(piece.strip())
        if found is None:
            raise _unreadable(piece)
        first, last = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        if first >= DAY_MIN or last > DAY_MIN or first == last:
            raise _unreadable(piece)
        spans.append(Span(start_min=first, end_min=last))
    return spans


def format_times(spans: tuple[Span, ...]) -> str:
    """As `parse_times` reads it; empty for a closed day."""
    return ", ".join(f"{_clock(span.start_min)}-{_clock(span.end_min)}" for span in spans)


def format_hours(week: Week | None) -> str:
    """As `parse_hours` reads it; `never` is what no text can say and means a week without hours."""
    if week is None:
        return "always"
    groups: dict[str, list[str]] = {}
    for day, spans in zip(DAYS, week, strict=True):
        if spans:
            groups.setdefault(format_times(spans), []).append(day)
    return "; ".join(f"{','.join(days)} {times}" for times, days in groups.items()) or "never"


def parse_dates(text: str) -> list[DayException]:
    """A date a line: `2026-12-25 closed`, `2026-12-26 10:00-12:00`.

    Raises:
        Refused: `bad_hours`.
    """
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _DATE.fullmatch(line)
        if match is None:
            raise _unreadable(line)
        spans = () if match[2] == "closed" else tuple(parse_times(match[2]))
        found.append(DayException(day=match[1], spans=spans))
    return found


def format_dates(dates: tuple[DayException, ...]) -> str:
    """As `parse_dates` reads them."""
    return "\n".join(f"{one.day} {format_times(one.spans) or 'closed'}" for one in dates)


def parse_maintenance(text: str) -> list[Maintenance]:
    """A window a line: `2026-12-24 18:00 to 2026-12-25 02:00 new fan`; the last words may be left out.

    Raises:
        Refused: `bad_hours`.
    """
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _WINDOW.fullmatch(line)
        if match is None:
            raise _unreadable(line)
        starts, ends = f"{match[1]}T{match[2]}", f"{match[3]}T{match[4]}"
        found.append(Maintenance(starts=starts, ends=ends, words=(match[5] or "").strip()))
    return found


def format_maintenance(windows: tuple[Maintenance, ...]) -> str:
    """As `parse_maintenance` reads them."""
    return "\n".join(
        f"{one.starts.replace('T', ' ')} to {one.ends.replace('T', ' ')} {one.words}".strip()
        for one in windows
    )


def _days(names: str, part: str) -> list[int]:
    found: list[int] = []
    for name in names.split(","):
        first, _, last = name.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise _unreadable(part)
        start, end = DAYS.index(first), DAYS.index(last or first)
        found += [(start + step) % 7 for step in range((end - start) % 7 + 1)]
    return found


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _unreadable(part: str) -> Refused:
    return Refused(
        "bad_hours",
        f"“{part.strip()[:60]}” is not a time of the week.",
        "Write them like: mon-fri 18:00-08:00; sat,sun 00:00-24:00",
    )
