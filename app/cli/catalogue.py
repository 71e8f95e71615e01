"""`openstall catalogue`: search what peers offer."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain
from openstall.app.cli.who import print_warnings, sign_names, signed_name, warnings
from openstall.market.money import format_amount

_MIB = 2**20
_TRUST_WORDS = {
    "own": "your own",
    "traded": "of peers you have orders with",
    "seen": "of peers you were connected to",
    "stranger": "of strangers",
}


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
        sign_names(found["items"])
        for item in found["items"]:
            if item["contradicted"]:
                item["author_name"] += " (contradicted itself)"
    cli.output.rows(
        found,
        [("TITLE", "title"), ("TYPE", "type"), ("BY", "author_name"), ("PRICE", "price"), ("CID", "cid")],
        empty="Nothing found. Are you in a group (chain show), and connected (peers list)?",
    )
    if not cli.output.as_json:
        print_warnings(found["items"])


@group.command()
@click.argument("cid")
@command
def show(cli: Cli, cid: str) -> None:
    """One record in full."""
    cli.output.document(cli.api.get(f"/v1/catalogue/{cid}"))


@group.command()
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@command
def contradictions(cli: Cli, limit: int) -> None:
    """Authors caught signing two things that cannot both be; any peer can check the proof."""
    found = cli.api.get("/v1/catalogue/contradictions", limit=limit)
    if not cli.output.as_json:
        for item in found["items"]:
            item["numbers"] = " and ".join(str(one["seq"]) for one in item["records"])
        sign_names(found["items"])
    cli.output.rows(
        found,
        [("AUTHOR", "author_name"), ("PEER", "author"), ("WHAT", "words"), ("RECORDS", "numbers")],
        empty="Nobody in the catalogue has contradicted itself.",
    )
    if not cli.output.as_json:
        print_warnings(found["items"])


@group.command()
@click.option("--cap-mib", type=click.IntRange(16, 2**20), help="Change the room, in MiB of records.")
@command
def storage(cli: Cli, cap_mib: int | None) -> None:
    """What the catalogue keeps, of whom, and how complete it is. Strangers' records go first."""
    if cap_mib is not None:
        cli.api.post("/v1/catalogue/storage", cap_bytes=cap_mib * _MIB)
    state = cli.api.get("/v1/catalogue/state")
    cli.output.document(state, _storage_words(state))


def _storage_words(state: dict[str, Any]) -> str:
    kept = f"{state['records']} records, {_mib(state['used_bytes'])} of {_mib(state['cap_bytes'])}"
    lines = [f"{kept}; {_mib(state['file_bytes'])} on the disk with everything else in the store"]
    for level, words in _TRUST_WORDS.items():
        part = state["by_trust"][level]
        if part["records"]:
            lines.append(f"  {words}: {part['records']} records by {part['authors']}, {_mib(part['bytes'])}")
    if not state["peers"]:
        lines.append("No peer of the group is connected: nobody to compare with.")
    lines += [f"  {plain(signed_name(peer))}: {_standing(peer)}" for peer in state["peers"]]
    lines += [f"  {line}" for peer in state["peers"] for line in warnings(peer, "name", "marks")]
    if state["contradictions"]:
        lines.append(
            f"{state['contradictions']} authors have contradicted themselves: catalogue contradictions"
        )
    lines += [f"  refused since the start, {why}: {count}" for why, count in state["refused"].items()]
    return "\n".join(lines)


def _standing(peer: dict[str, Any]) -> str:
    if not peer["checked_at"]:
        return "not compared yet"
    if peer["equal"]:
        return "holds the same"
    return "holds nothing that is missing here" if peer["complete"] else "holds records that are missing here"


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"


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
