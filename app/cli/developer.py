"""`openstall developer`: offer to build models to order."""

from __future__ import annotations

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.request import print_matches


@click.group()
def group() -> None:
    """Your card as a developer, and who asks for a model that you could build."""


@group.command("set")
@click.option("--title", required=True, help="What you build, in one line.")
@click.option("--skills", required=True, help="What you know, in your own words, to be matched by.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(["classification", "regression"]),
    help="Both without it.",
)
@click.option(
    "--places", type=click.IntRange(0, 1_000), default=1, show_default=True, help="Orders taken now."
)
@command
def set_(cli: Cli, title: str, skills: str, tasks: tuple[str, ...], places: int) -> None:
    """Publish your card, or a new one in its place."""
    chosen = list(tasks) or ["classification", "regression"]
    done = cli.api.post("/v1/developer", title=title, skills=skills, tasks=chosen, places=places)
    cli.published(done, f"Published: {done['cid']}")


@group.command()
@command
def show(cli: Cli) -> None:
    """Your card."""
    cli.output.document(cli.api.get("/v1/developer"))


@group.command()
@command
def off(cli: Cli) -> None:
    """Take your card back."""
    cli.output.document(cli.api.post("/v1/developer/off"), "Your card is withdrawn.")


@group.command()
@command
def inbox(cli: Cli) -> None:
    """Open requests that you could build, best first, and why."""
    print_matches(cli, cli.api.get("/v1/developer/inbox"), empty="No open request fits your card.")
