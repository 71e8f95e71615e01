"""`openstall request`: ask for a model that does not exist yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import table
from openstall.market.errors import OpenstallError
from openstall.market.money import format_amount, parse_amount

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
METRICS = ("accuracy", "macro_f1", "auc", "rmse", "mae")
FLOORS = ("robustness", "fairness", "latency", "size")


@click.group()
def group() -> None:
    """Ask for a model: sealed bids, measured on rows that no developer sees."""


def _draft(function: Any) -> Any:
    """The options of a request."""
    options = [
        click.argument("rows", type=_FILE),
        click.option("--target", required=True, help="The column with the right answers."),
        click.option("--title", required=True, help="What you ask for, in a few words."),
        click.option("--summary", default="", help="More about it: what the columns are, what it is for."),
        click.option("--metric", required=True, type=click.Choice(METRICS)),
        click.option("--threshold", required=True, help="What the metric must reach, as 0.9."),
        click.option("--budget", required=True, help="The most that you pay, in credits."),
        click.option("--floor", "floors", multiple=True, help="name=limit, as size=5000000; repeat."),
        click.option("--training", type=_FILE, help="Examples for the developer who wins, as CSV."),
        click.option("--deposit", default="0", help="Of each bid, in credits; else a 20th of the budget."),
        click.option("--bids-s", type=int, default=2 * 86_400, show_default=True, help="Time for bids."),
        click.option("--opening-s", type=int, default=43_200, show_default=True, help="Time to open them."),
        click.option("--deliver-s", type=int, default=14 * 86_400, show_default=True, help="To build it."),
        click.option("--evaluate-s", type=int, default=86_400, show_default=True, help="Time to measure it."),
        click.option("--review-s", type=int, default=2 * 86_400, show_default=True, help="Time to object."),
        click.option("--arbiter", help="Wallet that rules in a dispute."),
        click.option("--tries", type=int, default=2, show_default=True, help="Models that may be handed in."),
        click.option("--evaluator", "evaluators", multiple=True, help="Wallet that measures; else your own."),
        click.option("--quorum", type=int, default=0, help="How many must agree; else more than half."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _body(rows: Path, training: Path | None, **terms: Any) -> dict[str, Any]:
    floors = [_floor(text) for text in terms.pop("floors")]
    budget, deposit = parse_amount(terms.pop("budget")), parse_amount(terms.pop("deposit"))
    return {
        "rows": str(rows.resolve()),
        "training": str(training.resolve()) if training else None,
        "floors": floors,
        "budget_micro": budget,
        "deposit_micro": deposit,
        "evaluators": list(terms.pop("evaluators")),
        **terms,
    }


def _floor(text: str) -> dict[str, str]:
    name, _, rest = text.partition("=")
    limit, _, group_column = rest.partition("@")
    if name not in FLOORS or not limit:
        raise OpenstallError(
            "bad_floor",
            f"“{text}” is no floor.",
            f"Write name=limit with one of {', '.join(FLOORS)}; fairness=0.1@column names the groups.",
        )
    return {"name": name, "limit": limit, "group": group_column}


@group.command()
@_draft
@command
def preview(cli: Cli, /, rows: Path, training: Path | None, **terms: Any) -> None:
    """What a request for a model measured on ROWS would say. Nothing is signed."""
    found = cli.api.post("/v1/requests/preview", **_body(rows, training, **terms))
    cli.output.document(found, _preview(found))


@group.command()
@_draft
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def create(cli: Cli, /, rows: Path, training: Path | None, yes: bool, **terms: Any) -> None:
    """Ask for a model measured on ROWS; the budget is set aside."""
    body = _body(rows, training, **terms)
    if not yes:
        click.echo(_preview(cli.api.post("/v1/requests/preview", **body)), err=True)
        click.confirm("Sign it and set the budget aside?", abort=True, err=True)
    done = cli.api.operate("/v1/requests", cli.output, **body)
    cli.output.document(done, f"Announced: {done['cid']}\nLook at it: openstall request show {done['cid']}")


@group.command(name="list")
@command
def list_requests(cli: Cli) -> None:
    """Your own requests and how far their auctions are."""
    found = cli.api.get("/v1/requests")
    cli.output.rows(
        found,
        [
            ("TITLE", "title"),
            ("STATE", "state"),
            ("BUDGET", "budget_micro"),
            ("PRICE", "price_micro"),
            ("ORDER", "order_id"),
            ("REQUEST", "request"),
        ],
        empty="You have asked for nothing yet: openstall request create.",
    )


@group.command()
@click.argument("cid")
@command
def show(cli: Cli, cid: str) -> None:
    """The auction of a request, yours or another's."""
    found = cli.api.get(f"/v1/requests/{cid}/auction")
    cli.output.document(found, _auction(found))


def _preview(found: dict[str, Any]) -> str:
    lines = [*found["summary"]]
    if found["warnings"]:
        lines += ["", "Look at this first:", *(f"  - {words}" for words in found["warnings"])]
    rows = [dict(zip(found["header"], row, strict=True)) for row in found["first_rows"][:3]]
    return "\n".join([*lines, "", table(rows, [(name.upper(), name) for name in found["header"][:6]])])


def _auction(found: dict[str, Any]) -> str:
    lines = [
        f"{found['title']}: {found['state']}",
        f"budget {format_amount(found['budget_micro'])}, deposit {format_amount(found['deposit_micro'])}",
        f"{len(found['bids'])} bids",
    ]
    for bid in found["bids"]:
        amount = bid["amount_micro"]
        lines.append(f"  {bid['bidder']}  {'sealed' if amount is None else format_amount(amount)}")
    if found["price_micro"] is not None and found["winner"]:
        lines.append(f"won by {found['winner']} for {format_amount(found['price_micro'])}")
    if found["order_id"]:
        lines.append(f"order {found['order_id']}")
    if found["trouble"]:
        lines.append(f"waits: {found['trouble']['message']}")
    return "\n".join(lines)
