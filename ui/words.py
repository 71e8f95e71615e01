"""Figures, times and texts as the reader sees them. Everything from a peer passes `plain` first."""

from __future__ import annotations

import html
import unicodedata
from datetime import date
from decimal import Decimal

from PySide6.QtCore import QDate, QDateTime, QLocale

from openstall.market.money import format_amount

LONGEST_TEXT = 20_000
MINUS = "\N{MINUS SIGN}"
_KEPT_CONTROLS = "\n\t"


def plain(text: object, cap: int = LONGEST_TEXT) -> str:
    """Text of a stranger made harmless: no control or bidirectional-override characters, and a cap."""
    kept = [
        letter
        for letter in str(text)[: cap + 1]
        if letter in _KEPT_CONTROLS or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    ]
    return "".join(kept[:cap]) + ("…" if len(kept) > cap else "")


def one_line(text: object, cap: int = 200) -> str:
    """The same on a single line."""
    return " ".join(plain(text, cap).split())


def tooltip(text: str) -> str:
    """Text for a tool tip, which Qt would otherwise read as rich text if it looks so."""
    return f"<p>{html.escape(plain(text, 2000)).replace(chr(10), '<br>')}</p>" if text else ""


def amount(micro: int, *, sign: bool = False, symbol: str = "") -> str:
    """`1,234.50`, never rounded; with `sign` a plus is written too (and a real minus)."""
    text = format_amount(micro).replace("-", MINUS)
    if sign and micro > 0:
        text = "+" + text
    return f"{text} {symbol}".rstrip()


def raw_amount(micro: int) -> str:
    """The amount in the chain's smallest unit, for the tool tip."""
    return f"{micro:,} micro-credits on the chain"


def short_id(text: str, head: int = 6, tail: int = 5) -> str:
    """The two ends of a long id."""
    clean = one_line(text, 200)
    return clean if len(clean) <= head + tail + 2 else f"{clean[:head]}…{clean[-tail:]}"


def size(count: int) -> str:
    """Bytes in decimal units: `1.2 MB`."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{int(value)} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def memory(count: int) -> str:
    """In binary units, as memory is sold and limits are set: `15.6 GiB`."""
    gib, mib = count / 2**30, count / 2**20
    if gib >= 1:
        return f"{gib:.1f} GiB"
    if mib >= 1:
        return f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"
    return f"{count / 2**10:.1f} KiB" if count >= 2**10 else plural(count, "byte")


def plural(count: int, one: str, many: str = "") -> str:
    """`1 peer`, `2 peers`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def span(seconds: int) -> str:
    """A duration in its two largest units: `2 h 5 min`."""
    left = max(0, seconds)
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def ago(at: int, now: int) -> str:
    """`3 min ago`, `in 2 d 4 h`, `now`."""
    if not at:
        return "—"
    if abs(now - at) < 5:
        return "now"
    whole = now - at if now > at else at - now
    if whole >= 3600:
        whole -= whole % 60
    return f"{span(whole)} ago" if now > at else f"in {span(whole)}"


def moment(at: int) -> str:
    """An absolute local time in the reader's format."""
    if not at:
        return ""
    return QLocale.system().toString(QDateTime.fromSecsSinceEpoch(at), "d MMMM yyyy HH:mm:ss")


def day(at: int) -> str:
    """The same in short, for columns; the year only where it is not this one."""
    if not at:
        return ""
    then = QDateTime.fromSecsSinceEpoch(at)
    this_year = then.date().year() == QDate.currentDate().year()
    return QLocale.system().toString(then, "d MMM HH:mm" if this_year else "d MMM yyyy HH:mm")


def date_words(day: date) -> str:
    """A day for a label: `27 Nov`."""
    return QLocale.system().toString(QDate(day.year, day.month, day.day), "d MMM")


def duration(seconds: int) -> str:
    """A duration for a sentence: `3 days`, `1 hour 30 minutes`."""
    left = max(0, seconds)
    parts = []
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(plural(count, unit))
    return " ".join(parts[:2]) or "0 seconds"


def percent(done: int, total: int) -> int:
    """0 to 100; 0 if the total is unknown."""
    return max(0, min(100, done * 100 // total)) if total > 0 else 0


def figure(text: str) -> str:
    """A claimed figure for a narrow column: at most four decimals, no zeros behind the last that counts."""
    whole, point, decimals = text.partition(".")
    if not point:
        return text
    rounded = f"{Decimal(text):.4f}" if len(decimals) > 4 else text
    return rounded.rstrip("0").rstrip(".") or whole
