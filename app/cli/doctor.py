"""`openstall doctor`: is this machine fit to run jobs of strangers?"""

from __future__ import annotations

import sys

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import table


@click.command()
@command
def group(cli: Cli) -> None:
    """Check the sandbox with real jobs; exit status 1 if jobs would be refused."""
    done = cli.api.operate("/v1/compute/doctor", cli.output)
    columns = [("CHECK", "name"), ("OK", "ok"), ("SEVERITY", "severity"), ("CAUSE", "cause"), ("FIX", "fix")]
    cli.output.document(done, table(done["checks"], columns))
    if not done["ok"]:
        sys.exit(1)
