"""Checks that no test noticed when they were deleted (`dev.py mutants`), each with one that does now."""

from __future__ import annotations

from typing import Any

import msgspec
import statements

from openstall.market.orders import agree
from openstall.market.orders.documents import Contract, Order, write_contract


def order(kind: str, **terms: Any) -> Contract:
    plain = statements.plain_order(kind)
    plain["terms"] |= terms
    return write_contract(msgspec.convert(plain, Order))


def test_an_arbiter_takes_up_no_sale_that_is_to_be_paid_some_day() -> None:
    now, sale = statements.now(), statements.contract("sale").sale
    soon = now + agree.LONGEST_SALE_FUND_S + agree.MAX_CLOCK_SKEW_S
    later = {"deliver_by": soon + 90_000}
    assert agree.may_be_watched(order("sale", fund_by=soon, **later), now)
    assert not agree.may_be_watched(order("sale", fund_by=soon + 1, **later), now)
    end = sale.deliver_by + sale.review_s
    assert agree.may_be_watched(order("sale"), end)
    assert not agree.may_be_watched(order("sale"), end + 1)


def test_an_evaluator_takes_up_no_order_of_the_future_or_the_past_and_nobody_a_job() -> None:
    made = statements.contract("custom")
    created, terms = made.order.created, made.custom
    end = terms.deliver_by + terms.evaluate_s + terms.review_s
    assert agree.may_be_watched(made, created - agree.MAX_CLOCK_SKEW_S)
    assert not agree.may_be_watched(made, created - agree.MAX_CLOCK_SKEW_S - 1)
    assert agree.may_be_watched(made, end)
    assert not agree.may_be_watched(made, end + 1)
    assert not agree.may_be_watched(statements.contract("compute"), created)
