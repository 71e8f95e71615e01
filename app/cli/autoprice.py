"""`openstall compute autoprice`: let the price follow the market, within limits."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, fields, table
from openstall.market.errors import Refused
from openstall.market.money import parse_amount

HOUR_S = 3600
PATH = "/v1/compute/autoprice"


@click.group()
def autoprice() -> None:
    """A price that follows the market by itself, within your limits; off from the start."""


@autoprice.command()
@command
def show(cli: Cli) -> None:
    """The limits, what would follow from them now, and every change with its working."""
    _say(cli, cli.api.get(PATH))


@autoprice.command(name="on")
@click.option("--floor", help="Credits per second wanted on top of electricity, as 0.01.")
@click.option("--ceiling", help="Credits per second at most.")
@click.option("--step-percent", type=int, help="How far one step may go, 1 to 25.")
@click.option("--every-hours", type=int, help="At most one step in so many hours.")
@command
def switch_on(
    cli: Cli, floor: str | None, ceiling: str | None, step_percent: int | None, every_hours: int | None
) -> None:
    """Switch it on; limits that are not named stay as they were."""
    rules: dict[str, Any] = dict(cli.api.get(PATH)["rules"] or {})
    given = {
        "floor_micro": None if floor is None else parse_amount(floor),
        "ceiling_micro": None if ceiling is None else parse_amount(ceiling),
        "step_bps": None if step_percent is None else 100 * step_percent,
        "pace_s": None if every_hours is None else HOUR_S * every_hours,
    }
    rules |= {name: value for name, value in given.items() if value is not None}
    missing = [name for name in ("floor", "ceiling") if f"{name}_micro" not in rules]
    if missing:
        raise Refused(
            "no_price_rules",
            f"The price has no {' and no '.join(missing)} yet.",
            "Give --floor and --ceiling.",
        )
    _say(cli, cli.api.post(PATH, on=True, rules=rules))


@autoprice.command(name="off")
@command
def switch_off(cli: Cli) -> None:
    """Switch it off; the price stays where it is."""
    _say(cli, cli.api.post(PATH, on=False))


def _say(cli: Cli, found: dict[str, Any]) -> None:
    cli.output.document(found, None if cli.output.as_json else _page(found))


def _page(found: dict[str, Any]) -> str:
    parts = [f"The price follows the market: {cell(found, 'on')}."]
    if found["rules"]:
        parts.append(fields({"rules": found["rules"]}))
    if found["chain_away"]:
        parts.append("The chain is away: without it no rival can be believed, and nothing is changed.")
    elif found["step"]:
        parts.append(found["step"]["words"])
    elif found["price_micro"] is None:
        parts.append("This machine is not on offer.")
    rows = [
        {
            **change,
            "why": change["working"]["words"],
            "rivals": change["working"]["rivals"],
            "middle_micro": change["working"]["middle_micro"] or None,
            "least_micro": change["working"]["least_micro"],
        }
        for change in found["changes"]["items"]
    ]
    columns = [
        ("WHEN", "at"),
        ("FROM", "old_micro"),
        ("TO", "new_micro"),
        ("LEAST", "least_micro"),
        ("RIVALS", "rivals"),
        ("THEIR MIDDLE", "middle_micro"),
        ("WHY", "why"),
    ]
    parts.append(table(rows, columns) if rows else "The price has not moved by itself yet.")
    return "\n\n".join(parts)
