"""A price that follows the market by itself, within the owner's rules: one step, with its working.

Where it goes: to the price that would earn most by what buyers did here (`compute_prices.suggest`), but to
no more than the middle of what credible rivals ask. Without jobs sold here it goes to that middle, and
without rivals it stays. How it goes: never below electricity plus the owner's floor, never above the
ceiling, one step at a time, each of so many per cent at most, and no more often than the pace allows.

Who can move it: rivals have one voice each, and their voice is the middle, so whoever wants to drag it down
needs half of the credible voices; and even with all of them gets one step an hour, and never below the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from openstall.market.errors import Refused
from openstall.market.mechanisms.compute_prices import Suggestion, competes
from openstall.market.money import MAX_MICRO, format_amount
from openstall.market.records import Offer
from openstall.market.text import clean

HOUR_S = 3_600
MOST_STEP_BPS = 2_500
BOND_HOURS = 1
"""A bond makes a rival credible if it is worth this many hours of one's own work at least."""

Why = Literal[
    "suggestion", "rivals", "floor", "ceiling", "nothing_known", "there", "too_soon", "ceiling_below_floor"
]
_Price = Annotated[int, Meta(ge=1, le=MAX_MICRO)]


class PriceRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the owner allows; prices per second. `floor_micro` is wanted on top of electricity."""

    floor_micro: _Price
    ceiling_micro: _Price
    step_bps: Annotated[int, Meta(ge=1, le=MOST_STEP_BPS)] = 500
    pace_s: Annotated[int, Meta(ge=HOUR_S, le=30 * 86_400)] = HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A credible rival: the wallet that is bound to it, its offer, and why it is believed."""

    wallet: str
    offer: Offer
    because: Literal["bonded", "experience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What follows now: the price to ask (the old one where it stays), and what it was worked out from.

    `target_micro` is where it is going, 0 where nothing says where; `middle_micro` 0 without rivals.
    """

    why: Why
    old_micro: int
    new_micro: int
    target_micro: int
    least_micro: int
    most_micro: int
    electricity_micro: int
    rivals: int
    middle_micro: int
    suggestion: Suggestion | None

    @property
    def moves(self) -> bool:
        """Whether the price changes."""
        return self.new_micro != self.old_micro


def read_price_rules(value: Any) -> PriceRules:
    """The owner's rules from a JSON value.

    Raises:
        Refused: `bad_price_rules`, with what does not fit.
    """
    try:
        rules = msgspec.convert(value, PriceRules)
    except msgspec.ValidationError as error:
        raise Refused(
            "bad_price_rules",
            f"The rules of the price make no sense: {clean(str(error))[:200]}.",
            "A step is at most 25 %, and there is one an hour at most.",
        ) from error
    if rules.ceiling_micro < rules.floor_micro:
        raise Refused(
            "bad_price_rules", "The ceiling lies below the floor.", "Raise the one or lower the other."
        )
    return rules


def middle(own: Offer, voices: Iterable[Voice]) -> tuple[int, int]:
    """How many credible rivals a buyer could take instead, and the middle of what they ask (0 without any).

    One wallet has one voice, the dearest of its offers: a second, cheaper one does not weigh more. Of an
    even number the upper of the two in the middle counts.
    """
    asked: dict[str, int] = {}
    for voice in voices:
        if competes(voice.offer, own):
            wallet = voice.wallet.lower()
            asked[wallet] = max(voice.offer.price_per_s_micro, asked.get(wallet, 0))
    prices = sorted(asked.values())
    return len(prices), prices[len(prices) // 2] if prices else 0


def next_step(
    rules: PriceRules,
    own: Offer,
    *,
    voices: Sequence[Voice],
    suggestion: Suggestion | None,
    electricity_micro: int,
    may_move: bool,
) -> Step:
    """The price to ask from now on.

    Args:
        electricity_micro: what a second of work costs, 0 where it is not known.
        may_move: whether the pace allows a step now.
    """
    old, (rivals, middle_micro) = own.price_per_s_micro, middle(own, voices)
    least, most = electricity_micro + rules.floor_micro, rules.ceiling_micro
    target = _target(suggestion, middle_micro)
    bounded = min(max(target or old, least), most)
    why: Why
    if most < least:
        new, why = old, "ceiling_below_floor"
    elif bounded == old:
        new, why = old, "there" if target else "nothing_known"
    elif not may_move:
        new, why = old, "too_soon"
    elif old < least:
        new, why = _towards(least, bounded, rules.step_bps), "floor"  # whatever it costs, at once
    else:
        new, why = _towards(old, bounded, rules.step_bps), _cause(old, most, target, suggestion)
    return Step(
        why=why,
        old_micro=old,
        new_micro=new,
        target_micro=target,
        least_micro=least,
        most_micro=most,
        electricity_micro=electricity_micro,
        rivals=rivals,
        middle_micro=middle_micro,
        suggestion=suggestion,
    )


def _target(suggestion: Suggestion | None, middle_micro: int) -> int:
    known = [price for price in (suggestion.price_per_s_micro if suggestion else 0, middle_micro) if price]
    return min(known, default=0)


def _cause(old: int, most: int, target: int, suggestion: Suggestion | None) -> Why:
    if old > most:
        return "ceiling"
    return "suggestion" if suggestion and suggestion.price_per_s_micro == target else "rivals"


def _towards(old: int, target: int, step_bps: int) -> int:
    """One step from a price towards another; a price so small that no step shows moves by one unit."""
    step = max(1, old * step_bps // 10_000)
    return min(old + step, target) if target > old else max(old - step, target)


def step_words(step: Step) -> str:
    """What was done and why, in a sentence."""
    if not step.moves:
        return _STAYS[step.why]
    reason = _MOVES[step.why].format(rivals=step.rivals)
    return f"From {format_amount(step.old_micro)} to {format_amount(step.new_micro)}, {reason}."


_MOVES = {
    "suggestion": "towards the price that would earn most by what buyers did here",
    "rivals": "towards the middle of what credible rivals ask ({rivals} of them)",
    "floor": "up to electricity plus your floor",
    "ceiling": "down towards your ceiling",
}
_STAYS = {
    "nothing_known": "The price stays: no job was sold at a known cost, and no credible rival is there.",
    "there": "The price stays: it is where it should be within your limits.",
    "too_soon": "The price stays until the next step is due.",
    "ceiling_below_floor": "The price stays: your ceiling lies below electricity plus floor.",
}
