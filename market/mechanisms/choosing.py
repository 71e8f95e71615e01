"""Which mechanism fits what a buyer wants, why, and the working: `recommend`.

The rule: where a threshold says what is good enough and the least money counts, sealed bids. Where the single
best model counts, or many good ones, a contest, with the prizes that draw the most from its entrants by the
forecasts of `expectations`, if twice the work costs four times as much. One developer alone is in no
contest. docs/mechanisms.md has the sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from openstall.market.errors import Refused
from openstall.market.mechanisms import expectations
from openstall.market.mechanisms.contests import WINNER_TAKES_ALL, by_rank, by_share, split
from openstall.market.mechanisms.procurement import second_price
from openstall.market.mechanisms.second_score import ScoredBid, second_score
from openstall.market.mechanisms.several_winners import PartBid, several_winners
from openstall.market.money import ALL_BPS, MICRO, format_amount

Goal = Literal["cheapest", "best", "many"]
Mechanism = Literal["second_price", "second_score", "several_winners", "contest_by_rank", "contest_by_share"]

RUNS_ON_CHAIN: Final[frozenset[Mechanism]] = frozenset(
    {"second_price", "contest_by_rank", "contest_by_share"}
)
"""Those that a request can be made with in this version."""
ASSUMED_BIDDERS: Final = 5
MOST_BIDDERS: Final = 100
POWERS: Final = (1, 2, 3)
DECIDING_POWER: Final = 2
EXAMPLE_MICRO: Final = 100 * MICRO
_CENT: Final = MICRO // 100
_EXAMPLE_ID: Final = hashlib.sha256(b"an example").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One step of the working; `value_bps` in hundredths of a per cent of budget or pool, or of certainty."""

    formula: str
    value_bps: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrizeForecast:
    """What prizes draw: the best entrant's work and everybody's, where work x costs x**power.

    In ten-thousandths of the work that the whole pool pays for.
    """

    name: str
    weights_bps: tuple[int, ...]
    power: int
    best_bps: int
    all_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A mechanism, when it fits, an example that was reckoned with it, and whether this version runs it."""

    mechanism: Mechanism
    title: str
    when: str
    example: str
    runs_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What fits; `weights_bps` are the prizes of a contest, `prizes` the forecasts it was chosen by."""

    goal: Goal
    bidders: int
    best: Option
    weights_bps: tuple[int, ...]
    why: str
    assumption: str
    working: tuple[Figure, ...]
    prizes: tuple[PrizeForecast, ...]
    others: tuple[Option, ...]
    here_words: str


def recommend(goal: Goal, bidders: int = ASSUMED_BIDDERS) -> Recommendation:
    """The mechanism for a goal, if so many developers take part.

    Raises:
        Refused: `bad_goal` or `bad_bidders`.
    """
    if goal not in ("cheapest", "best", "many"):
        raise Refused("bad_goal", "There is no such goal.", "Say cheapest, best or many.")
    if type(bidders) is not int or not 1 <= bidders <= MOST_BIDDERS:
        raise Refused(
            "bad_bidders",
            "The number of developers makes no sense.",
            f"Say how many may take part, 1 to {MOST_BIDDERS}.",
        )
    if goal == "cheapest" or bidders == 1:
        why = _WHY[goal] if goal == "cheapest" else _WHY["alone"]
        return _result(goal, bidders, "second_price", why, working=_auction_working(bidders))
    prizes = tuple(forecast for power in POWERS for forecast in _forecasts(bidders, power))
    deciding = [one for one in prizes if one.power == DECIDING_POWER]
    chosen = max(deciding, key=lambda one: one.best_bps if goal == "best" else one.all_bps)
    return _result(
        goal,
        bidders,
        "contest_by_rank",
        f"{_WHY[goal]} {_choice_words(goal, chosen)}",
        working=_contest_working(bidders),
        prizes=prizes,
        weights=chosen.weights_bps,
    )


def _result(
    goal: Goal,
    bidders: int,
    mechanism: Mechanism,
    why: str,
    *,
    working: tuple[Figure, ...],
    prizes: tuple[PrizeForecast, ...] = (),
    weights: tuple[int, ...] = (),
) -> Recommendation:
    examples = _examples(bidders, weights or WINNER_TAKES_ALL)
    options = {
        name: Option(
            mechanism=name,
            title=_TITLES[name],
            when=_WHEN[name],
            example=examples[name](),
            runs_here=name in RUNS_ON_CHAIN,
        )
        for name in _TITLES
    }
    best = options.pop(mechanism)
    return Recommendation(
        goal=goal,
        bidders=bidders,
        best=best,
        weights_bps=weights,
        why=why,
        assumption=(_ENTRANTS if prizes else _BIDDERS).format(n=bidders),
        working=working,
        prizes=prizes,
        others=tuple(options.values()),
        here_words=_RUNS + _how(weights),
    )


