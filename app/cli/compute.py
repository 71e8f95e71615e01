"""`openstall compute`: rent this machine out."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import fields, table
from openstall.market.job_kinds import KINDS
from openstall.market.money import parse_amount

GIB = 2**30


@click.group()
def group() -> None:
    """This machine as a provider."""


@group.command()
@command
def show(cli: Cli) -> None:
    """What the machine has, whether it is safe, its offer and its jobs."""
    found = cli.api.get("/v1/compute")
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command()
@click.option("--price", required=True, help="Credits per second, as 0.02.")
@click.option("--max-job-s", type=int, default=3600, show_default=True, help="Longest job in seconds.")
@click.option("--memory-gib", type=int, default=2, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS)
@click.option(
    "--ttl-s", type=int, default=6 * 3600, show_default=True, help="How long one announcement holds."
)
@command
def sell(
    cli: Cli, price: str, max_job_s: int, memory_gib: int, threads: int, kinds: tuple[str, ...], ttl_s: int
) -> None:
    """Put this machine on offer."""
    done = cli.api.post(
        "/v1/compute/sell",
        price_per_s_micro=parse_amount(price),
        max_job_s=max_job_s,
        memory_bytes=memory_gib * GIB,
        threads=threads,
        kinds=list(kinds),
        ttl_s=ttl_s,
    )
    cli.output.document(done, f"This machine is on offer ({done['cid']}).")


@group.command()
@command
def stop(cli: Cli) -> None:
    """Take this machine off the market; running jobs end normally."""
    cli.output.document(cli.api.post("/v1/compute/stop"), "This machine is no longer on offer.")


@group.command(name="install-runtime")
@command
def install_runtime(cli: Cli) -> None:
    """Download what jobs need: torch, onnxruntime and so on, apart from the application."""
    cli.output.document(cli.api.operate("/v1/runtime/install", cli.output))


def _page(found: dict[str, Any]) -> str:
    parts = [fields({"agent": found["agent"], "inventory": found["inventory"] or {}})]
    if found["doctor"]:
        parts.append(
            table(found["doctor"], [("CHECK", "name"), ("OK", "ok"), ("CAUSE", "cause"), ("FIX", "fix")])
        )
    parts.append("On offer: " + ("yes" if found["selling"] else "no"))
    if found["jobs"]:
        parts.append(table(found["jobs"], [("JOB", "title"), ("STATE", "state"), ("ORDER", "order_id")]))
    return "\n\n".join(parts)
