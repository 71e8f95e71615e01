"""`openstall job average`: a round of federated averaging, put together."""

from __future__ import annotations

from pathlib import Path

import click

from openstall.app.cli.context import Cli, command

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("orders", nargs=-1, required=True)
@click.option(
    "--weights", type=click.Path(path_type=Path, dir_okay=False), help="What the round started from."
)
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
@command
def average(cli: Cli, orders: tuple[str, ...], weights: Path | None, folder: Path) -> None:
    """Add up what came back from the federate jobs ORDERS of one round; new weights and a model."""
    done = cli.api.operate(
        "/v1/rounds/average",
        cli.output,
        orders=list(orders),
        weights=str(weights.resolve()) if weights else None,
        folder=str(folder.resolve()),
    )
    parties = done["report"]["parties"]
    lines = [f"{len(parties)} parties, {sum(one['rows'] for one in parties)} rows", f"In {done['folder']}:"]
    lines += ["  global.safetensors: the weights of the next round", "  model.onnx: the model as it is now"]
    cli.output.document(done, "\n".join(lines))
