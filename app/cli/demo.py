"""`openstall demo`: the whole market on this computer, with real money movements in play money."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command


@click.command()
@click.option("--headless", is_flag=True, help="Open no window at the end.")
@click.option(
    "--try",
    "try_it",
    is_flag=True,
    help="Only set the market up; the desktop opens on the buyer's side, and you buy.",
)
@click.option("--leashed", is_flag=True, hidden=True)
@click.option("--no-pictures", is_flag=True, help="Take no pictures of the desktop.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the three homes, the pictures and the receipt; emptied first.",
)
@command
def group(cli: Cli, headless: bool, try_it: bool, leashed: bool, no_pictures: bool, out: Path) -> None:
    """Three peers trade: one rents out its machine, one trains and sells a model, one buys it."""
    from openstall.app.demo.main import run_demo, try_demo
    from openstall.app.demo.receipt import print_receipt

    if try_it:
        try_demo(
            out.resolve(),
            headless=headless,
            leashed=leashed,
            tell=lambda words, took_s: cli.output.line(
                {"step": words, "seconds": None if took_s is None else round(took_s, 2)},
                f"… {words}" if took_s is None else f"  done in {took_s:.1f} s",
            ),
            opened=lambda market: cli.output.line(market, _open_words(market)),
        )
        return
    run_demo(
        out.resolve(),
        headless=headless,
        pictures=not no_pictures,
        show=lambda receipt: cli.output.document(receipt, print_receipt(receipt)),
    )


def _open_words(market: dict[str, Any]) -> str:
    homes = "\n".join(f"  {name:<10}{home}" for name, home in market["homes"].items())
    return (
        f"The demo market is open. You are the buyer; each peer has a home of its own:\n{homes}\n"
        f"Rows to check a model on: {market['rows']}\n"
        "It ends when the buyer's desktop is closed, or by Ctrl-C."
    )
