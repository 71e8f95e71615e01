"""`openstall job batch` and `openstall job batches`: one model on many tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.market.errors import OpenstallError
from openstall.market.money import format_amount, parse_amount

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("model", type=_FILE)
@click.argument("tables", nargs=-1, required=True, type=_FILE)
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--cap", required=True, help="The most that you pay for all of it, in credits.")
@click.option("--rows", type=int, default=0, help="Cut a single table into parts of so many rows.")
@click.option("--label", default="", help="Column with the right answers, if there is one.")
@click.option("--offer", "offers", multiple=True, help="Only the provider of this offer; repeat.")
@click.option("--max-price", default="0", help="Only providers that ask no more per second, in credits.")
@click.option("--max-s", type=int, default=600, show_default=True, help="Longest run of a part in seconds.")
@click.option("--at-once", type=int, default=2, show_default=True, help="Parts that run at once.")
@click.option("--tries", type=int, default=3, show_default=True, help="Times that a part is tried.")
@command
def batch(
    cli: Cli,
    model: Path,
    tables: tuple[Path, ...],
    folder: Path,
    cap: str,
    rows: int,
    label: str,
    offers: tuple[str, ...],
    max_price: str,
    max_s: int,
    at_once: int,
    tries: int,
) -> None:
    """Run MODEL on TABLES, spread over providers; the results come into one folder."""
    done = cli.api.post(
        "/v1/batches",
        model=str(model.resolve()),
        files=[str(table.resolve()) for table in tables],
        folder=str(folder.resolve()),
        cap_micro=parse_amount(cap),
        rows_per_part=rows,
        label=label,
        offers=list(offers),
        max_price_micro=parse_amount(max_price),
        max_s=max_s,
        at_once=at_once,
        tries=tries,
    )
    batch_id = done["batch_id"]
    cli.output.document(done, f"Started: {batch_id}\nLook at it: openstall job batches {batch_id}")


@click.command()
@click.argument("batch_id", required=False)
@click.option("--cancel", is_flag=True, help="Order nothing more, and stop what runs.")
@command
def batches(cli: Cli, batch_id: str | None, cancel: bool) -> None:
    """All batches, or one with its parts."""
    if batch_id is None:
        if cancel:
            raise OpenstallError("no_batch", "Name the batch that is to be cancelled.")
        found = cli.api.get("/v1/batches")
        lines = [_line(item) for item in found["items"]]
        cli.output.document(found, "\n".join(lines) or "There are no batches.")
        return
    path = f"/v1/batches/{batch_id}"
    one = cli.api.post(f"{path}/cancel") if cancel else cli.api.get(path)
    lines = [_line(one), f"results: {one['folder']}"]
    lines += [f"  {part['name']}  {part['state']}  {part['words']}".rstrip() for part in one["parts"]]
    if one["trouble"]:
        lines.append(one["trouble"]["message"])
    cli.output.document(one, "\n".join(lines))


def _line(item: dict[str, Any]) -> str:
    spent = f"{format_amount(item['spent_micro'])} of {format_amount(item['cap_micro'])}"
    counts = f"{item['done']} of {item['total']} done, {item['failed']} failed"
    return f"{item['batch_id']}  {item['state']}  {counts}  {spent}  {item['model']}"
