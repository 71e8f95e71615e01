"""`openstall [--home DIR] [--json] <noun> <verb>`: the entry point.

Each noun is a module of this package with a click group `group`; it is imported when it is used, so that
`openstall wallet show` does not wait for what `openstall node run` needs.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from openstall.app.cli.context import Cli
from openstall.app.cli.output import Output
from openstall.app.paths import Home

NOUNS = {
    "node": "Run, start, stop, look at the node.",
    "wallet": "Your identity and your credits.",
    "chain": "The group that you trade in: create, join, invite.",
    "catalogue": "Search models, machines and peers.",
    "peers": "Other nodes.",
    "outbox": "What waits to be sent.",
    "exchange": "Signed records, orders and letters by file.",
    "mailbox": "Letters for peers that are off.",
    "model": "Check, publish, buy and run models.",
    "developer": "Offer to build models, and see who asks for one.",
    "compute": "Rent this machine out.",
    "rig": "Let this machine work for your node on another computer.",
    "job": "Run a job on a rented machine.",
    "request": "Ask for a model that does not exist yet.",
    "contest": "Enter a contest for the best model, and see who won.",
    "bid": "Bid to build a model that others ask for.",
    "evaluator": "Measure models for others, or not.",
    "order": "Where each order stands, and what you may do.",
    "blobs": "The files kept here: what stays and why, limits, sharing.",
    "doctor": "Is this machine fit to run jobs?",
    "demo": "The whole market on this computer, in play money.",
}


class Nouns(click.Group):
    """Imports a noun's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The nouns in the order of the help page."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The noun's group."""
        if cmd_name not in NOUNS:
            return None
        group = importlib.import_module(f"openstall.app.cli.{cmd_name}").group
        if not isinstance(group, click.Command):
            return None
        _take_json(group)
        return group

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Help without importing anything."""
        with formatter.section("Nouns"):
            formatter.write_dl(list(NOUNS.items()))


def _take_json(command: click.Command) -> None:
    """Let every verb take `--json` at its own end too, where people look for it."""
    if isinstance(command, click.Group):
        for verb in command.commands.values():
            _take_json(verb)
    elif not any(option.name == "as_json" for option in command.params):
        command.params.append(
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                expose_value=False,
                callback=_set_json,
                help="One JSON document on standard output.",
            )
        )


def _set_json(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.find_root().obj.output.as_json = True


@click.command(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Home folder of the node.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.version_option(package_name="openstall")
@click.pass_context
def main(ctx: click.Context, home: Path | None, as_json: bool) -> None:
    """Trade AI models and the compute that makes them, with peers."""
    ctx.obj = Cli(home=Home(home.resolve()) if home else Home.default(), output=Output(as_json))


if __name__ == "__main__":
    main()
