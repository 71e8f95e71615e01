"""Which test kills nodes in which state of an order; the tests take their cases from here.

`tests/unit/market/test_kill_table.py` compares this with the machines and with the tests.
"""

from __future__ import annotations

OPEN = "test_an_open_order_survives_the_kill_of_each_party"
OVER = "test_an_order_that_is_over_stays_as_it_ended"
CUSTOM_OPEN = "test_a_model_made_to_order_survives_the_kill_of_each_party"
CUSTOM_OVER = "test_a_model_made_to_order_stays_as_it_ended"

KILLED_BY: dict[tuple[str, str], str] = {
    ("sale", "proposed"): OPEN,
    ("sale", "agreed"): OPEN,
    ("sale", "funded"): OPEN,
    ("sale", "delivered"): OPEN,
    ("sale", "disputed"): OPEN,
    ("sale", "declined"): OVER,
    ("sale", "lapsed"): OVER,
    ("sale", "completed"): OVER,
    ("sale", "refunded"): OVER,
    ("sale", "ruled"): OVER,
    ("compute", "proposed"): OPEN,
    ("compute", "agreed"): OPEN,
    ("compute", "funded"): OPEN,
    ("compute", "running"): OPEN,
    ("compute", "ended"): OPEN,
    ("compute", "withdrawing"): OPEN,
    ("compute", "declined"): OVER,
    ("compute", "lapsed"): OVER,
    ("compute", "settled"): OVER,
    ("custom", "proposed"): CUSTOM_OPEN,
    ("custom", "agreed"): CUSTOM_OPEN,
    ("custom", "funded"): CUSTOM_OPEN,
    ("custom", "submitted"): CUSTOM_OPEN,
    ("custom", "failed"): CUSTOM_OPEN,
    ("custom", "passed"): CUSTOM_OPEN,
    ("custom", "delivered"): CUSTOM_OPEN,
    ("custom", "disputed"): CUSTOM_OPEN,
    ("custom", "completed"): CUSTOM_OVER,
    ("custom", "refunded"): CUSTOM_OVER,
    ("custom", "ruled"): CUSTOM_OVER,
}


def states_killed_by(test: str) -> list[tuple[str, str]]:
    """The cases of a test: kind and state."""
    return [case for case, name in KILLED_BY.items() if name == test]
