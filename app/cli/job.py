"""`openstall job`: run a job on somebody else's machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from openstall.app.cli.average import average
from openstall.app.cli.batch import batch, batches
from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, plain
from openstall.app.cli.promise import parse_service
from openstall.app.cli.served import ask, serve
from openstall.market.errors import OpenstallError
from openstall.market.job_kinds import KINDS
from openstall.market.mechanisms.agreement import AGREED, check_words
from openstall.market.money import parse_amount

LOG_POLL_S = 0.5
_PARAMS_HINT = (
    """Write them like '{"task": "classification", "label": "diagnosis"}', or name a file: @params.json."""
)


@click.group()
def group() -> None:
    """Jobs on rented machines."""


group.add_command(serve)
group.add_command(ask)
group.add_command(batch)
group.add_command(batches)
group.add_command(average)


@group.command()
@click.argument("offer_cid")
@click.option("--kind", required=True, type=click.Choice(KINDS))
@click.option(
    "--input", "inputs", multiple=True, required=True, help="name=path, as data.csv=./rows.csv; repeat."
)
@click.option("--params", default="{}", help="JSON object, or @file.json.")
@click.option("--max-s", type=int, default=600, show_default=True, help="Longest run in seconds.")
@click.option("--cap", required=True, help="The most that you pay, in credits.")
@click.option(
    "--tries", type=int, default=1, show_default=True, help="Providers to try, should one of them fail."
)
@click.option(
    "--patience-s", type=int, default=60, show_default=True, help="Silence after which a provider has failed."
)
@click.option(
    "--gpus", type=int, default=0, show_default=True, help="Graphics cards to rent (train, script)."
)
@click.option("--priority", default="0", help="Credits per second on top of the price, to start earlier.")
@click.option("--challenge", is_flag=True, help="Put the machine to the test once, while the job runs.")
@click.option("--service", help="Bind the provider: `offered`, or start=60,uptime=99,steps=0,penalty=5.")
@command
def submit(
    cli: Cli,
    offer_cid: str,
    kind: str,
    inputs: tuple[str, ...],
    params: str,
    max_s: int,
    cap: str,
    tries: int,
    patience_s: int,
    gpus: int,
    priority: str,
    challenge: bool,
    service: str | None,
) -> None:
    """Rent the machine of OFFER_CID for one job."""
    done = cli.api.post(
        "/v1/orders/job",
        offer_cid=offer_cid,
        kind=kind,
        inputs=dict(_input(text) for text in inputs),
        params=_params(params),
        max_s=max_s,
        cap_micro=parse_amount(cap),
        tries=tries,
        patience_s=patience_s,
        gpus=gpus,
        challenge=challenge,
        service=None if service is None else parse_service(service),
        priority_per_s_micro=parse_amount(priority),
    )
    order_id = done["order_id"]
    words = f"Ordered: {order_id}\nFollow it: openstall job log --follow {order_id}"
    if service is not None:
        words += f"\nIf the provider breaks its promise you get at most {cell(done, 'worst_case_micro')}."
    cli.output.document(done, words)


@group.command()
@click.argument("order_id")
@click.option("--follow", is_flag=True, help="Wait for more until the job ends.")
@click.option("--from", "start", type=int, default=0, help="First line.")
@command
def log(cli: Cli, order_id: str, follow: bool, start: int) -> None:
    """What the job printed."""
    while True:
        found = cli.api.get(f"/v1/orders/{order_id}/log", **{"from": start})
        for line in found["lines"]:
            cli.output.line(line, plain(line["text"]))
        start = found["next"]
        if not follow or (found["ended"] and not found["lines"]):
            return
        if not found["lines"]:
            time.sleep(LOG_POLL_S)


@group.command()
@click.argument("order_id")
@command
def cancel(cli: Cli, order_id: str) -> None:
    """Stop the job; only the seconds that ran are paid."""
    cli.output.document(cli.api.post(f"/v1/orders/{order_id}/cancel"), "The job is being stopped.")


@group.command()
@click.argument("order_id")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@command
def save(cli: Cli, order_id: str, folder: Path) -> None:
    """Copy the job's results into FOLDER."""
    done = cli.api.post(f"/v1/orders/{order_id}/save", folder=str(folder.resolve()))
    cli.output.document(done, "\n".join(str(path) for path in done["items"]))


@group.command()
@click.argument("order_id")
@click.option("--with", "offers", multiple=True, help="Another offer that does it again, for pay; up to two.")
@click.option("--cap", help="The most that each of them may cost, in credits; else as much as this order.")
@click.option("--whole", is_flag=True, help="All of it, also where a part drawn at random would do.")
@command
def check(cli: Cli, order_id: str, offers: tuple[str, ...], cap: str | None, whole: bool) -> None:
    """Do the finished job of ORDER_ID again, and compare; exit status 1 if the result is another.

    Without --with your own machine does it. With it, where the two differ, a third decides: the second
    offer, or your own machine.
    """
    found = cli.api.operate(
        f"/v1/orders/{order_id}/check",
        cli.output,
        offers=list(offers),
        cap_micro=parse_amount(cap) if cap else 0,
        whole=whole,
    )
    cli.output.document(found, check_words(found))
    if found["outcome"] not in AGREED:
        raise OpenstallError(
            f"check_{found['outcome']}",
            "The check does not confirm the result.",
            f"What was found is kept: openstall order show {order_id}",
        )


def _input(text: str) -> tuple[str, str]:
    name, mark, path = text.partition("=")
    if not mark or not Path(path).is_file():
        raise OpenstallError("bad_input", f"“{text}” names no file.", "Write it like data.csv=./rows.csv.")
    return name, str(Path(path).resolve())


def _params(text: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise OpenstallError(
            "bad_params", f"The parameters cannot be read: {error}.", _PARAMS_HINT
        ) from error
    if not isinstance(value, dict):
        raise OpenstallError("bad_params", "The parameters must be a JSON object.", _PARAMS_HINT)
    return value
