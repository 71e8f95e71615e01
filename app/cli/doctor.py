"""`openstall doctor`: is this machine fit to run jobs of strangers?"""

from __future__ import annotations

import sys
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain
from openstall.market.errors import OpenstallError


@click.command()
@click.option(
    "--untried", is_flag=True, help="macOS, Windows: try the sandbox that nobody has run; no job follows."
)
@command
def group(cli: Cli, untried: bool) -> None:
    """Check the sandbox with real jobs; exit status 1 if jobs would be refused. Needs no running node."""
    if untried:
        cli.output.document(_trial())
        return
    done = _findings(cli)
    cli.output.document(done, _page(done))
    if not done["ok"]:
        sys.exit(1)


def _trial() -> dict[str, Any]:
    from openstall.app.services.compute import try_untried

    return try_untried()


def _findings(cli: Cli) -> dict[str, Any]:
    try:
        api = cli.api
    except OpenstallError as error:
        if error.code != "node_not_running":
            raise
    else:
        return api.operate("/v1/compute/doctor", cli.output)
    import trio

    from openstall.app.services.compute import DOCTOR_WORDS, examine_without_node

    cli.output.progress(DOCTOR_WORDS)
    try:
        return trio.run(examine_without_node)
    finally:
        cli.output.end_progress()


def _page(done: dict[str, Any]) -> str:
    """Whole sentences: a fix that is cut off helps nobody."""
    lines = []
    for check in done["checks"]:
        mark = "ok" if check["ok"] else check["severity"]
        lines.append(f"{mark:<8} {plain(check['name'])}: {plain(check['cause'])}")
        if check["fix"] and not check["ok"]:
            lines.append(f"{'':<8} → {plain(check['fix'])}")
    fit = (
        f"Fit to run jobs; the sandbox is of the {done['tier']} tier."
        if done["ok"]
        else "Not fit to run jobs yet."
    )
    return "\n".join([*lines, "", fit])
