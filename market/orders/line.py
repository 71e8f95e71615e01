"""Who is next in a provider's line of paid jobs: whole numbers, the same for everybody who computes it.

A buyer may offer something on top of the price per second. It counts as if the job had been paid earlier:
as much on top as the price itself is `MOST_HEAD_START_S` seconds, half of it half as much, and more buys no
more. So whoever waits is overtaken only by those who paid within that time after it, however much they offer.
"""

from __future__ import annotations

MOST_HEAD_START_S = 600

Rank = tuple[int, int, str]


def head_start_s(price_per_s_micro: int, priority_per_s_micro: int) -> int:
    """Seconds by which an order counts as paid earlier; `price_per_s_micro` holds what is offered on top."""
    base_micro = price_per_s_micro - priority_per_s_micro
    return min(MOST_HEAD_START_S, priority_per_s_micro * MOST_HEAD_START_S // base_micro)


def rank(order_id: str, *, paid_at: int, head_s: int) -> Rank:
    """The lowest is next. Of equals the one that was paid first goes first, then the smaller id."""
    return paid_at - head_s, paid_at, order_id
