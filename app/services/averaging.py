"""Puts a round of federated averaging together, in the own sandbox: what came back from its orders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstall.app.services.batches.plan import digest
from openstall.app.services.checking import LocalJobs, Tell
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.threads import Workers
from openstall.compute_agent.jobs import GLOBAL
from openstall.compute_agent.specs import GIB, Limits
from openstall.market.errors import Conflict, NotFound, Refused

MOST_PARTIES = 32
_DELTA = "delta.safetensors"
_LIMITS = Limits(wall_s=600, cpu_s=600, memory_bytes=4 * GIB, disk_bytes=GIB)


@dataclass(slots=True, kw_only=True)
class Averaging:
    """Works on the results of this node's own orders."""

    desk: OrderDesk
    jobs: LocalJobs
    workers: Workers

    async def run(
        self, order_ids: list[str], weights: Path | None, folder: Path, progress: Tell
    ) -> dict[str, Any]:
        """New weights, the model, and a report, in a new folder: `{folder, report}`.

        `weights` are those that the round started from; None for a first round.

        Raises:
            NotFound, Conflict: an order's results are not here.
            Refused: the orders are not of one round, or the weights are not those of the round.
            SandboxError: a change does not fit the recipe, with the number of the party.
        """
        if not 1 <= len(set(order_ids)) == len(order_ids) <= MOST_PARTIES:
            raise Refused("bad_round", f"A round has one to {MOST_PARTIES} orders, each once.")
        if await self.workers.work(folder.exists):
            raise Refused("folder_in_use", f"{folder} exists already.", "Name a new folder.")
        orders = [await self.desk.load(order_id) for order_id in order_ids]
        for order in orders:
            _check(order)
        recipe = orders[0].contract.compute.params
        if any(order.contract.compute.params != recipe for order in orders):
            raise Refused("bad_round", "The orders have different recipes: they are not of one round.")
        await self.workers.work(_check_weights, orders, weights)
        inputs = {
            f"delta-{number}.safetensors": Path(order.data["fetched"]) / _DELTA
            for number, order in enumerate(orders, 1)
        }
        rows = [await self.workers.work(_rows, Path(order.data["fetched"])) for order in orders]
        report = await self.jobs.run(
            kind="average",
            params={"recipe": recipe, "rows": rows},
            inputs={**inputs, **({GLOBAL: weights} if weights else {})},
            report="report.json",
            keep=folder,
            progress=progress,
            limits=_LIMITS,
        )
        return {"folder": str(folder), "report": report}


def _check(order: OpenOrder) -> None:
    short = order.order_id[:8]
    if order.kind != "compute" or order.contract.compute.job_kind != "federate" or order.role != "buyer":
        raise Refused("bad_round", f"The order {short} is no federate job of yours.")
    if order.data.get("result") != "done" or not order.data.get("fetched"):
        raise Conflict("no_artefacts", f"The results of the order {short} are not here.", "Leave it out.")


def _check_weights(orders: list[OpenOrder], weights: Path | None) -> None:
    """The orders name the hash of the weights that they started from."""
    found = weights if weights is None or weights.is_file() else None
    if weights is not None and found is None:
        raise NotFound("no_such_file", f"There is no file {weights}.", "Name another one.")
    sha256 = digest(found) if found is not None else None
    for order in orders:
        signed = [item.blob.sha256 for item in order.contract.compute.inputs if item.name == GLOBAL]
        if signed != ([sha256] if sha256 else []):
            words = "Those are not the weights that the round started from."
            raise Refused("bad_round", words, "A first round has none; a later one has the last result.")


def _rows(folder: Path) -> int:
    """What the party says of its rows; it is bounded by the schema of the job that weighs it."""
    try:
        rows = json.loads((folder / "report.json").read_bytes())["rows"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        rows = None
    if type(rows) is not int:
        raise Refused("bad_report", f"The report in {folder} does not say how many rows there were.")
    return rows
