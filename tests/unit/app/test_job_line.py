from __future__ import annotations

from openstall.app.services.orders.job_line import JobLine


def test_whoever_paid_first_is_first() -> None:
    line = JobLine()
    for order_id, paid_at in (("c", 3), ("a", 1), ("b", 1)):
        line.enter(order_id, paid_at)
    assert line.first == "a"
    assert [line.ahead(one) for one in "abc"] == [0, 1, 2]
    line.enter("a", 99)
    assert line.first == "a"


def test_who_leaves_moves_the_others_up() -> None:
    line = JobLine()
    line.enter("a", 1)
    line.enter("b", 2)
    line.leave("a")
    line.leave("nobody")
    assert (line.first, line.ahead("b"), line.ahead("a")) == ("b", 0, 0)
    line.leave("b")
    assert line.first is None
