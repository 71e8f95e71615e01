"""`openstall request`: ask for a model that does not exist yet."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from openstall.app.cli import mechanisms
from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain, table
from openstall.app.cli.who import warnings
from openstall.market.errors import OpenstallError, Refused
from openstall.market.fields import DAY_S
from openstall.market.money import format_amount, parse_amount

_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)
_METRICS = click.Choice(["accuracy", "macro_f1", "auc", "rmse", "mae"])
_ENCODINGS = click.Choice(["utf-8", "utf-16", "windows-1250", "windows-1252", "windows-1254", "iso-8859-9"])
_FLOOR_HELP = "size=1000000 (bytes), latency=5 (ms), robustness=0.8, fairness=0.1:COLUMN; repeatable."
_TRIES_HELP = "Deliveries at most; in a contest, tries for practice."
DEPOSIT_SHARE = 20
"""A bid puts down a twentieth of the budget, if nothing else is said."""


@click.group()
def group() -> None:
    """Ask for a model: your rows stay sealed, you pay for a measured result."""


group.add_command(mechanisms.mechanisms)


def _rows_options(function: Any, *, need_target: bool = True) -> Any:
    for option in (
        click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave a column out; repeatable."),
        click.option("--encoding", type=_ENCODINGS, default=None, help="If the file is not UTF-8."),
        click.option(
            "--task", type=click.Choice(["classification", "regression"]), help="Guessed if left out."
        ),
        click.option(
            "--target", required=need_target, metavar="COLUMN", help="The column with the right answers."
        ),
    ):
        function = option(function)
    return function


@group.command()
@click.argument("rows", type=_PATH)
@partial(_rows_options, need_target=False)
@click.option("--metric", type=_METRICS)
@click.option("--threshold", help="As 0.9; warns where it cannot be reached, or needs no model.")
@command
def preview(cli: Cli, /, rows: Path, metric: str | None, threshold: str | None, **choice: Any) -> None:
    """Look at the table ROWS: what it holds, what is wrong, what is odd. Nothing is kept.

    Without a target only what the columns are called and hold.
    """
    body = {**_rows_body(rows, **choice), "metric": metric or "", "threshold": threshold}
    found = cli.api.operate("/v1/requests/preview", cli.output, **body)
    cli.output.document(found, _preview_words(found))


@group.command()
@click.argument("rows", type=_PATH)
@_rows_options
@click.option("--metric", type=_METRICS, required=True)
@click.option("--threshold", required=True, help="From when on a model is good enough, as 0.9.")
@click.option("--budget", required=True, help="Credits that you pay at most, as 50.00.")
@click.option("--title", help="Said for you without it.")
@click.option("--summary", default="", help="What you need it for, in your own words.")
@click.option("--licence", default="Apache-2.0", show_default=True, help="SPDX expression of the model.")
@click.option("--floor", "floors", multiple=True, help=_FLOOR_HELP)
@click.option("--deposit", help="Credits that each bid puts down; a twentieth of the budget without it.")
@click.option("--training", type=_PATH, help="Training data with the same columns, for who may build.")
@click.option(
    "--mechanism",
    type=click.Choice(["second_price", "contest"]),
    default="second_price",
    show_default=True,
    help="Sealed bids; or a contest, in which all build and the best are paid.",
)
@click.option("--weights", help="Contest: prizes by rank, as 6000,3000,1000; they add up to 10,000.")
@click.option("--shares", is_flag=True, help="Contest: all who pass share in proportion to quality.")
@click.option("--bid-s", type=int, default=3 * DAY_S, show_default=True, help="Time to bid, or to enter.")
@click.option("--reveal-s", type=int, default=DAY_S, show_default=True, help="Then, to open or to judge.")
@click.option("--deliver-s", type=int, default=14 * DAY_S, show_default=True, help="Then, time to build.")
@click.option("--evaluate-s", type=int, default=DAY_S, show_default=True, help="Time to measure a delivery.")
@click.option("--review-s", type=int, default=3 * DAY_S, show_default=True, help="Time to object.")
@click.option("--tries", type=click.IntRange(1, 16), default=3, show_default=True, help=_TRIES_HELP)
@click.option("--evaluator", "evaluators", multiple=True, metavar="WALLET", help="You alone without it.")
@click.option("--quorum", type=click.IntRange(1, 16), help="So many must agree; more than half without it.")
@click.option("--arbiter", help="Wallet address that rules in a dispute.")
@click.option("--yes", is_flag=True, help="Sign without asking.")
@command
def create(
    cli: Cli,
    /,
    rows: Path,
    metric: str,
    threshold: str,
    floors: tuple[str, ...],
    training: Path | None,
    yes: bool,
    **more: Any,
) -> None:
    """Ask for a model that does well on the table ROWS.

    What will be signed is shown first, and you are asked. The rows stay sealed on your computer.
    """
    choice = {name: more.pop(name) for name in ("target", "task", "ignore", "encoding")}
    body = {
        **_rows_body(rows, **choice),
        "metric": metric,
        "threshold": threshold,
        "floors": [_floor(text) for text in floors],
        "terms": _terms(choice["target"], **more),
    }
    training_path = str(training.resolve()) if training else None
    found = cli.api.operate("/v1/requests/preview", cli.output, **body, training_path=training_path)
    if found["problem_count"]:
        first = found["problems"][0]
        raise Refused("bad_table", _preview_words(found), first["fix"])
    click.echo(f"{_preview_words(found)}\n\n{_summary_words(found['summary'])}", err=cli.output.as_json)
    if not yes:
        click.confirm("Sign and publish this?", abort=True, err=True)
    done = cli.api.operate(
        "/v1/requests",
        cli.output,
        **body,
        file_sha256=found["file_sha256"],
        training_path=training_path,
    )
    cli.output.document(
        done, f"Published: {done['cid']}\nWho could build it: openstall request match {done['cid']}"
    )


@group.command("list")
@command
def list_(cli: Cli) -> None:
    """Your requests."""
    found = cli.api.get("/v1/requests")
    if not cli.output.as_json:
        for one in found["items"]:
            # Once it is in an auction or a contest, that says where it stands.
            one["state"] = one["stage"] or one["state"]
    cli.output.rows(
        found,
        [
            ("TITLE", "title"),
            ("STATE", "state"),
            ("BUDGET", "budget_micro"),
            ("BIDS UNTIL", "commit_by"),
            ("REQUEST", "request_id"),
        ],
        empty="You have asked for no model yet: openstall request create",
    )


@group.command()
@click.argument("request_id")
@command
def show(cli: Cli, request_id: str) -> None:
    """One of your requests: what you signed, and its state."""
    found = cli.api.get(f"/v1/requests/{request_id}")
    words = f"{found['title']} ({found['state']})\n\n{_summary_words(found['summary'])}"
    cli.output.document(found, f"{words}\n\nIn the catalogue: {found['cid'] or '-'}")


@group.command()
@click.argument("request_id")
@command
def withdraw(cli: Cli, request_id: str) -> None:
    """Take back a request whose auction ended without an order; its sealed rows are deleted."""
    done = cli.api.post(f"/v1/requests/{request_id}/withdraw")
    cli.output.document(done, "The request is withdrawn, and its sealed rows are deleted.")


@group.command()
@click.argument("cid")
@command
def record(cli: Cli, cid: str) -> None:
    """What the author of the request CID signed; your bids' also when it has left the catalogue."""
    cli.output.document(cli.api.get(f"/v1/requests/{cid}/record"))


