"""Why a job went elsewhere: the rule or rank that lost it, and the smallest change that would have won it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openstall.market.money import format_amount
from openstall.market.records import Offer

Rule = Literal["not_selling", "house", "kinds", "machine", "longest", "price", "tie", "unknown"]
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How we stood when the job was ordered: our live offer, if any, and what held jobs back, if anything."""

    offer: Offer | None
    held_back: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A rule that lost the job, in words, and the change that would have won it (empty if there is none)."""

    rule: Rule
    words: str
    change: str = ""


def explain(moment: Moment, winner: Offer | None) -> tuple[Reason, ...]:
    """All that spoke against us when another provider was chosen, the hardest first; never empty."""
    if moment.offer is None:
        return (Reason(rule="not_selling", words="This machine was not on offer.", change="Start selling."),)
    found: list[Reason] = []
    if moment.held_back:
        found.append(
            Reason(
                rule="house",
                words=f"Your rules held jobs back: {moment.held_back}",
                change="Loosen that rule.",
            )
        )
    if winner is None:
        words = "The provider that was chosen is not in the catalogue any more."
        return (*found, Reason(rule="unknown", words=words))
    found += _machine(moment.offer, winner)
    ours, theirs = moment.offer.price_per_s_micro, winner.price_per_s_micro
    if theirs < ours:
        price = format_amount(theirs)
        words = f"The other asked {price} a second, you {format_amount(ours)}."
        found.append(Reason(rule="price", words=words, change=f"Ask {price} or less."))
    if not found:
        words = "Nothing spoke against you: the buyer had the choice between equals."
        change = f"Ask less than {format_amount(ours)}." if ours > 1 else ""
        found.append(Reason(rule="tie", words=words, change=change))
    return tuple(found)


def _machine(ours: Offer, theirs: Offer) -> list[Reason]:
    found: list[Reason] = []
    missing = sorted(set(theirs.kinds) - set(ours.kinds))
    if missing:
        words = f"The other takes {', '.join(missing)} jobs too."
        found.append(Reason(rule="kinds", words=words, change=f"Accept {', '.join(missing)} jobs."))
    larger = {
        f"{theirs.threads} threads": theirs.threads > ours.threads,
        f"{theirs.memory_bytes // MIB:,} MiB memory": theirs.memory_bytes > ours.memory_bytes,
        f"{theirs.disk_bytes // MIB:,} MiB disk": theirs.disk_bytes > ours.disk_bytes,
        f"{len(theirs.gpus)} graphics processors": len(theirs.gpus) > len(ours.gpus),
    }
    names = [name for name, is_larger in larger.items() if is_larger]
    if names:
        words = f"The other machine has {', '.join(names)}."
        found.append(Reason(rule="machine", words=words, change=f"Offer {', '.join(names)}."))
    if theirs.max_s > ours.max_s:
        words = f"The other runs jobs of up to {theirs.max_s:,} seconds, you of {ours.max_s:,}."
        found.append(Reason(rule="longest", words=words, change=f"Allow {theirs.max_s:,} seconds."))
    return found
