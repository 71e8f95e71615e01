"""`openstall compute reliability`: one's own figure, or one's own experience with a provider."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.capacity import provider_of
from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import plain, table


@click.command()
@click.argument("offer", required=False)
@command
def reliability(cli: Cli, offer: str | None) -> None:
    """How reliable this machine has been, each change explained; or the provider of an OFFER, as seen here.

    OFFER is the address of an offer, or a peer id.
    """
    path = "/v1/compute/reliability"
    found = cli.api.get(f"{path}/{provider_of(cli, offer)}" if offer else path)
    cli.output.document(found, None if cli.output.as_json else _page(found))


def _page(found: dict[str, Any]) -> str:
    parts = [found["words"]]
    if found["chain_away"]:
        parts.append("The chain is away: bonds that paid since the last look are not counted yet.")
    rows = [
        {
            "at": change["at"],
            "points": f"{change['points'] / 100:+.2f}",
            "aged": f"{change['aged'] / 100:+.2f}" if change["aged"] else "",
            "figure": f"{change['score'] / 100:.2f} %",
            "what": plain(change["words"]),
            "mend": " ".join(
                part
                for part in (
                    plain(change["mend"]),
                    f"{change['done_to_mend']} jobs done bring it back." if change["done_to_mend"] else "",
                )
                if part
            ),
            "order": change["order_id"][:12],
        }
        for change in found["items"]
    ]
    columns = [
        ("WHEN", "at"),
        ("POINTS", "points"),
        ("BY AGE", "aged"),
        ("THEN", "figure"),
        ("WHAT HAPPENED", "what"),
        ("WHAT MENDS IT", "mend"),
        ("ORDER", "order"),
    ]
    return "\n\n".join([*parts, table(rows, columns)] if rows else parts)
