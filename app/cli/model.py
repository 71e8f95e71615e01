"""`openstall model`: check, publish, buy, run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, fields, table
from openstall.app.cli.who import warnings
from openstall.market.errors import NotFound, OpenstallError
from openstall.market.money import parse_amount

_PATH = click.Path(path_type=Path, exists=True)


@click.group()
def group() -> None:
    """Models: sell yours, buy others', run them here."""


@group.command()
@click.argument("path", type=_PATH)
@command
def check(cli: Cli, path: Path) -> None:
    """Look into the model file or folder PATH inside the sandbox."""
    found = cli.api.operate("/v1/models/check", cli.output, path=str(path.resolve()))
    words = table(found["findings"], [("SEVERITY", "severity"), ("CODE", "code"), ("FINDING", "words")])
    verdict = "The model may be published." if found["ok"] else "The model is refused."
    cli.output.document(found, f"{words}\n\n{verdict}" if found["findings"] else verdict)


@group.command()
@click.argument("path", type=_PATH)
@click.option("--title", required=True)
@click.option("--summary", required=True)
@click.option("--licence", required=True, help="SPDX expression, as MIT or CC-BY-4.0.")
@click.option("--price", required=True, help="Credits, as 25.00.")
@click.option("--intended-use", default="Not stated.")
@click.option("--training-data", default="Not stated.")
@click.option("--limits", default="Not stated.")
@click.option("--metric", "metrics", multiple=True, help="name=value, as accuracy=0.97; repeat for more.")
@click.option(
    "--review-s", type=int, default=3 * 86_400, show_default=True, help="The buyer's time to object."
)
@click.option("--deliver-s", type=int, default=3600, show_default=True, help="Your time to release the key.")
@click.option("--arbiter", help="Wallet address that rules in a dispute.")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    help="https://… where you will put the encrypted package ({cid}: its cid); up to four. See blobs export.",
)
@command
def publish(
    cli: Cli,
    /,
    path: Path,
    price: str,
    metrics: tuple[str, ...],
    intended_use: str,
    training_data: str,
    limits: str,
    **terms: Any,
) -> None:
    """Check, encrypt, sign and announce the model PATH."""
    done = cli.api.operate(
        "/v1/models/publish",
        cli.output,
        path=str(path.resolve()),
        price_micro=parse_amount(price),
        card={
            "intended_use": intended_use,
            "training_data": training_data,
            "limits": limits,
            "metrics": [_metric(text) for text in metrics],
        },
        **terms,
    )
    cli.published(done, f"Published: {done['cid']}")


@group.command()
@click.argument("cid")
@command
def withdraw(cli: Cli, cid: str) -> None:
    """Take the listing CID off the market; open orders go on."""
    cli.published(cli.api.post(f"/v1/models/{cid}/withdraw"), "The listing is withdrawn.")


@group.command()
@click.argument("cid")
@click.option("--yes", is_flag=True, help="Do not ask, where a person sits at the terminal.")
@command
def buy(cli: Cli, cid: str, yes: bool) -> None:
    """Order the model of the listing CID; payment and delivery follow by themselves.

    What it costs, and what becomes of the money, is shown first. At a terminal you are then asked.
    """
    if not cli.output.as_json:
        click.echo(_purchase(cli.api.get(f"/v1/catalogue/{cid}")))
        if not yes and sys.stdin.isatty():
            click.confirm("Pay into escrow?", abort=True)
    done = cli.api.post("/v1/orders/buy", listing_cid=cid)
    cli.output.document(
        done, f"Ordered: {done['order_id']}\nFollow it: openstall order show {done['order_id']}"
    )


@group.command()
@command
def library(cli: Cli) -> None:
    """Models that you bought."""
    cli.output.rows(
        cli.api.get("/v1/models/library"),
        [("TITLE", "title"), ("BOUGHT", "bought_at"), ("FOLDER", "path"), ("ORDER", "order_id")],
        empty="You have not bought a model yet. Find one: openstall catalogue search --type listing",
    )


@group.command()
@click.argument("order_id")
@click.argument("rows", type=_PATH)
@click.option("--label", help="Column of ROWS to compare the predictions with.")
@command
def run(cli: Cli, order_id: str, rows: Path, label: str | None) -> None:
    """Run the model of ORDER_ID on the CSV file ROWS, in the sandbox on this machine."""
    done = cli.api.operate(
        "/v1/models/run", cli.output, order_id=order_id, rows_path=str(rows.resolve()), label=label
    )
    figures = {one["name"]: one["value"] for one in done["report"].get("metrics", [])}
    told = {"rows": done["rows"], **figures, "predictions": done["predictions_path"]}
    cli.output.document(done, fields(told))


def _purchase(entry: dict[str, Any]) -> str:
    """What a buyer should know before the money moves."""
    if entry["type"] != "listing":
        raise NotFound("not_on_sale", "That is not a model on sale.")
    body = entry["body"]
    facts = {
        "model": body["title"],
        "from": entry["author_name"],
        "price": cell(body, "price_micro"),
        "delivery": f"within {body['deliver_s']} s, else the whole price comes back",
        "review": f"you have {body['review_s']} s to check it, then the seller is paid",
        "arbiter": body["arbiter"] or "none: once delivered, the money goes to the seller",
    }
    if entry["arbitration"]:
        terms = entry["arbitration"]
        facts |= {"arbiter's fee": terms["fee_words"], "silent arbiter": terms["silence_words"]}
    if not entry["reachable"]:
        facts["now"] = "the seller is off: your order waits up to 7 days, and you pay when it was signed"
    return "\n".join([fields(facts), *warnings(entry), ""])


def _metric(text: str) -> dict[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise OpenstallError("bad_metric", f"“{text}” is not a metric.", "Write it like accuracy=0.97.")
    return {"name": name.strip(), "value": value.strip()}
