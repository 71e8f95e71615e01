"""`openstall order`: what is written about an order, and the evidence that is shown about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, plain, table
from openstall.app.cli.who import leads_outside
from openstall.market.errors import OpenstallError

_MARKS = {True: "holds", False: "DOES NOT HOLD", None: "not decided"}


@click.command()
@click.argument("order_id")
@click.argument("text")
@command
def say(cli: Cli, order_id: str, text: str) -> None:
    """Write TEXT to the other side of an order; while a dispute is open its arbiter reads it too."""
    done = cli.api.post(f"/v1/orders/{order_id}/say", text=text)
    cli.output.document(done, "Written. It is sent by itself, also when the other side comes back later.")


@click.command()
@click.argument("order_id")
@click.option("--keep-new", is_flag=True, help="Do not mark new messages as read.")
@command
def talk(cli: Cli, order_id: str, *, keep_new: bool) -> None:
    """What buyer, seller and arbiter have written about an order, oldest first."""
    found = cli.api.get(f"/v1/orders/{order_id}/talk")
    if not keep_new:
        cli.api.post(f"/v1/orders/{order_id}/read")
    lines = [_message(item) for item in found["items"]]
    cli.output.document(found, "\n".join(lines) or "Nothing was written about this order.")


@click.command()
@click.argument("order_id")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--side", type=click.Choice(["buyer", "seller"]), help="As arbiter: whose evidence.")
@command
def evidence(cli: Cli, order_id: str, path: Path, side: str | None) -> None:
    """Write all that you can prove about an order to a new file that anybody can check."""
    done = cli.api.post(f"/v1/orders/{order_id}/evidence", path=str(path.resolve()), side=side or "")
    cli.output.document(done, f"{done['items']} pieces of evidence are in {done['path']}.")


@click.command()
@click.argument("order_id")
@command
def shown(cli: Cli, order_id: str) -> None:
    """As arbiter: what each side of a dispute has shown, and what of it holds."""
    found = cli.api.get(f"/v1/orders/{order_id}/evidence")
    pages = [_page(side) for side in found["items"]]
    cli.output.document(found, "\n\n".join(pages) or "No side has shown anything yet.")


@click.command(name="check-evidence")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@command
def check_evidence(cli: Cli, file: Path) -> None:
    """Check every signature, hash and fact in an evidence FILE; exit status 1 if one does not hold."""
    found = cli.api.post("/v1/evidence/check", path=str(file.resolve()))
    cli.output.document(found, _page(found))
    if not found["holds"]:
        raise OpenstallError("does_not_hold", "Something in this evidence does not hold.", "")


def _message(item: dict[str, Any]) -> str:
    marks = "".join([" (new)" if item["unread"] else "", " (not sent yet)" if item["waits"] else ""])
    who = f"{item['by']} (you)" if item["mine"] else item["by"]
    return "\n".join([f"{cell(item, 'at')}  {who}{marks}", _words(item), *leads_outside(item)])


def _written(item: dict[str, Any]) -> str:
    return f"{cell(item, 'at')}  {item['by']}\n{_words(item)}"


def _words(item: dict[str, Any]) -> str:
    return "\n".join(f"  {plain(line)}" for line in str(item["text"]).split("\n"))


def _page(found: dict[str, Any]) -> str:
    head = f"Shown by the {found['by']} of “{plain(found['title'])}”, {cell(found, 'at')}"
    reason = f"\nWhy the arbiter was called: {plain(found['reason'])}" if found["reason"] else ""
    findings = [{**one, "mark": _MARKS[one["holds"]]} for one in found["findings"]]
    columns = [("WHAT", "what"), ("", "mark"), ("WHAT WAS FOUND", "words")]
    written = [_written(one) for one in found["messages"]]
    return "\n\n".join([f"{head}{reason}", table(findings, columns), *written])