@group.command()
@click.argument("cid")
@command
def auction(cli: Cli, cid: str) -> None:
    """The sealed bids for the request CID, yours or another's, and who won."""
    found = cli.api.get(f"/v1/requests/{cid}/auction")
    cli.output.document(found, _auction_words(found))


@group.command()
@click.argument("cid")
@command
def match(cli: Cli, cid: str) -> None:
    """Developers who could build the request CID, best first, and why."""
    print_matches(cli, cli.api.get(f"/v1/requests/{cid}/developers"), empty="No developer fits it yet.")


def print_matches(cli: Cli, found: dict[str, Any], *, empty: str) -> None:
    """A ranking with its reasons."""
    if cli.output.as_json or not found["items"]:
        cli.output.document(found, empty)
        return
    for place, item in enumerate(found["items"], 1):
        lot = " (by lot)" if item["lane"] == "newcomer" else ""
        click.echo(f"{place}. {plain(item['title'])} by {plain(item['author_name'])}{lot}")
        click.echo(f"   {item['cid']}")
        for line in [*item["reasons"], *warnings(item)]:
            click.echo(f"   {plain(line)}")


def _auction_words(found: dict[str, Any]) -> str:
    lines = [
        f"{plain(found['title'])}: {found['state']}",
        f"budget {format_amount(found['budget_micro'])}, deposit {format_amount(found['deposit_micro'])}",
    ]
    for bid in found["bids"]:
        amount = bid["amount_micro"]
        lines.append(f"  {bid['bidder']}  {'sealed' if amount is None else format_amount(amount)}")
    if not found["bids"]:
        lines.append("no bids yet")
    if found["winner"]:
        lines.append(f"won by {found['winner']} for {format_amount(found['price_micro'])}")
    if found["order_id"]:
        lines.append(f"order {found['order_id']}")
    if found["trouble"]:
        lines.append(f"waits: {plain(found['trouble']['message'])}")
    return "\n".join(lines)


