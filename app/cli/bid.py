"""`openstall bid`: sealed bids for models that others ask for."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command
from openstall.market.money import format_amount, parse_amount


@click.group()
def group() -> None:
    """Bid to build a model: nobody can read a bid before all are opened."""


@group.command()
@click.argument("request_cid")
@click.option("--amount", required=True, help="What you ask for the model, in credits.")
@command
def place(cli: Cli, request_cid: str, amount: str) -> None:
    """Make a sealed bid for the request REQUEST_CID; its deposit is set aside until you open it."""
    found = cli.api.post(f"/v1/requests/{request_cid}/bid", amount_micro=parse_amount(amount))
    deposit = format_amount(found["deposit_micro"])
    cli.output.document(found, f"Your bid is sealed. The deposit of {deposit} comes back when it is opened.")


@group.command(name="list")
@command
def list_bids(cli: Cli) -> None:
    """The requests that you bid for, newest first."""
    found = cli.api.get("/v1/bids")
    cli.output.rows(
        found,
        [
            ("TITLE", "title"),
            ("STATE", "state"),
            ("YOUR BID", "own_bid.amount_micro"),
            ("OUTCOME", "own_bid.state"),
            ("PRICE", "price_micro"),
            ("REQUEST", "request"),
        ],
        empty="You have made no bid yet: openstall catalogue search --type request.",
    )
