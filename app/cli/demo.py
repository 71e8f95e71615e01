"""`openstall demo`: the whole market on this computer, with real money movements in play money."""

from __future__ import annotations

from pathlib import Path

import click

from openstall.app.cli.context import Cli, command


@click.command()
@click.option("--headless", is_flag=True, help="Open no window at the end.")
@click.option("--no-pictures", is_flag=True, help="Take no pictures of the desktop.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the three homes, the pictures and the receipt; emptied first.",
)
@command
def group(cli: Cli, headless: bool, no_pictures: bool, out: Path) -> None:
    """Three peers trade: one rents out its machine, one trains and sells a model, one buys it."""
    from openstall.app.demo.main import run_demo
    from openstall.app.demo.receipt import print_receipt

    run_demo(
        out.resolve(),
        headless=headless,
        pictures=not no_pictures,
        show=lambda receipt: cli.output.document(receipt, print_receipt(receipt)),
    )
