"""`openstall mailbox`: letters for peers that are off."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import fields, plain, size_words
from openstall.app.cli.who import signed_name, warnings


@click.group()
def group() -> None:
    """Letters for peers that are off: yours elsewhere, and others' with you."""


@group.command()
@command
def show(cli: Cli) -> None:
    """Who keeps your letters, and what you keep for others."""
    found = cli.api.get("/v1/mailbox")
    cli.output.document(found, _page(found))


@group.command()
@click.argument("choice", type=click.Choice(["on", "off"]))
@command
def serve(cli: Cli, choice: str) -> None:
    """Keep letters for members of your group that are off, or not."""
    found = cli.api.post("/v1/mailbox/serve", on=choice == "on")
    cli.output.document(found, _page(found))


@group.command()
@click.argument("peers", nargs=-1, metavar="[PEER]…")
@command
def use(cli: Cli, peers: tuple[str, ...]) -> None:
    """Have your letters kept by up to three PEERs; without any, by the host of your group."""
    found = cli.api.post("/v1/mailbox/use", peers=list(peers))
    cli.output.document(found, _page(found))


def _page(found: dict[str, Any]) -> str:
    kept = found["kept"]
    own = "; ".join(_box(box) for box in found["mine"]) or "nobody: you get letters while you are on"
    held = f"{kept['letters']} letters for {kept['peers']} peers, {size_words(kept['bytes'])}"
    page = fields(
        {
            "your letters": own,
            "for others": "you keep letters" if found["serves"] else "you keep none",
            "kept now": held,
        }
    )
    return "\n".join([page, *(line for box in found["mine"] for line in warnings(box, "name", "marks"))])


def _box(box: dict[str, Any]) -> str:
    trouble = f" ({plain(box['trouble'])})" if box["trouble"] else ""
    return f"kept by {plain(signed_name(box))}{trouble}"
