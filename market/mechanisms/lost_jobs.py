"""Why a job went elsewhere: the rule or rank that lost it, and the smallest change that would have won it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from openstall.market.errors import InvalidRecord
from openstall.market.fields import body_as_dict
from openstall.market.money import format_amount
from openstall.market.records import Offer

Rule = Literal["not_selling", "house", "kinds", "machine", "longest", "price", "tie", "unknown"]
"""Of a job that another provider got; an order that was turned away has the code of the refusal."""
MIB = 2**20
_CHANGES = {
    "machine_busy": "Let more jobs run at once.",
    "not_selling": "Start selling.",
    "terms_differ": "Nothing: the buyer had an old or altered offer. It looks again by itself.",
    "too_many": "Nothing: this buyer has too many open orders here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How we stood when the job was ordered: our live offer, if any, and what held jobs back, if anything."""

    offer: Offer | None
    held_back: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What lost the job, in words, and the change that would have won it (empty if there is none)."""

    rule: Rule | str
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


def seen_then(moment: Moment, winner: Offer | None) -> dict[str, Any]:
    """What a conclusion about a job of another provider rests on, as a JSON value."""
    return {
        "own": body_as_dict(moment.offer) if moment.offer else None,
        "chosen": body_as_dict(winner) if winner else None,
        "held_back": moment.held_back,
    }


def refused_then(code: str, words: str) -> dict[str, Any]:
    """The same of an order that this machine turned away: with what code and words."""
    return {"refused": {"code": code, "words": words}}


def conclude(seen: dict[str, Any]) -> tuple[Reason, ...]:
    """Why a job did not come here, from what was kept of that moment; the same each time it is asked.

    Raises:
        InvalidRecord: what was kept is not enough to conclude from.
    """
    refused = seen.get("refused")
    if refused is not None:
        code, words = str(refused["code"]), str(refused["words"])
        return (Reason(rule=code, words=words, change=_CHANGES.get(code, "")),)
    if not seen:
        raise InvalidRecord("nothing_kept", "Nothing was kept of that moment.")
    try:
        own, chosen = (msgspec.convert(seen[one], Offer | None) for one in ("own", "chosen"))
    except msgspec.ValidationError as error:
        raise InvalidRecord("other_form", "What was kept of that moment has another form now.") from error
    return explain(Moment(offer=own, held_back=str(seen["held_back"])), chosen)


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
