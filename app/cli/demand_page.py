"""The words of `openstall compute why`."""

from __future__ import annotations

from typing import Any

from openstall.app.cli.output import table
from openstall.market.money import format_amount


def demand_page(found: dict[str, Any]) -> str:
    """Prices of the group, our own place, the suggested price with its working, and the jobs that went by."""
    parts = [_market(found["market"]), _standing(found["standing"]), _suggestion(found["suggestion"])]
    rows = [
        {
            "at": job["at"],
            "amount_micro": job["amount_micro"],
            "why": " ".join(reason["words"] for reason in job["reasons"]),
            "change": " ".join(reason["change"] for reason in job["reasons"] if reason["change"]),
        }
        for job in found["lost"]["items"]
    ]
    columns = [
        ("WHEN", "at"),
        ("AT MOST", "amount_micro"),
        ("WHY NOT HERE", "why"),
        ("WHAT WOULD HAVE WON IT", "change"),
    ]
    parts.append(table(rows, columns) if rows else "No job has gone elsewhere since this node watches.")
    return "\n\n".join(parts)


def replay_page(found: dict[str, Any]) -> str:
    """Whether each conclusion comes out as it did, and those that do not."""
    head = f"{found['same']} of {found['total']} conclusions come out as they did."
    rows = [
        {
            "at": item["at"],
            "kept": " ".join(reason["words"] for reason in item["kept"]),
            "again": item["why_not"] or " ".join(reason["words"] for reason in item["again"]),
        }
        for item in found["items"]
        if not item["same"]
    ]
    columns = [("WHEN", "at"), ("KEPT", "kept"), ("CONCLUDED NOW", "again")]
    return f"{head}\n\n{table(rows, columns)}" if rows else head


def _market(view: dict[str, Any] | None) -> str:
    if view is None:
        return "Nobody offers compute in this group now."
    low, middle, high = (format_amount(view[name]) for name in ("p10_micro", "median_micro", "p90_micro"))
    spread = f"{low} (lowest tenth), {middle} (middle), {high} (highest tenth)"
    return f"{view['offers']} on offer. Price per second: {spread}."


def _standing(place: dict[str, Any] | None) -> str:
    if place is None:
        return "This machine is not on offer."
    if not place["rivals"]:
        return "No other machine that is on offer is as large as yours."
    first = "" if place["place"] == 1 else f" Ask {format_amount(place['first_micro'])} a second to be first."
    return f"By price you are number {place['place']} of {place['rivals'] + 1} such machines.{first}"


def _suggestion(found: dict[str, Any] | None) -> str:
    if found is None:
        return "No price can be suggested before a job was sold here and the cost of a second is known."
    price, cost, worth = (
        format_amount(found[name]) for name in ("price_per_s_micro", "cost_per_s_micro", "worth_micro")
    )
    return (
        f"Suggested: {price} a second. That is the square root of your cost of a second ({cost}) times what "
        f"a job is worth to a buyer ({worth} on the mean of {found['jobs']} jobs sold here)."
    )
