"""`openstall contest`: build for a request that pays the best of many models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, plain, table
from openstall.app.cli.who import SIGN
from openstall.market.money import format_amount

_MODEL = click.Path(path_type=Path, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def group() -> None:
    """Contests: everybody builds, the best are paid for handing their model over."""


@group.command(name="list")
@command
def list_(cli: Cli) -> None:
    """The contests that you ask for, have entered, or judge; newest first."""
    cli.output.rows(
        cli.api.get("/v1/contests"),
        [
            ("TITLE", "title"),
            ("YOU", "role"),
            ("STATE", "state"),
            ("POOL", "pool_micro"),
            ("ENTER UNTIL", "entry_by"),
            ("REQUEST", "request"),
        ],
        empty="You take part in no contest yet: openstall developer inbox.",
    )


@group.command()
@click.argument("request_cid")
@command
def show(cli: Cli, request_cid: str) -> None:
    """A contest, yours or another's: its entries, who won what, and the board of practice."""
    found = cli.api.get(f"/v1/contests/{request_cid}")
    cli.output.document(found, _words(found))


@group.command()
@click.argument("request_cid")
@click.argument("model", type=_MODEL)
@command
def enter(cli: Cli, request_cid: str, model: Path) -> None:
    """Enter MODEL (ONNX) in the contest REQUEST_CID, with the deposit; an entry cannot be changed.

    It stays encrypted; the evaluators get its key when nobody can enter any more, the requester only if
    you are paid.
    """
    path = str(model.resolve())
    done = cli.api.operate(f"/v1/contests/{request_cid}/enter", cli.output, path=path)
    cli.output.document(done, f"Entered. Follow it: openstall contest show {request_cid}")


@group.command()
@click.argument("request_cid")
@click.argument("model", type=_MODEL)
@command
def practice(cli: Cli, request_cid: str, model: Path) -> None:
    """Have MODEL measured before you enter: one of few tries, told roughly, and on a board for all."""
    path = str(model.resolve())
    done = cli.api.operate(f"/v1/contests/{request_cid}/practice", cli.output, path=path)
    cli.output.document(
        done, f"Your best so far: {done['figure']} (roughly). Tries left: {done['tries_left']}."
    )


@group.command()
@click.argument("request_cid")
@click.option("--folder", type=_FOLDER, default=Path(), help="Where the file is written to.")
@command
def training(cli: Cli, request_cid: str, folder: Path) -> None:
    """Fetch the training data of the contest REQUEST_CID; everybody of the group may."""
    path = str(folder.resolve())
    done = cli.api.operate(f"/v1/contests/{request_cid}/training", cli.output, folder=path)
    cli.output.document(done, f"Written to {done['path']}")


def _words(found: dict[str, Any]) -> str:
    lines = [
        f"{plain(found['title'])}: {found['state']}" + (f" (you: {found['role']})" if found["role"] else ""),
        f"pool {format_amount(found['pool_micro'])}, deposit {format_amount(found['deposit_micro'])}",
        f"to pass: {found['metric']} {found['threshold']}",
        f"prizes {_prizes(found['weights_bps'])}",
        f"enter until {cell(found, 'entry_by')}, judged until {cell(found, 'judge_by')}",
    ]
    if found["entries"]:
        lines.append(table([_entry(one) for one in found["entries"]], _COLUMNS))
    else:
        lines.append("no entries yet")
    if found["board"]:
        lines.append("Practice, told roughly:")
        lines += [
            f"  {plain(one['name'])}  {one['figure'] or '-'}  {one['tries_used']} tries"
            for one in found["board"]
        ]
    lines += [f"in your library: {path}" for path in found["library_paths"]]
    if found["trouble"]:
        lines.append(f"waits: {plain(found['trouble']['message'])}")
    return "\n".join(lines)


_COLUMNS = [("PLACE", "place"), ("WHO", "name"), ("FIGURE", "figure"), ("PRIZE", "prize"), ("", "mark")]


def _entry(one: dict[str, Any]) -> dict[str, Any]:
    figure, prize = one["figure"], one["prize_micro"]
    marks = ["you"] if one["mine"] else []
    marks += ["not good enough"] if one["passed"] is False else []
    marks += ["taken"] if one["claimed"] else []
    return {
        "place": one["place"] or "-",
        "name": (plain(one["name"]) or one["entrant"]) + (f" {SIGN}" if one["name_marks"] else ""),
        "figure": "-" if figure is None else f"{figure['value']} ({figure['low']} to {figure['high']})",
        "prize": "-" if prize is None else format_amount(prize),
        "mark": ", ".join(marks),
    }


def _prizes(weights_bps: list[int]) -> str:
    if not weights_bps:
        return "in proportion to quality"
    return ", ".join(f"{weight / 100:g} %" for weight in weights_bps)
