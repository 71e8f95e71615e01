from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.errors import MoneyError
from openstall.market.money import MAX_MICRO, format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", 1_000_000),
        ("12.5", 12_500_000),
        (" 12.50 ", 12_500_000),
        ("0.000001", 1),
        ("1,234.50", 1_234_500_000),
        ("1,234,567", 1_234_567_000_000),
        ("1000000000", MAX_MICRO),
        ("1,000,000,000.000000", MAX_MICRO),
    ],
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", ".5", "5.", "-1", "+1", "1e3", "NaN", "0x10", "1.0000001", "1 000", "1_000",
        "1,5", "12,50", "1,2345", ",123", "1,,234", "1.234,50", "1000000000.000001", "9" * 400,
        "\uff11\uff12", "١٢", "1\n2", "1.5 credits",
    ],
)  # fmt: skip
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(MoneyError) as caught:
        parse_amount(text)
    assert caught.value.code == "bad_amount"
    assert caught.value.what_next


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [
        (0, 2, "0.00"),
        (1, 2, "0.000001"),
        (1_234_500_000, 2, "1,234.50"),
        (-1_500_000, 2, "-1.50"),
        (-1, 2, "-0.000001"),
        (2_000_000, 0, "2"),
        (2_500_000, 0, "2.5"),
        (MAX_MICRO, 2, "1,000,000,000.00"),
    ],
)
def test_amounts_as_they_are_shown(amount: int, places: int, text: str) -> None:
    assert format_amount(amount, places=places) == text


@given(st.integers(0, MAX_MICRO), st.integers(0, 6))
def test_what_is_shown_can_be_typed_again(amount: int, places: int) -> None:
    assert parse_amount(format_amount(amount, places=places)) == amount


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        amount = parse_amount(text)
    except MoneyError:
        return
    assert 0 <= amount <= MAX_MICRO
