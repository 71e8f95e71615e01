"""`openstall compute promise`, and what other verbs share about service levels."""

from __future__ import annotations

from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell
from openstall.market.errors import OpenstallError
from openstall.market.money import parse_amount

_HINT = "Write it like start=60,uptime=99,penalty=5, or just `offered`."


@click.group()
def promise() -> None:
    """What your bond pays for: a start within some seconds, an uptime, a number of steps."""


@promise.command(name="show")
@click.argument("offer", required=False)
@command
def show(cli: Cli, offer: str | None) -> None:
    """What this machine promises, or the provider of an OFFER."""
    if offer is None:
        found = cli.api.get("/v1/service-levels")
        cli.output.document(found, _own_words(found))
        return
    peer_id = offer if offer.startswith("12D3") else cli.api.get(f"/v1/catalogue/{offer}")["author"]
    found = cli.api.get(f"/v1/service-levels/{peer_id}")
    cli.output.document(found, _offered_words(found))


@promise.command(name="set")
@click.option("--start-s", type=int, default=0, help="A paid job starts within so many seconds.")
@click.option("--uptime", type=float, default=0, help="Per cent of its time in which a job works.")
@click.option(
    "--steps",
    type=int,
    default=0,
    help="Steps in 1,000 seconds of work. A step is as long as the buyer's recipe makes it: take care.",
)
@click.option("--penalty", required=True, help="The most that one order can cost your bond, in credits.")
@command
def set_promise(cli: Cli, start_s: int, uptime: float, steps: int, penalty: str) -> None:
    """Promise this beside your offer. Your house rules still win, and their pauses count."""
    found = cli.api.post(
        "/v1/service-levels",
        start_s=start_s,
        uptime_bps=round(uptime * 100),
        steps_per_1000s=steps,
        penalty_micro=parse_amount(penalty),
    )
    cli.output.document(found, _own_words(found))


@promise.command(name="off")
@command
def off(cli: Cli) -> None:
    """Promise nothing any more; open orders keep what they name."""
    found = cli.api.post("/v1/service-levels/off")
    cli.output.document(found, _own_words(found))


def parse_service(text: str) -> dict[str, Any]:
    """The body of `--service`: `offered`, or name=value with commas between."""
    if text == "offered":
        return {}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            if name == "start":
                found["start_s"] = int(value)
            elif name == "uptime":
                found["uptime_bps"] = round(float(value) * 100)
            elif name == "steps":
                found["steps_per_1000s"] = int(value)
            elif name == "penalty":
                found["penalty_micro"] = parse_amount(value)
            else:
                raise OpenstallError("bad_service", f"“{part[:60]}” is no part of a service level.", _HINT)
        except ValueError as error:
            raise OpenstallError("bad_service", f"“{part[:60]}” is not a number.", _HINT) from error
    return found


def service_fields(found: dict[str, Any]) -> dict[str, Any]:
    """The service level of an order, as lines of its page."""
    service = found["service"]
    if service is None:
        return {}
    lines: dict[str, Any] = {"service level": level_words(service)}
    worst = cell(service, "worst_case_micro")
    mine = found["role"] == "buyer"
    lines["if it is broken"] = f"you get at most {worst}" if mine else f"your bond pays at most {worst}"
    if mine:
        lines["oracles watching"] = str(service["watched_by"])
    if service["refused"]:
        lines["not watched"] = "; ".join(sorted(set(service["refused"].values())))
    if service["broken_bps"] is not None:
        lines["kept"] = (
            "yes" if not service["found_micro"] else f"no: {service['broken_bps'] / 100:g} % of it was broken"
        )
        lines["to blame"] = f"{service['blamed']}: {service['words']}"
    if service["complaint"]:
        complaint = service["complaint"]
        paid = f", {cell(complaint, 'amount_micro')}" if complaint["state"] == "paid" else ""
        lines["complaint"] = f"{complaint['state']}{paid}"
    return lines


def level_words(level: dict[str, Any]) -> str:
    """The promises in one line."""
    parts = []
    if level["start_s"]:
        parts.append(f"starts within {level['start_s']} s")
    if level["uptime_bps"]:
        parts.append(f"works for {level['uptime_bps'] / 100:g} % of its time")
    if level["steps_per_1000s"]:
        parts.append(f"{level['steps_per_1000s']} steps in 1,000 s")
    return ", ".join(parts)


def _own_words(found: dict[str, Any]) -> str:
    if found["level"] is None:
        return "This machine promises nothing: its bond pays for no broken service level."
    held = cell(found["bond"], "left_micro") if found["bond"] else "nothing"
    return (
        f"Promised: a job {level_words(found['level'])}.\n"
        f"At worst one order costs your bond {cell(found['level'], 'penalty_micro')}. It holds {held}; open "
        f"orders may cost {cell(found, 'pledged_micro')} of it, and it is never pledged twice."
    )


def _offered_words(found: dict[str, Any]) -> str:
    if found["level"] is None:
        return "This provider promises no service level."
    bonded = "No bond of this provider stands behind it: it is worth nothing."
    if found["bond"]:
        bonded = (
            f"If it breaks that, you get at most {cell(found['level'], 'penalty_micro')} for an order. "
            f"Its bond holds {cell(found['bond'], 'left_micro')}."
        )
    return f"Promised: a job {level_words(found['level'])}.\n{bonded}"
