"""`openstall evaluator`: measure models for others, or not."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command


@click.group()
def group() -> None:
    """Measure models made to order where a request names your wallet; off until you agree."""


def _switch(name: str, words: str, help_text: str) -> click.Command:
    @click.command(name=name, help=help_text)
    @command
    def verb(cli: Cli) -> None:
        cli.output.document(cli.api.post("/v1/evaluator", on=name == "on"), words)

    return verb


group.add_command(
    _switch("on", "Your node measures models where a request names your wallet.", "Agree to be an evaluator.")
)
group.add_command(_switch("off", "Your node takes on nothing new as an evaluator.", "Take on nothing new."))


@group.command()
@command
def show(cli: Cli) -> None:
    """Whether you have agreed."""
    found = cli.api.get("/v1/evaluator")
    cli.output.document(found, "on" if found["on"] else "off: only your own requests are measured here")


@group.command(name="list")
@command
def list_(cli: Cli) -> None:
    """Who in the group has agreed; a request names their wallets."""
    items = cli.api.get("/v1/catalogue", type="peer", limit=200)["items"]
    found = [
        {
            "wallet": one["body"]["wallet"],
            "name": one["author_name"],
            "peer": one["author"],
            "mine": one["mine"],
        }
        for one in items
        if one["body"].get("evaluates")
    ]
    answer = {"items": found, "total": len(found)}
    cli.output.rows(
        answer, [("name", "name"), ("wallet", "wallet")], empty="Nobody in the group measures for others now."
    )
