"""`openstall peers banned|ban|unban`: who is shut out of this node."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.who import print_warnings, sign_names

HOUR_S = 3600


@click.command()
@command
def banned(cli: Cli) -> None:
    """Who is shut out, why, and until when."""
    found = cli.api.get("/v1/peers/banned")
    if not cli.output.as_json:
        sign_names(found["items"], "name", "marks")
    cli.output.rows(
        found,
        [
            ("NAME", "name"),
            ("WHO", "what"),
            ("BY", "by"),
            ("WHY", "reason"),
            ("SINCE", "since"),
            ("UNTIL", "until"),
        ],
        empty="Nobody is shut out.",
    )
    if not cli.output.as_json:
        print_warnings(found["items"], "name", "marks")


@click.command()
@click.argument("what")
@click.option("--reason", default="", help="For yourself, at most 200 characters.")
@click.option("--hours", type=click.IntRange(1, 87_600), help="For so many hours (for good).")
@command
def ban(cli: Cli, what: str, reason: str, hours: int | None) -> None:
    """Shut WHAT out: the id of a peer, or a network such as 192.0.2.0/24."""
    found = cli.api.post("/v1/peers/ban", what=what, reason=reason, for_s=HOUR_S * (hours or 0))
    until = "for good" if found["until"] is None else f"for {hours} hours"
    words = f"{found['what']} is shut out {until}. Open orders with it can go on by the chain alone."
    cli.output.document(found, words)


@click.command()
@click.argument("what")
@command
def unban(cli: Cli, what: str) -> None:
    """Let WHAT in again."""
    found = cli.api.post("/v1/peers/unban", what=what)
    cli.output.document(found, f"{found['what']} may come in again.")
