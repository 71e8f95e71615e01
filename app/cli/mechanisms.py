"""`openstall request mechanisms`: which way to choose a developer fits what one wants, and the working."""

from __future__ import annotations

from typing import Any, get_args

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import table
from openstall.market.mechanisms.choosing import ASSUMED_BIDDERS, MOST_BIDDERS, Goal

_COST = {1: "as the work", 2: "as its square", 3: "as its cube"}


@click.command()
@click.option(
    "--goal",
    type=click.Choice(list(get_args(Goal))),
    required=True,
    help="One model for the least money, the single best, or many good ones.",
)
@click.option(
    "--bidders",
    type=click.IntRange(1, MOST_BIDDERS),
    default=ASSUMED_BIDDERS,
    show_default=True,
    help="How many developers you think take part.",
)
@command
def mechanisms(cli: Cli, goal: str, bidders: int) -> None:
    """Which way to choose the winner fits what you want, why, and the working; nothing is signed."""
    found = cli.api.get("/v1/requests/mechanisms", goal=goal, bidders=bidders)
    cli.output.document(found, _words(found))


def _words(found: dict[str, Any]) -> str:
    best = found["best"]
    parts = [f"{best['title']}\n{found['why']}\n{found['here_words']}", f"Example: {best['example']}"]
    working = (
        f"  {one['formula']:<17}  {_per_cent(one['value_bps']):>8}  {one['words']}"
        for one in found["working"]
    )
    parts.append("\n".join([f"{found['assumption']}:", *working]))
    if found["prizes"]:
        parts.append(_prize_words(found))
    parts.append("Other ways:\n" + "\n".join(_option_words(one) for one in found["others"]))
    return "\n\n".join(parts)


def _prize_words(found: dict[str, Any]) -> str:
    rows = [
        {
            "prizes": one["name"],
            "cost": _COST[one["power"]],
            "best": _per_cent(one["best_bps"]),
            "all": _per_cent(one["all_bps"]),
        }
        for one in found["prizes"]
    ]
    columns = [
        ("PRIZES", "prizes"),
        ("COST GROWS", "cost"),
        ("THE BEST ONE'S WORK", "best"),
        ("ALL THE WORK", "all"),
    ]
    return (
        f"What {found['bidders']} entrants of evenly spread talent put in, as a share of the work that "
        f"one alone would do for the whole pool:\n{table(rows, columns)}"
    )


def _option_words(option: dict[str, Any]) -> str:
    here = "runs in this version" if option["runs_here"] else "not in this version"
    return f"- {option['title']} ({here}): {option['when']}\n  Example: {option['example']}"


def _per_cent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02d} %"