def _auction_working(bidders: int) -> tuple[Figure, ...]:
    half = expectations.best_reserve()
    return (
        _figure("2/(n+1)", expectations.price(bidders), "of your budget is what you pay, on average"),
        _figure(
            "1/(n+1)", expectations.rent(bidders), "of your budget is what the winner has above its cost"
        ),
        _figure("2/(n+2)", expectations.price(bidders + 1), "is what you pay if one more bids"),
        _figure(
            "gain(n, r = 1)",
            expectations.buyer_gain(bidders, Fraction(1)),
            "of what the model is worth to you is your gain, if your budget is all that it is worth",
        ),
        _figure(
            "gain(n, r = 1/2)",
            expectations.buyer_gain(bidders, half),
            "is your gain if your budget is half of that, the best budget there is",
        ),
        _figure(
            "(1 - r)^n",
            expectations.nobody(bidders, half),
            "is the chance that nobody builds it for that half",
        ),
    )


def _contest_working(entrants: int) -> tuple[Figure, ...]:
    everybody, best = expectations.all_pay_hidden(entrants)
    figures = [
        _figure("(n-1)/(n+1)", everybody, "of the pool is what all spend together on one prize"),
        _figure("(n-1)/2n", best, "of it is what the best one spends"),
        _figure(
            "n/(2n-1)", expectations.all_pay(entrants)[1], "would be that, if all had one talent and knew it"
        ),
        _figure(
            "(n-1)/n^2",
            expectations.tullock_effort(entrants),
            "is what each spends, if so and paid by share of the work",
        ),
    ]
    if entrants == 2:
        strong, weak = expectations.tullock_pair(Fraction(1), Fraction(1, 2))
        other = f"{_bps(weak) / 100:.2f} %"
        words = f"is what one of them spends then, the other {other}, if the pool is worth half as much to it"
        figures.append(_figure("V1^2 V2/(V1+V2)^2", strong, words))
    return tuple(figures)


def _figure(formula: str, value: Fraction, words: str) -> Figure:
    return Figure(formula=formula, value_bps=_bps(value), words=words)


def _bps(value: Fraction) -> int:
    return round(value * ALL_BPS)