def _rows_body(
    rows: Path, *, target: str | None, task: str | None, ignore: tuple[str, ...], encoding: str | None
) -> Any:
    return {
        "path": str(rows.resolve()),
        "target": target or "",
        "task": task or "",
        "ignore": list(ignore),
        "encoding": encoding or "",
    }


def _terms(
    target: str, *, title: str | None, budget: str, deposit: str | None, **terms: Any
) -> dict[str, Any]:
    budget_micro = parse_amount(budget)
    deposit_micro = parse_amount(deposit) if deposit else max(1, budget_micro // DEPOSIT_SHARE)
    named = title or f"Predict {target}"
    evaluators = list(terms.pop("evaluators"))
    terms["weights_bps"] = _weights(terms["mechanism"], terms.pop("weights"), shares=terms.pop("shares"))
    return {
        "title": named,
        "budget_micro": budget_micro,
        "deposit_micro": deposit_micro,
        "evaluators": evaluators,
        **terms,
    }


def _weights(mechanism: str, weights: str | None, *, shares: bool) -> list[int]:
    """The prizes of a contest by rank; none where they are shared by quality."""
    if mechanism != "contest":
        if weights or shares:
            raise OpenstallError("bad_weights", "Only a contest has prizes.", "Add --mechanism contest.")
        return []
    if bool(weights) == shares:
        raise OpenstallError(
            "bad_weights", "Say how the pool is paid out.", "Give --weights 6000,3000,1000, or --shares."
        )
    try:
        return [int(part) for part in (weights or "").split(",") if part]
    except ValueError as error:
        raise OpenstallError(
            "bad_weights", f"“{weights}” are no prizes.", "Write them like 6000,3000,1000."
        ) from error


def _floor(text: str) -> dict[str, str]:
    name, mark, rest = text.partition("=")
    limit, _, column = rest.partition(":")
    if not mark:
        raise OpenstallError("bad_floor", f"“{text}” is no floor.", "Write it like size=1000000.")
    return {"name": name.strip(), "limit": limit.strip(), "group": column.strip()}


def _preview_words(found: dict[str, Any]) -> str:
    if found["problem_count"]:
        lines = [f"The table cannot be used: {found['problem_count']} problem(s)."]
        for one in found["problems"]:
            where = f"Line {one['line']}: " if one["line"] else ""
            lines.append(f"- {plain(where + one['words'])} {plain(one['fix'])}")
        return "\n".join(lines)
    seen = found["table"]
    if not seen["features"]:
        columns = table(seen["columns"], [("COLUMN", "name"), ("HOLDS", "kind")])
        return f"{seen['rows']} rows.\n{columns}\nSay with --target which column a model shall find out."
    parts = [f"{seen['rows']} rows, {len(seen['features'])} columns to tell the answer by: {seen['task']}."]
    if seen["classes"]:
        parts.append(table(seen["classes"], [("CLASS", "name"), ("ROWS", "rows")]))
    parts += [f"Mind: {plain(words)}" for words in seen["warnings"]]
    return "\n".join(parts)


def _summary_words(lines: list[dict[str, str]]) -> str:
    return "\n".join(f"{one['what'] + ':':<15}{plain(one['words'])}" for one in lines)
