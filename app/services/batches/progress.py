"""How far the orders of a batch are, read from the order book alone."""

from __future__ import annotations

import base64
from collections import defaultdict
from dataclasses import dataclass

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.orders.failover import is_providers_fault
from openstall.market.orders.results import read_report


@dataclass(frozen=True, slots=True)
class Chain:
    """An order for a part, and those that went on with it at other providers."""

    orders: tuple[OpenOrder, ...]

    @property
    def last(self) -> OpenOrder:
        """The one that counts."""
        return self.orders[-1]

    @property
    def other(self) -> str:
        """Its provider."""
        return self.last.other

    @property
    def result(self) -> str:
        """How the job ended, as far as it is known."""
        return str(self.last.data.get("result", ""))

    @property
    def good(self) -> bool:
        """Whether the results are here."""
        return self.result == "done" and bool(self.last.data.get("fetched"))

    @property
    def reason(self) -> str:
        """The code of why it ended like that."""
        fault = self.last.data.get("fault") or {}
        return str(self.last.data.get("reason") or fault.get("code", ""))

    @property
    def words(self) -> str:
        """The same for a person."""
        report, fault = self.last.data.get("report"), self.last.data.get("fault") or {}
        if report:
            return read_report(base64.b64decode(report), self.last.contract).report.words
        return str(fault.get("message", "")) or "The provider did not do it."

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        if self.result == "done":
            return "fetched" in self.last.data
        return self.last.done and not self.last.may_move_on

    @property
    def providers_fault(self) -> bool:
        """Whether it is worth while to ask another provider, or the same one again."""
        if not self.last.data.get("report"):
            return not self.last.data.get("cancel_requested") or "fault" in self.last.data
        if self.result == "done":
            return not self.good  # what came was not what was signed, or never came
        return is_providers_fault(self.result, self.reason)

    @property
    def spent_micro(self) -> int:
        """What it has cost, or may cost at most while it is not settled."""
        if not all(order.final for order in self.orders):
            return self.orders[0].contract.compute.cap_micro
        return sum(_paid_micro(order) for order in self.orders)


def _paid_micro(order: OpenOrder) -> int:
    if order.state != "settled":
        return 0  # declined or lapsed: no money was set aside
    return int(order.data.get("paid_micro") or 0)


def spent_micro(chains: list[Chain]) -> int:
    """What all the orders for one part have cost, or may cost at most."""
    return sum(chain.spent_micro for chain in chains)


def report_files(order: OpenOrder) -> dict[str, str]:
    """Name and SHA-256 of each file that the provider signed for."""
    report = read_report(base64.b64decode(order.data["report"]), order.contract).report
    return {item.name: item.blob.sha256 for item in report.outputs}


async def chains_of(desk: OrderDesk) -> dict[str, dict[int, list[Chain]]]:
    """By batch and part, the oldest first."""
    bought = {order.order_id: order for order in await desk.bought()}
    found: dict[str, dict[int, list[Chain]]] = defaultdict(lambda: defaultdict(list))
    for order in sorted(bought.values(), key=lambda one: (one.created_at, one.order_id)):
        note = order.data.get("note") or {}
        if "batch" not in note:
            continue
        orders = [order]
        while (following := orders[-1].data.get("continued_by")) in bought:
            orders.append(bought[following])
        found[note["batch"]][int(note["part"])].append(Chain(tuple(orders)))
    return found
