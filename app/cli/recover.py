"""`openstall order recover` and `papers`: the books of an order made again from what was signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import fields, plain


@click.command()
@click.argument("order_id")
@click.option(
    "--from", "peers", multiple=True, metavar="PEER", help="Whom to ask for an order that your books lost."
)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the papers in this file; nobody is asked then.",
)
@command
def recover(cli: Cli, order_id: str, peers: tuple[str, ...], path: Path | None) -> None:
    """Bring your books of an order to what both sides have signed and the chain shows.

    Nothing is signed or paid by it, and no sum is lowered: it may be done at any time, and again.
    """
    done = cli.api.operate(
        f"/v1/orders/{order_id}/recover",
        cli.output,
        peers=list(peers),
        path=None if path is None else str(path.resolve()),
    )
    cli.output.document(done, _page(done) if not cli.output.as_json else None)


@click.command()
@click.argument("order_id")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path, dir_okay=False))
@command
def papers(cli: Cli, order_id: str, path: Path) -> None:
    """Write all that you hold of an order that somebody signed to a new file, for the other side."""
    done = cli.api.post(f"/v1/orders/{order_id}/papers", path=str(path.resolve()))
    cli.output.document(done, f"The papers are in {done['path']}: openstall order recover --file reads them.")


def _page(done: dict[str, Any]) -> str:
    asked = [
        f"{_who(one['role'])}: " + ("answered" if one["answered"] else plain(one["fault"]["message"]))
        for one in done["asked"]
    ]
    found = [f"{plain(one['words'])} (from: {_who(one['source'])})" for one in done["found"]]
    head = {
        "order": done["order_id"],
        "before": done["before"] or "not in your books",
        "now": f"{done['state']}: {done['state_words']}" if done["state"] else "not in your books",
        "asked": asked or None,
        "was missing": found or "nothing",
        "chain": done["chain"] and plain(done["chain"]["message"]),
        "what next": done["what_next"],
    }
    return fields({name: value for name, value in head.items() if value})


def _who(role: str) -> str:
    return "the peer you named" if role == "named" else plain(role)
