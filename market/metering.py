"""The meter of a job: cumulative ticks signed by the provider, and what they make the buyer owe."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Amount, Body, Sha256, Time
from openstall.market.orders.documents import Contract
from openstall.market.schema import fit

MAX_TICK_BYTES = 1024
CLOCK_SLACK_S = 5
"""A tick may run this far ahead of the buyer's own clock: network delay and rounding."""
UNPAID_S = 20
"""A job stops when this many seconds of work are neither paid nor promised."""
_NO_MORE = "Nothing more is paid; what was not promised comes back when the order is settled."


class Tick(Body, frozen=True, kw_only=True):
    """Seconds of useful work so far, and what they cost; only ever grows."""

    order: Sha256
    seq: Annotated[int, Meta(ge=1)]
    seconds: Annotated[int, Meta(ge=0)]
    owed_micro: Amount
    at: Time


class _SignedTick(Body, frozen=True, kw_only=True):
    tick: Tick
    sig: Annotated[str, Meta(max_length=86)]


def owed(price_per_s_micro: int, cap_micro: int, seconds: int) -> int:
    """What the buyer owes for `seconds` of work: by the second, never above the cap."""
    return min(price_per_s_micro * seconds, cap_micro)


def start_of_job(*, told: int, promised_micro: int, price_per_s_micro: int, now: int) -> int:
    """From when on a buyer that was away lets the meter run: since the start that the provider has signed.

    It is believed no further back than the buyer's own vouchers account for, with the seconds which any
    provider may work ahead of them: so a buyer that has lost its notes owes nobody more by that.
    """
    promised_s = promised_micro // price_per_s_micro
    return min(max(told, now - promised_s - UNPAID_S), now)


def sign_tick(tick: Tick, contract: Contract, seed: bytes) -> bytes:
    """The wire form of a tick, signed by the provider's peer key."""
    plain = msgspec.to_builtins(tick)
    signature = ids.sign(seed, "tick", contract.order.network, canonical.encode(plain))
    return canonical.encode({"tick": plain, "sig": signature})


def read_tick(raw: bytes, contract: Contract, *, last: Tick | None, elapsed_s: int) -> Tick:
    """Check a tick against the contract, the previous tick and the buyer's own clock.

    `elapsed_s` is how long the job has been running by the buyer's clock. The last tick may come again
    unchanged, as after a broken stream. The provider's own `at` is not trusted for anything.

    Raises:
        InvalidOrder: not the provider's, for another order, going back, ahead of the clock, or not at
            the agreed price.
    """
    try:
        value = canonical.decode(raw, max_bytes=MAX_TICK_BYTES)
        signed = fit(value, _SignedTick, "meter tick")
        content = canonical.encode(value["tick"])
        ids.verify(contract.order.seller, signed.sig, "tick", contract.order.network, content)
    except InvalidRecord as error:
        raise InvalidOrder("bad_tick", "The provider's meter tick is not valid.") from error
    tick, terms = signed.tick, contract.compute
    if tick.order != contract.order_id:
        raise InvalidOrder("other_order", "The meter tick belongs to another order.")
    if last is not None and tick != last and (tick.seq <= last.seq or tick.seconds < last.seconds):
        raise InvalidOrder("meter_back", "The provider's meter ran backwards.", _NO_MORE)
    if tick.seconds > min(elapsed_s + CLOCK_SLACK_S, terms.max_s):
        raise InvalidOrder("meter_ahead", "The provider's meter runs faster than the clock.", _NO_MORE)
    if tick.owed_micro != owed(terms.price_per_s_micro, terms.cap_micro, tick.seconds):
        raise InvalidOrder(
            "meter_price", "The provider's meter asks for another price than was agreed.", _NO_MORE
        )
    return tick
