"""`openstall exchange`: signed objects from hand to hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import size_words, table
from openstall.market.errors import OpenstallError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def group() -> None:
    """Signed records, orders, messages and letters by file, text or QR picture."""


@group.command()
@click.option("--records", multiple=True, metavar="mine|CID", help="Your own records, or these.")
@click.option(
    "--order", "order_id", default="", help="An order with its papers, and what was written about it."
)
@click.option("--outbox", is_flag=True, help="Everything that waits for others, sealed for each.")
@click.option("--package", is_flag=True, help="Of --order: its encrypted package, as a file of its own.")
@click.argument("file", type=_FILE)
@command
def export(
    cli: Cli, file: Path, records: tuple[str, ...], order_id: str, *, outbox: bool, package: bool
) -> None:
    """Write signed objects to a new FILE, to be carried or sent by any way."""
    if not (records or order_id or outbox or package):
        raise OpenstallError(
            "nothing_chosen", "Say what to export.", "--records mine, --order ID or --outbox"
        )
    path = str(file.resolve())
    if package:
        if records or outbox or not order_id:
            raise OpenstallError("package_alone", "A package goes into a file of its own.", "Name its order.")
        done = cli.api.operate("/v1/exchange/export-package", cli.output, path=path, order_id=order_id)
    else:
        done = cli.api.post(
            "/v1/exchange/export", path=path, records=list(records), order_id=order_id, outbox=outbox
        )
    words = ", ".join(f"{count} {kind}" for kind, count in done["objects"].items())
    cli.output.document(done, f"{done['path']}: {words}; {size_words(done['bytes'])}.")


@group.command(name="import")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--text", help="A pasted text in the place of a file.")
@command
def take_in(cli: Cli, file: Path | None, text: str | None) -> None:
    """Take in FILE, each object as if it came from the network; status 1 if nothing of it was taken."""
    if (file is None) == (text is None):
        raise OpenstallError("nothing_chosen", "Name a file, or give a text with --text.", "")
    if file is not None:
        found = cli.api.operate("/v1/exchange/import", cli.output, path=str(file.resolve()))
    else:
        found = cli.api.post("/v1/exchange/import-text", text=text)
    cli.output.document(found, _page(found))
    if not found["taken"]:
        raise OpenstallError("nothing_taken", "Nothing of it was taken in.", "The list says why.")


@group.command()
@click.option("--invitation", "what", flag_value="invitation", help="To your group.")
@click.option("--address", "what", flag_value="address", help="Of this node.")
@click.option("--acceptance", "order_id", metavar="ORDER", help="The seller's signature on an order.")
@command
def qr(cli: Cli, what: str | None, order_id: str | None) -> None:
    """Show a small text as a QR picture in the terminal, and the text below it."""
    from openstall.app.services.exchange.picture import in_terminal

    if (what is None) == (order_id is None):
        raise OpenstallError("nothing_chosen", "Say what to show.", "--invitation, --address or --acceptance")
    found = cli.api.get("/v1/exchange/qr", what=what or "acceptance", order_id=order_id or "")
    cli.output.document(found, f"{in_terminal(found['rows'])}\n{found['text']}")


def _page(found: dict[str, Any]) -> str:
    items = [{**one, "mark": "taken" if one["taken"] else "REFUSED"} for one in found["items"]]
    columns = [("KIND", "kind"), ("", "mark"), ("WHAT", "words")]
    return f"{table(items, columns)}\n{found['taken']} taken in, {found['refused']} refused."
