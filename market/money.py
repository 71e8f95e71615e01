"""Credits as integers: one credit is 1,000,000 micro-credits, as the ERC-20 has six decimals."""

from __future__ import annotations

import re

from openstall.market.errors import MoneyError

MICRO = 1_000_000
MAX_MICRO = 10**15
"""No single amount above a thousand million credits: larger ones are typing errors or attacks."""

_AMOUNT = re.compile(r"([0-9]{1,10}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:\.([0-9]{1,6}))?")


def parse_amount(text: str) -> int:
    """Micro-credits of a decimal such as `12.5` or `1,234.50`.

    A comma only parts thousands: `1,5` is refused, because half of the world means one and a half.

    Raises:
        MoneyError: not a plain non-negative decimal with at most six places, or above the maximum.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise MoneyError(
            "bad_amount",
            f"“{text[:40]}” is not an amount.",
            "Write it like 12.50 or 1,234.50, with at most six decimals.",
        )
    amount = int(match[1].replace(",", "")) * MICRO + int((match[2] or "").ljust(6, "0"))
    if amount > MAX_MICRO:
        raise MoneyError(
            "bad_amount", "The amount is too large.", f"The largest is {format_amount(MAX_MICRO)}."
        )
    return amount


ALL_BPS = 10_000


def share_of(amount_micro: int, bps: int) -> int:
    """A share in hundredths of a percent, rounded down as the escrow contract does it."""
    return amount_micro * bps // ALL_BPS


def format_amount(amount_micro: int, *, places: int = 2) -> str:
    """`1,234.50` for 1234500000; more decimals where the amount has them, never rounded."""
    sign = "-" if amount_micro < 0 else ""
    whole, rest = divmod(abs(amount_micro), MICRO)
    digits = f"{rest:06d}".rstrip("0").ljust(places, "0")
    return f"{sign}{whole:,}.{digits}" if digits else f"{sign}{whole:,}"
