"""An order as the desktop and the command line show it: words, clocks, money, and what one may do."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.custom.judged import (
    evaluators_of,
    is_on_chain,
    judges_on_chain,
    replay_as,
    rows_for,
    verdict_as,
)
from openstall.app.services.orders.desk import Live, OpenOrder
from openstall.app.services.orders.job_check import CHECK_OF, CHECKS, may_check
from openstall.market import canonical
from openstall.market.mechanisms.blame import blame
from openstall.market.orders.machine import COMPUTE, CUSTOM, SALE
from openstall.market.orders.words import deadline_words, declined_words, end_words, state_words, way_back
from openstall.market.requests.assessment import read_statement
from openstall.store.orders import OrderEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a view needs beside the order itself."""

    other_name: str
    events: list[OrderEvent]
    transactions: list[dict[str, Any]]
    live: Live | None
    paid_micro: int
    vouchers: int
    log_lines: int
    library_path: str | None
    now: int


def summary(order: OpenOrder, other_name: str, live: Live | None) -> dict[str, Any]:
    """The row of a list."""
    return {
        "order_id": order.order_id,
        "kind": order.kind,
        "role": order.role,
        "title": _title(order),
        "other": order.other,
        "other_name": other_name,
        "state": order.state,
        "state_words": _words(order),
        "final": order.final,
        "outcome": _outcome(order),
        "awaits_report": order.waits_for_report,
        "created_at": order.created_at,
        "changed_at": order.entered_at,
        "deadline_at": order.deadline_at,
        "deadline_words": deadline_words(order.kind, order.state),
        "continues": order.data.get("continues"),
        "continued_by": order.data.get("continued_by"),
        "amount_micro": _amount(order),
        "owed_micro": int(order.data.get("owed_micro", 0)),
        "seconds": int(order.data.get("seconds", 0)),
        "trouble": live.trouble.as_dict() if live and live.trouble else None,
    }


def detail(order: OpenOrder, around: Surroundings) -> dict[str, Any]:
    """The page of one order."""
    live = around.live
    return summary(order, around.other_name, live) | {
        "way_back": way_back(order.kind, order.role, order.state),
        "paid_micro": order.data.get("paid_micro", around.paid_micro),
        "terms": order.contract.order.terms,
        "contract": {
            "buyer": order.contract.order.buyer,
            "seller": order.contract.order.seller,
            "buyer_wallet": order.contract.order.buyer_wallet,
            "seller_wallet": order.contract.order.seller_wallet,
            "chain_id": order.contract.order.chain_id,
            "buyer_signature": order.buyer_signature,
            "seller_signature": order.seller_signature,
        },
        "timeline": [
            {
                "at": event.at,
                "state": event.to_state,
                "words": event.words,
                "actor": event.actor,
                "tx": event.tx,
            }
            for event in around.events
        ],
        "transactions": around.transactions,
        "actions": possible_actions(order, around.now),
        "progress": {"stage": live.stage, "done": live.done, "total": live.total, "unit": live.unit}
        if live and live.stage
        else None,
        "verified": order.data.get("verified"),
        "fault": order.data.get("fault"),
        "dispute_reason": order.data.get("dispute_reason"),
        "job": _job(order, around) if order.kind == "compute" else None,
        "service": _service(order) if order.kind == "compute" else None,
        "custom": _custom(order, around.now),
        "library_path": around.library_path,
    }


def _title(order: OpenOrder) -> str:
    return order.contract.terms.title


def _amount(order: OpenOrder) -> int:
    return order.contract.amount_micro


def _words(order: OpenOrder) -> str:
    if order.kind in ("sale", "custom") and order.state == "delivered" and order.role == "buyer":
        if order.data.get("verified") is False:
            return "What the seller delivered is not what was signed. Your money is still in escrow."
        if "verified" not in order.data:
            return "The key is here. Opening the package and checking every file."
    if order.waits_for_unpacking:
        return "The seller is paid and the model is yours. Its package is not opened yet."
    words = state_words(order.kind, order.role, order.state)
    outcome = _outcome(order)
    if outcome is None:
        return words
    if order.state == "declined":
        return declined_words(outcome["words"])
    return end_words(outcome["state"], outcome["words"], words)


def _outcome(order: OpenOrder) -> dict[str, str] | None:
    """How the job ended, or why the other side did not sign; None where neither is known."""
    if order.state == "declined" and "fault" in order.data:
        fault = order.data["fault"]
        return {"state": "declined", "reason": fault["code"], "words": fault["message"]}
    report = _report(order)
    return {name: report[name] for name in ("state", "reason", "words")} if report else None


def _report(order: OpenOrder) -> dict[str, Any]:
    """The provider's report on a job; empty before it is here."""
    raw = order.data.get("report")
    found: dict[str, Any] = canonical.decode(base64.b64decode(raw))["report"] if raw else {}
    return found


