"""How fast auctions and contests are settled in the library."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable

from table import Row

from openstall.market.mechanisms.contests import by_share
from openstall.market.mechanisms.procurement import second_price
from openstall.market.mechanisms.second_score import FULL, ScoredBid, second_score
from openstall.market.mechanisms.several_winners import MOST_BIDDERS, MOST_ROOM, PartBid, several_winners

BIDS = 10_000
RUNS = 5
NAME = hashlib.sha256(b"benchmark").digest()
LIMIT_S = 1.0


def rows() -> Iterable[Row]:
    """Needs nothing."""
    dice = random.Random(10_000)
    wallets = [f"0x{dice.getrandbits(160):040x}" for _ in range(BIDS)]
    spread = {wallet: dice.randint(1, 10**9) for wallet in wallets}
    tied = dict.fromkeys(wallets, 10**9)
    times = {
        "evenly spread": _slowest(lambda: second_price(NAME, spread, reserve_micro=10**9)),
        "all equal": _slowest(lambda: second_price(NAME, tied, reserve_micro=10**9)),
    }
    note = f"slowest of {RUNS} each: " + ", ".join(f"{name} {at * 1e3:.3g} ms" for name, at in times.items())
    yield _row("auction of 10,000 bids cleared", max(times.values()), note)

    scored = [
        ScoredBid(
            bidder=wallet, price_micro=price, quality_ppm=(dice.randint(0, FULL), dice.randint(0, FULL))
        )
        for wallet, price in spread.items()
    ]
    took = _slowest(lambda: second_score(NAME, scored, worth_micro=[10**9, 10**9], escrow_micro=10**9))
    yield _row("auction of 10,000 bids by price and quality cleared", took, f"slowest of {RUNS}")

    entries = {wallet: dice.randint(0, FULL) for wallet in wallets}
    took = _slowest(lambda: by_share(NAME, entries, pool_micro=10**12, power=2))
    yield _row(
        "contest of 10,000 entries shared out", took, f"slowest of {RUNS}, by the square of the quality"
    )

    parts = [
        PartBid(
            bidder=wallet, price_micro=dice.randint(1, 10**8), worth_micro=10**9, units=dice.randint(1, 3)
        )
        for wallet in wallets[:MOST_BIDDERS]
    ]
    took = _slowest(lambda: several_winners(NAME, parts, room=MOST_ROOM))
    note = f"slowest of {RUNS}; {MOST_BIDDERS} bidders for {MOST_ROOM} units, exact, the most that is taken"
    yield _row("winners among 100 bidders found and paid", took, note)


def _row(name: str, took_s: float, note: str) -> Row:
    return Row(name=name, value=took_s, unit="s", limit="< 1 s", ok=took_s < LIMIT_S, note=note)


def _slowest(action: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return max(times)
