"""`openstall order`: where each order stands, and what you may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import cell, fields, plain, table
from openstall.app.cli.promise import service_fields
from openstall.app.cli.recover import papers, recover
from openstall.app.cli.talk import check_evidence, evidence, say, shown, talk
from openstall.app.cli.who import print_warnings, sign_names, warnings
from openstall.market.errors import OpenstallError
from openstall.market.mechanisms.agreement import check_words
from openstall.market.requests.replays import replay_words

_WAITS = "The arbiter is called as soon as the chain can be reached. Your evidence is kept until then."
ACTIONS = ("complete", "cancel", "refund", "claim")


@click.group()
def group() -> None:
    """Orders of both sides."""


@group.command(name="list")
@click.option("--role", type=click.Choice(["buyer", "seller", "arbiter", "evaluator"]))
@click.option("--open", "open_only", is_flag=True, help="Only those that are not final.")
@command
def list_orders(cli: Cli, role: str | None, open_only: bool) -> None:
    """All orders, newest first."""
    found = cli.api.get("/v1/orders", role=role, open_only=open_only)
    if not cli.output.as_json:
        for item in found["items"]:
            item["mark"] = _mark(item)
        sign_names(found["items"], "other_name", "other_marks")
    cli.output.rows(
        found,
        [
            ("TITLE", "title"),
            ("KIND", "kind"),
            ("ROLE", "role"),
            ("STATE", "mark"),
            ("AMOUNT", "amount_micro"),
            ("WITH", "other_name"),
            ("ORDER", "order_id"),
        ],
        empty="No orders yet.",
    )
    if not cli.output.as_json:
        print_warnings(found["items"], "other_name", "other_marks")


@group.command()
@click.argument("order_id")
@command
def show(cli: Cli, order_id: str) -> None:
    """One order with its timeline, its clock and the way back of the money."""
    found = cli.api.get(f"/v1/orders/{order_id}")
    cli.output.document(found, _page(found) if not cli.output.as_json else None)


@group.command()
@click.argument("order_id")
@click.option("--until", help="Stop at this state; else at a final one.")
@command
def wait(cli: Cli, order_id: str, until: str | None) -> None:
    """Wait until the order is final (or in a given state); exit status 1 if it ends otherwise.

    Without --until a job that did not end as done, and an order that was not agreed, end otherwise. A job
    that another provider goes on with is followed there.
    """
    with cli.api.events() as events:
        found = cli.api.get(f"/v1/orders/{order_id}")
        while not _reached(found, until):
            if found["continued_by"] and until is None:
                order_id = found["continued_by"]
                found = cli.api.get(f"/v1/orders/{order_id}")
                continue
            if _over(found):
                break
            cli.output.progress(found["state_words"])
            event = next(events, None)
            if event is None or event.event == "dropped":
                raise OpenstallError("node_lost", "The node stopped.", "Start it again: the order resumes.")
            if event.event == "order" and json.loads(event.data).get("order_id") == order_id:
                found = cli.api.get(f"/v1/orders/{order_id}")
    cli.output.end_progress()
    cli.output.document(found, _page(found) if not cli.output.as_json else None)
    if until is not None and found["state"] != until:
        raise OpenstallError("order_ended", f"The order ended as “{found['state']}”.")
    if until is None:
        _check_end(found)


def _over(found: dict[str, Any]) -> bool:
    """Final, and of a job it is known how it ended; its provider may be gone for good, which is a trouble."""
    return found["final"] and (not found["awaits_report"] or found["trouble"] is not None)


def _check_end(found: dict[str, Any]) -> None:
    outcome = found["outcome"] or {}
    if found["state"] in ("declined", "lapsed"):
        raise OpenstallError(outcome.get("reason", f"order_{found['state']}"), found["state_words"])
    if found["kind"] != "compute" or outcome.get("state") == "done":
        return
    if outcome:
        raise OpenstallError(f"job_{outcome['state']}", found["state_words"])
    raise OpenstallError(
        "no_report",
        "The provider has not told how the job ended.",
        "What it did not earn is back in your wallet. Its results may still come: look at the order again.",
    )


def _mark(found: dict[str, Any]) -> str:
    """The state to show first: that of a job which did not end as done goes before that of its money."""
    outcome = found["outcome"]
    return str(found["state"] if outcome is None or outcome["state"] == "done" else outcome["state"])


def _reached(found: dict[str, Any], until: str | None) -> bool:
    """A delivered model counts once its package was opened and compared; before, nobody can judge it."""
    if found["state"] != until:
        return False
    return not (until == "delivered" and found["role"] == "buyer" and found["verified"] is None)


@group.command()
@click.argument("order_id")
@click.argument("reason")
@command
def dispute(cli: Cli, order_id: str, reason: str) -> None:
    """Call the arbiter, with your REASON in words."""
    found = cli.api.post(f"/v1/orders/{order_id}/dispute", reason=reason)
    cli.output.document(found, _WAITS if found["calls_arbiter"] else found["state_words"])


@group.command()
@click.argument("order_id")
@command
def complain(cli: Cli, order_id: str) -> None:
    """Bring a job whose service level was broken before the oracles of its bond."""
    found = cli.api.post("/v1/service-levels/complaints", order_id=order_id)
    cli.output.document(found, f"The oracles are asked: case {found['service']['complaint']['case']}.")


@group.command()
@click.argument("order_id")
@click.argument("buyer_percent", type=click.FloatRange(0, 100))
@command
def rule(cli: Cli, order_id: str, buyer_percent: float) -> None:
    """As arbiter: give BUYER_PERCENT of the money back to the buyer, the rest to the seller."""
    found = cli.api.post(f"/v1/orders/{order_id}/rule", buyer_bps=round(buyer_percent * 100))
    cli.output.document(found, found["state_words"])


def _action(name: str, words: str) -> click.Command:
    @click.argument("order_id")
    @command
    def act(cli: Cli, order_id: str) -> None:
        found = cli.api.post(f"/v1/orders/{order_id}/{name}")
        cli.output.document(found, found["state_words"])

    return click.command(name=name, help=words)(act)


for _name, _words in zip(
    ACTIONS,
    (
        "Confirm that the model is what you bought: the seller is paid.",
        "Withdraw, or as seller give the money back.",
        "Take your money back after the deadline.",
        "As seller: take the payment after the review time.",
    ),
    strict=True,
):
    group.add_command(_action(_name, _words))


for _verb in (say, talk, evidence, shown, check_evidence, recover, papers):
    group.add_command(_verb)


@group.command(name="hand-in")
@click.argument("order_id")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@command
def hand_in(cli: Cli, order_id: str, model: Path) -> None:
    """As developer: hand the ONNX file or folder MODEL in; the evaluators measure it."""
    done = cli.api.operate(f"/v1/orders/{order_id}/hand-in", cli.output, path=str(model.resolve()))
    cli.output.document(
        done, f"Handed in as try {done['attempt']}. It is measured now: openstall order wait."
    )


@group.command()
@click.argument("order_id")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@command
def training(cli: Cli, order_id: str, folder: Path) -> None:
    """As developer: write the training data of a request that you won into FOLDER."""
    done = cli.api.operate(f"/v1/orders/{order_id}/training", cli.output, folder=str(folder.resolve()))
    cli.output.document(done, done["path"])


@group.command()
@click.argument("order_id")
@click.option(
    "--proof",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that another party's check has saved; nobody is asked then.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --proof: the ONNX file that was handed in, where this node does not hold it.",
)
@command
def replay(cli: Cli, order_id: str, proof: Path | None, model: Path | None) -> None:
    """Check again what evaluators reported of a model; exit status 1 if a report cannot be believed.

    They open rows that nobody could foresee, and your own computer lets the model answer them again.
    """
    found = cli.api.operate(
        f"/v1/orders/{order_id}/replay",
        cli.output,
        proof=None if proof is None else str(proof.resolve()),
        model=None if model is None else str(model.resolve()),
    )
    checks = [
        {
            "evaluator": one["evaluator"],
            "found": replay_words(one["outcome"]),
            "words": one["words"],
            "proof": one["proof"],
        }
        for one in found["checks"]
    ]
    cli.output.document(found, "\n\n".join(fields({k: v for k, v in one.items() if v}) for one in checks))
    if found["doubted"]:
        raise OpenstallError("report_doubted", "A report cannot be believed.", found["what_next"])


def _page(found: dict[str, Any]) -> str:
    head = {
        "order": found["order_id"],
        "title": found["title"],
        "role": found["role"],
        "with": found["other_name"],
        "beware": warnings(found, "other_name", "other_marks"),
        "state": f"{_mark(found)}: {found['state_words']}",
        "trouble": " ".join(
            (found["trouble"] or {}).get(part, "") for part in ("message", "what_next")
        ).strip(),
        "amount": cell(found, "amount_micro"),
        "paid": cell(found, "paid_micro") if found["final"] or found["kind"] == "compute" else None,
        "messages": f"{found['unread']} new: openstall order talk" if found["unread"] else "",
        "waits": _WAITS if found["calls_arbiter"] else "",
        "clock": found["deadline_words"] and f"{cell(found, 'deadline_at')} {plain(found['deadline_words'])}",
        "checked": [f"{cell(check, 'at')}: {plain(check_words(check))}" for check in _checks(found)],
        "way back": found["way_back"],
        **service_fields(found),
        "you may": found["actions"],
    }
    shown = {name: value for name, value in head.items() if value}
    timeline = [{**step, "tx": _short(step["tx"])} for step in found["timeline"]]
    steps = table(timeline, [("WHEN", "at"), ("WHO", "actor"), ("WHAT", "words"), ("TRANSACTION", "tx")])
    measured = "\n".join(_measured(found))
    return "\n\n".join(part for part in (fields(shown), measured, steps) if part)


def _measured(found: dict[str, Any]) -> list[str]:
    """What each evaluator reported of the model, and what came of checking that again."""
    return [line for verdict in (found["custom"] or {}).get("verdicts", []) for line in _verdict(verdict)]


def _verdict(verdict: dict[str, Any]) -> list[str]:
    figures = ", ".join(
        f"{figure['name']} {figure['value']} ({figure['low']} to {figure['high']})"
        for figure in verdict["figures"]
    )
    outcome = "passed" if verdict["passed"] else "missed"
    signed = "on the chain" if verdict["on_chain"] else "signed, not on the chain"
    by = f"measured, try {verdict['attempt']}, by {verdict['evaluator']}"
    lines = [f"{by}: {outcome}: {figures or verdict['fault']}; {signed}"]
    again = verdict["replay"]
    return [*lines, f"  checked again: {plain(again['words'])}"] if again else lines


def _checks(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was found when the job was done again."""
    return list((found["job"] or {}).get("checks", []))


def _short(tx: str | None) -> str | None:
    """The two ends: the words beside it matter more, and `--json` has the whole."""
    return tx and f"{tx[:8]}…{tx[-6:]}"
