"""Plain words for what is signed in a contest."""

from __future__ import annotations

import time

from openstall.market.money import format_amount
from openstall.market.requests.bodies import SHARES, RequestBody


def silence_words(evaluator: str) -> str:
    """Said where an evaluator has not agreed to measure for others."""
    return (
        f"{evaluator} has not said in this group that it measures models for others. If it stays silent, "
        "nothing is measured, and your money comes back only when the deadlines have passed."
    )


def contest_words(body: RequestBody) -> dict[str, str]:
    """What a requester signs there beside what every request says."""
    pool = format_amount(body.budget_micro)
    practice = (
        f"{body.tries} tries for each developer while it can be entered, told only roughly."
        if body.metric in SHARES
        else f"none: {body.metric} is no share of 1."
    )
    return {
        "Prizes": f"{pool} credits. {_prize_words(body)} What nobody earns comes back to you.",
        "Entries": f"until {as_day(body.commit_by)}, one for each wallet; each puts down "
        f"{format_amount(body.deposit_micro)} credits, which come back.",
        "Practice": practice,
        "Judging": f"until {as_day(body.reveal_by)}. If the evaluators stay silent, all of it comes back.",
        "Hand-over": f"winners have {_span(body.review_s)} to hand their model over. Who does not has no "
        "prize and loses its deposit. You get every model that you pay for, and no other.",
        "Dispute": "none: the evaluators decide alone.",
    }


def as_day(at: int) -> str:
    """A moment."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _prize_words(body: RequestBody) -> str:
    if not body.weights_bps:
        return "All who pass share them in proportion to how good they are."
    shares = ", ".join(f"{weight / 100:g} %" for weight in body.weights_bps)
    return "The best that passes has all of it." if len(body.weights_bps) == 1 else f"By rank: {shares}."


def _span(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours else f"{minutes} minutes"