def _forecasts(entrants: int, power: int) -> list[PrizeForecast]:
    """Each way to cut the pool, simplest first, so that the simplest is taken of equally good ones."""
    shapes = {
        "one prize": [1],
        "two prizes, 2 : 1": [2, 1],
        "three prizes, 3 : 2 : 1": [3, 2, 1],
        "equal prizes for the best quarter": [1] * max(1, entrants // 4),
    }
    found: list[PrizeForecast] = []
    for name, parts in shapes.items():
        if len(parts) > entrants or (len(parts) == 1 and found):
            continue
        everybody, best = expectations.work(entrants, [Fraction(part, sum(parts)) for part in parts], power)
        found.append(
            PrizeForecast(
                name=name,
                weights_bps=tuple(split(ALL_BPS, parts)),
                power=power,
                best_bps=_bps(best),
                all_bps=_bps(everybody),
            )
        )
    return found


def _choice_words(goal: Goal, chosen: PrizeForecast) -> str:
    drawn = "the best entrant to the most work" if goal == "best" else "the most work from all together"
    return (
        f"Of these ways to cut the pool, “{chosen.name}” draws {drawn}, where twice the work costs four "
        "times as much."
    )


def _examples(bidders: int, weights_bps: tuple[int, ...]) -> dict[Mechanism, Callable[[], str]]:
    return {
        "second_price": lambda: _auction_example(bidders),
        "second_score": _score_example,
        "several_winners": _several_example,
        "contest_by_rank": lambda: _rank_example(bidders, weights_bps),
        "contest_by_share": _share_example,
    }


def _auction_example(bidders: int) -> str:
    cents = EXAMPLE_MICRO // _CENT
    bids = {f"bidder {at}": _CENT * (cents * at // (bidders + 1)) for at in range(1, bidders + 1)}
    award = second_price(_EXAMPLE_ID, bids, reserve_micro=EXAMPLE_MICRO)
    lowest = "the only bid" if bidders == 1 else f"the lowest of {bidders} bids, evenly spread,"
    return (
        f"Budget {_credits(EXAMPLE_MICRO)}: {lowest} asks {_credits(award.asked_micro)}, wins, "
        f"and is paid {_credits(award.paid_micro)}."
    )


def _score_example() -> str:
    worth = 2 * EXAMPLE_MICRO
    good = ScoredBid(bidder="A", price_micro=40 * MICRO, quality_ppm=(900_000,))
    cheap = ScoredBid(bidder="B", price_micro=30 * MICRO, quality_ppm=(750_000,))
    award = second_score(_EXAMPLE_ID, [good, cheap], worth_micro=[worth], escrow_micro=EXAMPLE_MICRO)
    return (
        f"Full marks are worth {_credits(worth)}: A asks {_credits(good.price_micro)} and reaches 90 %, "
        f"B asks {_credits(cheap.price_micro)} and reaches 75 %. {award.winner} wins and is paid "
        f"{_credits(award.paid_micro)}."
    )


def _several_example() -> str:
    asked = {"A": 10 * MICRO, "B": 20 * MICRO, "C": 30 * MICRO}
    worth = EXAMPLE_MICRO // 2
    bids = [PartBid(bidder=name, price_micro=price, worth_micro=worth) for name, price in asked.items()]
    found = several_winners(_EXAMPLE_ID, bids, room=2)
    asks = ", ".join(f"{name} asks {_credits(price)}" for name, price in asked.items())
    paid = ", ".join(
        f"{name} is paid {_credits(amount)}" for name, amount in sorted(found.paid_micro.items())
    )
    return f"Two models, each worth {_credits(worth)} to you: {asks}. {paid}."


def _rank_example(bidders: int, weights_bps: tuple[int, ...]) -> str:
    entries = {f"entry {at}": 900_000 - at for at in range(max(bidders, len(weights_bps)))}
    prizes = by_rank(_EXAMPLE_ID, entries, pool_micro=EXAMPLE_MICRO, weights_bps=weights_bps)
    paid = ", ".join(_credits(amount) for amount in prizes.paid_micro.values())
    return f"Of a pool of {_credits(EXAMPLE_MICRO)} the best are paid: {paid}."


def _share_example() -> str:
    entries = {"A": 900_000, "B": 600_000}
    prizes = by_share(_EXAMPLE_ID, entries, pool_micro=EXAMPLE_MICRO)
    paid = ", ".join(f"{name} {_credits(amount)}" for name, amount in prizes.paid_micro.items())
    return f"A reaches 90 %, B 60 %: of a pool of {_credits(EXAMPLE_MICRO)} are paid {paid}."


def _how(weights_bps: tuple[int, ...]) -> str:
    """What to add to the command for prizes by rank."""
    if not weights_bps:
        return "."
    return f" --mechanism contest --weights {','.join(map(str, weights_bps))}."


def _credits(amount_micro: int) -> str:
    return f"{format_amount(amount_micro)} credits"


_TITLES: Final[dict[Mechanism, str]] = {
    "second_price": "Sealed bids, paid the second price",
    "second_score": "Sealed bids, price and measured quality together",
    "several_winners": "Sealed bids, several winners",
    "contest_by_rank": "Contest with prizes for the best",
    "contest_by_share": "Contest, shares by measured quality",
}
_WHEN: Final[dict[Mechanism, str]] = {
    "second_price": "One model, and your threshold says what is good enough.",
    "second_score": "One model, and each point of quality above the threshold is worth money to you.",
    "several_winners": "Several models of several developers, each with its worth. It knows no budget: the "
    "winners together may cost all that their models are worth to you.",
    "contest_by_rank": "Everybody builds first, the best are paid, and the rest worked for nothing.",
    "contest_by_share": "Every entry is of use to you. Who enters one model under two wallets is paid twice.",
}
_WHY: Final = {
    "cheapest": "Your threshold says what is good enough, so only the price is left to compete for. Nobody "
    "does better than by asking what the work costs, because no bid sets its own pay. Developers who agree "
    "on their bids can still drive the price up, to your budget at most.",
    "best": "You pay for the best model, whoever builds it, and want its builder to put in all it can.",
    "many": "You want many good models, not one outstanding one, so all the work counts.",
    "alone": "One developer alone competes with nobody: a contest draws no work from it. With sealed bids it "
    "is paid your budget, if it reaches your threshold.",
}
_BIDDERS: Final = "If {n} bid whose costs are spread evenly between nothing and your budget"
_ENTRANTS: Final = (
    "If {n} take part whose talents are spread evenly, and work costs as much as there is of it"
)
_RUNS: Final = "This version runs it on chain: openstall request create"
