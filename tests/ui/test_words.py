from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openstall.market.job_kinds import GPU_KINDS
from openstall.market.orders import documents
from openstall.ui import words
from openstall.ui.views import rent, service_levels


def test_amounts_are_exact_and_signed() -> None:
    assert words.amount(1_234_500_000) == "1,234.50"
    assert words.amount(1) == "0.000001"
    assert words.amount(-2_500_000, sign=True) == f"{words.MINUS}2.50"
    assert words.amount(2_500_000, sign=True, symbol="credits") == "+2.50 credits"


def test_a_strangers_text_loses_what_could_deceive() -> None:
    text = "safe\u202eevil\u2066\u200b\x07\x1b[31m\nsecond"
    assert words.plain(text) == "safeevil[31m\nsecond"
    assert words.one_line(text) == "safeevil[31m second"


@given(st.text(max_size=300), st.integers(min_value=1, max_value=100))
def test_plain_text_is_capped_and_stays_plain(text: str, cap: int) -> None:
    shown = words.plain(text, cap)
    assert len(shown) <= cap + 1
    assert words.plain(shown) == shown


def test_tooltips_escape_markup() -> None:
    assert words.tooltip("<img src=x>\nb") == "<p>&lt;img src=x&gt;<br>b</p>"
    assert words.tooltip("") == ""


def test_spans_and_relative_times() -> None:
    assert words.span(7_500) == "2 h 5 min"
    assert words.span(0) == "0 s"
    assert words.duration(86_400) == "1 day"
    assert words.duration(5_400) == "1 hour 30 minutes"
    assert words.ago(100, 102) == "now"
    assert words.ago(100, 190) == "1 min 30 s ago"
    assert words.ago(4_000, 100) == "in 1 h 5 min"
    assert words.ago(0, 100) == "—"


def test_ids_and_sizes_are_short() -> None:
    assert words.short_id("12D3KooWabcdefghijk") == "12D3Ko…ghijk"
    assert words.short_id("short") == "short"
    assert words.size(999) == "999 bytes"
    assert words.size(1_234_567) == "1.2 MB"
    sizes = [1, 876, 2_800, 3 * 2**19, 2**25, 2**31]
    assert [words.memory(one) for one in sizes] == [
        "1 byte", "876 bytes", "2.7 KiB", "1.5 MiB", "32 MiB", "2.0 GiB",
    ]  # fmt: skip


def test_percent_stays_between_its_bounds() -> None:
    assert words.percent(5, 0) == 0
    assert words.percent(30, 20) == 100
    assert words.percent(-1, 20) == 0


def test_what_the_desktop_says_of_orders_is_what_orders_say() -> None:
    """It loads none of the market's rooms; see test_imports."""
    assert service_levels.MOST_TIMES_CAP == documents.MOST_TIMES_CAP
    assert set(rent._GPU_KINDS) == GPU_KINDS
