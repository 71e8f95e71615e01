"""`openstall catalogue`: search what peers offer."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.market.money import format_amount


@click.group()
def group() -> None:
    """Models for sale, machines for rent, wanted models, developers, and peers."""


@group.command()
@click.argument("words", nargs=-1)
@click.option("--type", "type_", type=click.Choice(["listing", "offer", "request", "developer", "peer"]))
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@command
def search(cli: Cli, words: tuple[str, ...], type_: str | None, limit: int, offset: int) -> None:
    """Find records with all the WORDS; newest first without any."""
    found = cli.api.get("/v1/catalogue", q=" ".join(words), type=type_, limit=limit, offset=offset)
    if not cli.output.as_json:
        for item in found["items"]:
            item.update(title=_title(item), price=_price(item))
    cli.output.rows(
        found,
        [("TITLE", "title"), ("TYPE", "type"), ("BY", "author_name"), ("PRICE", "price"), ("CID", "cid")],
        empty="Nothing found. Are you in a group (chain show), and connected (peers list)?",
    )


@group.command()
@click.argument("cid")
@command
def show(cli: Cli, cid: str) -> None:
    """One record in full."""
    cli.output.document(cli.api.get(f"/v1/catalogue/{cid}"))


def _title(item: dict[str, Any]) -> str:
    body = item["body"]
    return str(body.get("title") or body.get("name") or item["key"])


def _price(item: dict[str, Any]) -> str:
    body = item["body"]
    if "price_micro" in body:
        return f"{format_amount(body['price_micro'])} cr"
    if "price_per_s_micro" in body:
        return f"{format_amount(body['price_per_s_micro'])} cr/s"
    if "budget_micro" in body:
        return f"up to {format_amount(body['budget_micro'])} cr"
    return "-"
