"""`openstall job serve` and `openstall job ask`: a rented model that answers."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.market.errors import OpenstallError


@click.command()
@click.argument("order_id")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On 127.0.0.1; 0 takes a free one.")
@click.option("--close", "closing", is_flag=True, help="Close it; the job goes on.")
@command
def serve(cli: Cli, order_id: str, port: int, closing: bool) -> None:
    """Open an endpoint in the manner of the OpenAI API, on this computer only."""
    if closing:
        cli.output.document(cli.api.post(f"/v1/orders/{order_id}/endpoint/close"), "Closed. The job goes on.")
        return
    found = cli.api.post(f"/v1/orders/{order_id}/endpoint", port=port)
    lines = (
        f"Address: {found['base_url']}",
        f"Key: {found['key']}",
        f"Model: {found['model']}",
        *_moved(found),
        "It comes back with the same key when your node starts again, unless its port is taken by then.",
        "It closes when the job has ended. Each second is paid until then, also while nobody asks.",
    )
    cli.output.document(found, "\n".join(lines))


def _moved(found: dict[str, Any]) -> list[str]:
    if found["moved_from"] is None:
        return []
    taken = (
        "It was at port {} before your node started again; another program has that port now, and your "
        "programs may have shown it the old key: address and key are new."
    )
    return [taken.format(found["moved_from"])]


@click.command()
@click.argument("order_id")
@command
def ask(cli: Cli, order_id: str) -> None:
    """Ask the job: JSON lines in, JSON lines out, in the same order."""
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            question = json.loads(line)
        except ValueError as error:
            raise OpenstallError(
                "bad_question", f"Line {number} is no JSON: {error}.", 'Write {"rows": [[1, 2]]}.'
            ) from error
        answer = cli.api.post(f"/v1/orders/{order_id}/ask", question=question)
        cli.output.line(answer, json.dumps(answer))
