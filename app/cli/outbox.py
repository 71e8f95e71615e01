"""`openstall outbox`: what waits to be sent."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.who import print_warnings, sign_names


@click.group()
def group() -> None:
    """What waits until others, or the chain, can be reached."""


@group.command(name="list")
@command
def list_items(cli: Cli) -> None:
    """Everything that waits, oldest first."""
    found = cli.api.get("/v1/outbox")
    if not cli.output.as_json:
        sign_names(found["items"], "to_name", "to_marks")
    cli.output.rows(
        found,
        [
            ("WHAT", "what"),
            ("TO", "to_name"),
            ("SINCE", "written_at"),
            ("UNTIL", "expires"),
            ("WHERE", "state_words"),
            ("WHY", "trouble"),
            ("ID", "id"),
        ],
        empty="Nothing waits: everything was sent.",
    )
    if not cli.output.as_json:
        print_warnings(found["items"], "to_name", "to_marks")


@group.command()
@click.argument("item_id", metavar="ID")
@command
def drop(cli: Cli, item_id: str) -> None:
    """Take back ID: step back from an order that was not signed, or withdraw a record."""
    cli.output.document(cli.api.post(f"/v1/outbox/{item_id}/drop"), "Taken back.")