def possible_actions(order: OpenOrder, now: int) -> list[str]:
    """What a person may do now, the harmless first; automatic steps are not offered before they are due."""
    if order.final:
        return []
    overdue = order.deadline_at is not None and now > order.deadline_at
    if order.kind == "compute":
        if order.role == "seller":
            return ["cancel"] if order.state in ("funded", "running") else []
        actions = (
            ["cancel"]
            if order.state in ("agreed", "funded", "running") and "report" not in order.data
            else []
        )
        if COMPUTE.allows(order.state, "start_withdraw"):
            actions.append("refund")
        return actions
    if order.kind == "custom":
        return _custom_actions(order, overdue=overdue, now=now)
    offered = {
        "buyer": ("complete", "dispute", "withdraw", "refund"),
        "seller": ("cancel", "claim"),
        "arbiter": ("rule",),
    }[order.role]
    arbiter = bool(order.contract.sale.arbiter)
    possible = SALE.open_to(order.state, order.role, overdue=overdue, arbiter=arbiter)
    found = [event for event in offered if event in possible]
    return ["cancel" if event == "withdraw" else event for event in found]


def _custom_actions(order: OpenOrder, *, overdue: bool, now: int) -> list[str]:
    """What a person may do in an order of a model made to order."""
    if order.role == "evaluator":
        return []
    terms = order.contract.custom
    possible = CUSTOM.open_to(order.state, order.role, overdue=overdue, arbiter=bool(terms.arbiter))
    offered = {"buyer": ("complete", "refund"), "seller": ("cancel", "claim"), "arbiter": ("rule",)}[
        order.role
    ]
    found = [event for event in offered if event in possible]
    # Over a verdict that has not come, the arbiter can be called only once its time is over.
    waits = order.state == "submitted" and now <= order.entered_at + terms.evaluate_s
    if f"call_{order.role}" in possible and not waits:
        found.append("dispute")
    return found


def _custom(order: OpenOrder, now: int) -> dict[str, Any] | None:
    """What was handed in, and how the evaluators judged it, newest try first."""
    if order.kind != "custom":
        return None
    terms, attempt = order.contract.custom, int(order.data.get("attempt", 0))
    verdicts = [
        _verdict(order, number, wallet)
        for number in range(attempt, 0, -1)
        for wallet in evaluators_of(order)
        if verdict_as(number, wallet) in order.data
    ]
    return {
        "attempt": attempt,
        "tries": terms.tries,
        "model_hash": order.data.get("model_hash"),
        "verdicts": verdicts,
        "may_replay": bool(judges_on_chain(order)) and rows_for(order, order.role, now) > 0,
        "rows_to_open": min(terms.rows, rows_for(order, order.role, now)),
    }


def _verdict(order: OpenOrder, attempt: int, evaluator: str) -> dict[str, Any]:
    """One evaluator's verdict with its figures; the statement itself is beside it, for whoever checks it."""
    entry = order.data[verdict_as(attempt, evaluator)]
    found = read_statement(base64.b64decode(entry["statement"])).predicate
    return {
        "attempt": attempt,
        "evaluator": evaluator,
        "passed": found.passed,
        "fault": found.fault,
        "figures": [msgspec.to_builtins(figure) for figure in found.figures],
        "report_hash": entry["report_hash"],
        "on_chain": is_on_chain(order, attempt, entry),
        "signature": entry["signature"],
        "statement": entry["statement"],
        "replay": order.data.get(replay_as(attempt, evaluator)),
    }


def _service(order: OpenOrder) -> dict[str, Any] | None:
    """The service level of a job: what is promised, what it can cost, what was found, what was paid."""
    level = order.contract.compute.service
    if level is None:
        return None
    found = order.data.get("service_found", {})
    return {
        "start_s": level.start_s,
        "uptime_bps": level.uptime_bps,
        "steps_per_1000s": level.steps_per_1000s,
        "bond_id": level.bond,
        "worst_case_micro": level.penalty_micro,
        "watched_by": len(order.data.get("service_watched", [])),
        "refused": order.data.get("service_refused", {}),
        "broken_bps": found.get("broken_bps"),
        "found_micro": found.get("amount_micro", 0),
        "blamed": found.get("blamed"),
        "words": found.get("words"),
        "complaint": order.data.get("service_case"),
    }


def _checkpoint(order: OpenOrder) -> dict[str, int] | None:
    """The state of the job that the buyer has at home."""
    kept = order.data.get("checkpoint")
    return {"done": kept["done"], "size": kept["blob"]["size"]} if kept else None


def _job(order: OpenOrder, around: Surroundings) -> dict[str, Any]:
    terms = order.contract.compute
    report = _report(order)
    folder = order.data.get("fetched")
    return {
        "kind": terms.job_kind,
        "params": terms.params,
        "seconds": int(order.data.get("seconds", 0)),
        "max_s": terms.max_s,
        "price_per_s_micro": terms.price_per_s_micro,
        "priority_per_s_micro": terms.priority_per_s_micro,
        "cap_micro": terms.cap_micro,
        "owed_micro": int(order.data.get("owed_micro", 0)),
        "vouchers": around.vouchers,
        "log_lines": around.log_lines,
        "checkpoint": _checkpoint(order),
        "may_check": may_check(order),
        "checks": order.data.get(CHECKS, []),
        "check_of": order.data.get(CHECK_OF),
        "result": {name: report[name] for name in ("state", "reason", "words", "seconds")}
        | {"blamed": blame(report["state"], report["reason"]).who}
        if report
        else None,
        "artefacts": [
            {
                "name": item["name"],
                "size": item["blob"]["size"],
                "sha256": item["blob"]["sha256"],
                "path": str(Path(folder) / item["name"]) if folder else None,
            }
            for item in report.get("outputs", [])
        ],
    }
