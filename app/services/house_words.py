"""The state of the house in words: all of it for the owner, and only what concerns them for buyers."""

from __future__ import annotations

from datetime import datetime, timedelta

from openstall.market.house import Decision


def owners_words(
    decision: Decision, *, since: int, now: datetime, waiting: int, wait_s: int
) -> tuple[str, str]:
    """What is so and why, and what happens next."""
    if not decision.reasons:
        closes = f" until {_clock(decision.closes_at, now)}" if decision.closes_at else ""
        return f"Jobs may run{closes}.", ""
    first, *more = decision.reasons
    why = "; ".join([first.words, *(reason.words for reason in more)])
    ends = first.ends if not more else "when none of this is so any more"
    if decision.may_go_on:
        return f"No new job: {why}.", "A running job goes on."
    begun = f" since {_clock(datetime.fromtimestamp(since).astimezone(), now)}" if since else ""
    words = f"Paused{begun}: {why}."
    if not waiting:
        return words, f"Jobs may run again {ends}." if ends else ""
    who, it, goes, does = (
        ("One job waits", "it", "goes", "it is")
        if waiting == 1
        else (f"{waiting} jobs wait", "they", "go", "they are")
    )
    until = f"{it} {goes} on {ends}" if ends else "nobody can tell for how long"
    return words, f"{who}; {until}. After {duration(wait_s)} of waiting {does} ended."


def buyers_words(decision: Decision, now: datetime) -> str:
    """What a buyer is told. What the owner does, runs or owns is nobody else's business."""
    if decision.opens_at is None:
        return "The owner of this machine needs it now."
    hours = max(1, round((decision.opens_at - now) / timedelta(hours=1)))
    return f"This machine is not for rent for about {hours} h."


def duration(seconds: int) -> str:
    """`10 minutes`, `1 hour`, `90 seconds`."""
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "0 seconds"


def _clock(moment: datetime, now: datetime) -> str:
    return moment.strftime("%H:%M" if moment.date() == now.date() else "%H:%M on %d %B")
