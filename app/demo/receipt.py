"""The demo's receipt: who did what, how long it took, gas, money before and after, and whether it adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openstall.app.demo.journeys import Story
from openstall.app.demo.peers import DemoPeer
from openstall.market.errors import MoneyError
from openstall.market.money import format_amount


def make_receipt(story: Story, peers: list[DemoPeer], total_s: float) -> dict[str, Any]:
    """The receipt as data.

    Raises:
        MoneyError: the balances at the end do not add up to those at the start.
    """
    parties = []
    for peer in peers:
        wallet = peer.get("/v1/wallet")
        parties.append(
            {
                "name": peer.name,
                "peer_id": peer.peer_id,
                "wallet": peer.wallet,
                "before_micro": peer.notes["before_micro"],
                "after_micro": wallet["balance_micro"],
                "held_micro": wallet["held_micro"],
            }
        )
    before = sum(party["before_micro"] for party in parties)
    after = sum(party["after_micro"] + party["held_micro"] for party in parties)
    if before != after:
        raise MoneyError(
            "not_conserved",
            f"{before} micro-credits went in, {after} came out.",
            "This is a fault: keep the homes.",
        )
    job, sale = story.facts["job"], story.facts["sale"]
    return {
        "parties": parties,
        "steps": [{"what": words, "seconds": round(seconds, 2)} for words, seconds in story.steps],
        "job": {
            "order_id": job["order_id"],
            "seconds": job["job"]["seconds"],
            "paid_micro": job["paid_micro"],
            "cap_micro": job["job"]["cap_micro"],
            "vouchers": job["job"]["vouchers"],
            "transactions": story.facts["job_gas"],
        },
        "sale": {
            "order_id": sale["order_id"],
            "price_micro": sale["amount_micro"],
            "rows": story.facts["rows"],
            "accuracy": story.facts["accuracy"],
            "transactions": story.facts["sale_gas"],
        },
        "requests": {name: story.facts[name] for name in ("reachable", "out_of_reach")},
        "conserved": True,
        "total_micro": after,
        "total_s": round(total_s, 1),
    }


def print_receipt(receipt: dict[str, Any]) -> str:
    """The receipt as text for people."""
    lines = ["", "RECEIPT OF THE DEMO MARKET", "=" * 66]
    lines.append(f"{'who':<10}{'before':>14}{'after':>16}{'change':>16}   wallet")
    for party in receipt["parties"]:
        change = party["after_micro"] - party["before_micro"]
        lines.append(
            f"{party['name']:<10}{format_amount(party['before_micro']):>14}{format_amount(party['after_micro']):>16}"
            f"{('+' if change > 0 else '') + format_amount(change):>16}   {party['wallet'][:10]}…"
        )
    job, sale = receipt["job"], receipt["sale"]
    paid = f"paid {format_amount(job['paid_micro'])} of at most {format_amount(job['cap_micro'])}"
    conserved = f"money before = money after: {format_amount(receipt['total_micro'])} credits, conserved."
    lines += [
        "-" * 66,
        f"trained on a rented machine   {job['seconds']} s, {job['vouchers']} vouchers, {paid}",
        f"model sold for                {format_amount(sale['price_micro'])} credits, through escrow",
        f"checked by the buyer          {sale['accuracy']:.1%} right on {sale['rows']} unseen rows",
        "-" * 66,
    ]
    for request in receipt["requests"].values():
        lines += _request_lines(request)
    lines.append("-" * 66)
    for name in ("job", "sale"):
        for item in receipt[name]["transactions"]:
            lines.append(f"{name:<6}{item['purpose']:<18}{item['gas_used']:>9} gas   {item['tx'][:18]}…")
    for request in receipt["requests"].values():
        for item in request["transactions"]:
            lines.append(f"model {item['purpose']:<18}{item['gas_used']:>9} gas   {item['tx'][:18]}…")
    lines.append("-" * 66)
    lines += [f"{step['seconds']:>7.1f} s  {step['what']}" for step in receipt["steps"]]
    lines += [
        "=" * 66,
        f"{conserved}   Whole demo: {receipt['total_s']} s",
    ]
    return "\n".join(lines)


def _request_lines(request: dict[str, Any]) -> list[str]:
    """A model made to order: who bid what, the price, and how it was measured."""
    bids = ", ".join(f"{bid['who']} {format_amount(bid['amount_micro'])}" for bid in request["bids"])
    metric, outcome = request["metric"], "passed" if request["passed"] else "missed"
    measured = f"{metric['name']} {metric['value']} ({metric['low']} to {metric['high']})"
    return [
        f"model made to order           bids {bids}",
        f"  won by {request['winner']:<21}at the second price, {format_amount(request['price_micro'])}",
        f"  measured on {request['rows']} sealed rows  {measured}, asked {request['threshold']}: {outcome}",
        f"  {request['state']:<28}the buyer paid {format_amount(request['paid_micro'])}",
    ]


def save_receipt(receipt: dict[str, Any], folder: Path) -> Path:
    """Write `receipt.json` and `receipt.txt`; returns the text file."""
    (folder / "receipt.json").write_text(json.dumps(receipt, indent=2))
    text = folder / "receipt.txt"
    text.write_text(print_receipt(receipt) + "\n")
    return text
