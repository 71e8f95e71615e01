"""`openstall peers`: whom this node is connected to."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command


@click.group()
def group() -> None:
    """Other nodes."""


@group.command(name="list")
@command
def list_peers(cli: Cli) -> None:
    """Connected peers."""
    cli.output.rows(
        cli.api.get("/v1/peers"),
        [
            ("NAME", "name"),
            ("PEER", "peer_id"),
            ("ADDRESS", "addr"),
            ("WAY", "direction"),
            ("LATENCY", "latency_ms"),
        ],
        empty="Not connected to anybody. Connect: openstall peers connect /ip4/…/tcp/…/p2p/…",
    )


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
