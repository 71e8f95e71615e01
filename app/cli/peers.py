"""`openstall peers`: whom this node is connected to."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli import bans
from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain, size_words
from openstall.app.cli.who import print_warnings, sign_names, signed_name, warnings


@click.group()
def group() -> None:
    """Other nodes."""


@group.command(name="list")
@command
def list_peers(cli: Cli) -> None:
    """Connected peers."""
    found = cli.api.get("/v1/peers")
    if not cli.output.as_json:
        sign_names(found["items"], "name", "marks")
    cli.output.rows(
        found,
        [
            ("NAME", "name"),
            ("PEER", "peer_id"),
            ("ADDRESS", "addr"),
            ("WAY", "direction"),
            ("PATH", "path"),
            ("LATENCY", "latency_ms"),
        ],
        empty="Not connected to anybody. Connect: openstall peers connect /ip4/…/tcp/…/p2p/…",
    )
    if not cli.output.as_json:
        print_warnings(found["items"], "name", "marks")


@group.command()
@command
def own(cli: Cli) -> None:
    """This node's own addresses."""
    found = cli.api.get("/v1/peers")["self"]
    cli.output.document(found, "\n".join(found["addrs"]))


@group.command()
@click.argument("addr")
@command
def connect(cli: Cli, addr: str) -> None:
    """Connect to ADDR (…/p2p/<peer id>) now and at every start."""
    found = cli.api.post("/v1/peers/connect", addr=addr)
    cli.output.document(found, f"Connected to {found['name'] or found['peer_id']}.")


@group.command()
@command
def reach(cli: Cli) -> None:
    """Whether others can reach this node, and the way to each peer."""
    found = cli.api.get("/v1/peers/reach")
    cli.output.document(found, reach_words(found))


def reach_words(found: dict[str, Any]) -> str:
    """The answer for a person."""
    how = " Connect: openstall peers connect ADDRESS" if found["state"] in ("local", "cut_off") else ""
    lines = [found["sentence"], f"{found['what_next']}{how}", ""]
    lines += [f"Reached at {addr}" for addr in found["proven"]]
    lines += [f"Seen at {one['host']} by {one['peers']} peers" for one in found["seen"]]
    lines += [f"Relay: {plain(signed_name(one))}" for one in found["relays"]]
    if found["ports_vary"]:
        lines.append("The router gives each connection another port, so holes cannot be punched through it.")
    use = found["relay"]
    if use is not None and use["serving"]:
        lines.append(
            f"Relays for others: {use['reservations']} places taken, {use['circuits']} circuits open, "
            f"{size_words(use['carried'])} carried."
        )
    lines += [
        f"{plain(signed_name(one))}: {one['path']}, {size_words(one['received'])} in, "
        f"{size_words(one['sent'])} out"
        for one in found["peers"]
    ]
    named = {one["peer_id"]: one for one in found["relays"] + found["peers"]}
    lines += [line for one in named.values() for line in warnings(one, "name", "marks")]
    return "\n".join(line for at, line in enumerate(lines) if line or at == 2)


for verb in (bans.banned, bans.ban, bans.unban):
    group.add_command(verb)
