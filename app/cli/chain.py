"""`openstall chain`: the group and its chain."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command, read_secret


@click.group()
def group() -> None:
    """The group that you trade in, and the chain that holds its money."""


@group.command()
@click.argument("name")
@command
def create(cli: Cli, name: str) -> None:
    """Host a new group called NAME; its chain runs in this node."""
    made = cli.api.operate("/v1/group/create", cli.output, name=name)
    cli.output.document(
        made, f"The group “{made['name']}” is open.\n{made['banner']}\n\nInvitation:\n{made['invitation']}"
    )


@group.command()
@click.argument("invitation", required=False)
@click.option(
    "--file", "file", type=click.Path(allow_dash=True), help="File with the invitation (-: standard input)."
)
@command
def join(cli: Cli, invitation: str | None, file: str | None) -> None:
    """Join by an INVITATION (openstall:group:…)."""
    text = invitation or read_secret("Invitation", file)
    joined = cli.api.operate("/v1/group/join", cli.output, invitation=text)
    cli.output.document(joined, f"You are in the group “{joined['name']}”.\n{joined['banner']}")


@group.command()
@click.option(
    "--rpc-url-file", type=click.Path(allow_dash=True), help="File with the RPC address (-: standard input)."
)
@click.option("--credit", required=True, help="Address of the ERC-20 that is paid with.")
@click.option("--escrow", required=True, help="Address of OrderEscrow.")
@click.option("--channel", required=True, help="Address of MeteredChannel.")
@click.option("--bond", default="", help="Address of ProviderBond, where there is one.")
@click.option("--auction", default="", help="Address of SealedBidAuction, where there is one.")
@click.option("--model-escrow", default="", help="Address of ModelEscrow, where there is one.")
@click.option("--contest", default="", help="Address of Contest, where there is one.")
@click.option("--confirmations", type=int, default=3, show_default=True)
@click.option(
    "--first-block", type=int, default=0, help="Block of the oldest of these contracts; spares long searches."
)
@command
def public(
    cli: Cli,
    rpc_url_file: str | None,
    credit: str,
    escrow: str,
    channel: str,
    bond: str,
    auction: str,
    model_escrow: str,
    contest: str,
    confirmations: int,
    first_block: int,
) -> None:
    """Use a public chain. Its RPC address is asked for, as it often holds a key."""
    joined = cli.api.post(
        "/v1/group/public",
        rpc_url=read_secret("RPC address", rpc_url_file).strip(),
        credit=credit,
        escrow=escrow,
        channel=channel,
        bond=bond,
        auction=auction,
        model_escrow=model_escrow,
        contest=contest,
        confirmations=confirmations,
        first_block=first_block,
    )
    cli.output.document(joined, f"You trade on {joined['name']}.")


@group.command()
@command
def show(cli: Cli) -> None:
    """Name, height, host, contracts."""
    cli.output.document(cli.api.get("/v1/group"))


@group.command()
@command
def invite(cli: Cli) -> None:
    """Print the invitation."""
    found = cli.api.get("/v1/group")
    cli.output.document({"invitation": found["invitation"]}, found["invitation"] or "There is no group yet.")
