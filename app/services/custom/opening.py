"""The evaluator's answer to who doubts its report: a few rows that a later block has drawn, opened.

The model is run again for it, once for each report, beside the work on orders; who asks comes back for the
rows. They are kept in memory only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.draws import Draws
from openstall.app.services.custom.judged import Report, report_of, rows_for
from openstall.app.services.custom.trials import Trial, Trials
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import Conflict, NotFound, OpenstallError, Refused, SandboxError
from openstall.market.requests import rows as sealed_rows
from openstall.market.requests.assessment import Statement, statement_hash
from openstall.market.requests.openings import (
    OPENED,
    OpenedRow,
    Openings,
    Sealed,
    rows_to_open,
    write_openings,
)

MOST_WAITING = 100
"""Reports that wait to be opened; who asks for one more is told to come later."""
AGAIN_S = 60.0
"""A run that failed is not repeated sooner, however often somebody asks."""
_LASTING = frozenset({"not_reproduced", "not_kept"})
"""What another run would not change."""

log = get_logger("openstall.openings")


class Reopener(Protocol):
    """Runs a model again, as it was measured."""

    async def reopen(
        self, order: OpenOrder, trial: Trial, statement: Statement, wanted: list[int]
    ) -> list[Sealed]:
        """The answers to these rows, with their proofs; SandboxError where they are others now."""


@dataclass(slots=True, kw_only=True)
class Opener:
    """What this node opens of its own reports."""

    desk: OrderDesk
    catalogue: Catalogue
    draws: Draws
    trials: Trials
    reopener: Callable[[], Reopener]
    wallet: str
    _opened: dict[str, list[OpenedRow]] = field(default_factory=dict)
    """By the hash of the report."""
    _failed: dict[str, tuple[OpenstallError, float]] = field(default_factory=dict)
    """Why a report could not be opened, and until when that stands."""
    _waiting: dict[str, str] = field(default_factory=dict)
    """The order of each report that is to be opened."""
    _wake: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        """Open what is asked for, one report after the other; forget what is over. Until cancelled."""
        await self.sweep()
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self.work_off()

    async def work_off(self) -> None:
        """Open everything that is asked for now."""
        while self._waiting:
            digest, order_id = next(iter(self._waiting.items()))
            try:
                self._opened[digest] = await self._open(await self.desk.load(order_id), digest)
            except OpenstallError as error:
                log.info("a report could not be opened", order=order_id, code=error.code)
                lasts_s = math.inf if error.code in _LASTING else AGAIN_S
                self._failed[digest] = error, trio.current_time() + lasts_s
            finally:
                self._waiting.pop(digest, None)

    async def answer(self, order: OpenOrder, peer_id: str) -> bytes:
        """The opened rows of this node's newest report for a party of the order, as canonical bytes.

        Raises:
            NotFound: this peer may see none, or there is nothing to open.
            Conflict: they are not drawn, or not opened yet.
            SandboxError: the model answers otherwise now than was reported.
        """
        count = rows_for(order, await self._role(order, peer_id), self.desk.now())
        if not count:
            raise _nothing()
        return await self.show(order, count)

    async def show(self, order: OpenOrder, count: int) -> bytes:
        """As `answer`, for this node's own user."""
        report = report_of(order, self.wallet.lower())
        if report is None or not report.statement.predicate.outputs_root:
            raise _nothing()
        block, digest = await self.draws.block_hash(order), statement_hash(report.raw)
        found = self._opened.get(digest)
        if found is None:
            self._want(digest, order.order_id)
            raise Conflict("being_opened", "The model is run again for it.", "Ask again in a moment.")
        wanted = set(rows_to_open(digest, block, report.statement.predicate.rows, count))
        return write_openings(
            Openings(
                network=report.statement.predicate.network,
                statement=digest,
                block_hash=block,
                opened=[entry for entry in found if entry.index in wanted],
            )
        )

    async def forget(self, order: OpenOrder) -> None:
        """An order is final: what was kept to open rows again is removed."""
        gone = await self.trials.forget(order)
        if gone:
            await self.desk.patch(order.order_id, **gone)
        report = report_of(order, self.wallet.lower())
        if report is not None:
            digest = statement_hash(report.raw)
            self._opened.pop(digest, None)
            self._failed.pop(digest, None)

    async def sweep(self) -> None:
        """Forget what is over, should the node have been killed in between."""
        for role in ("evaluator", "buyer"):
            listed = partial(self.desk.orders.list_ids, kind="custom", role=role)
            for order_id in await self.trials.workers.store(listed):
                order = await self.desk.load(order_id)
                if order.final:
                    await self.forget(order)

    def _want(self, digest: str, order_id: str) -> None:
        error, until = self._failed.get(digest, (None, 0.0))
        if error is not None and trio.current_time() < until:
            raise error
        if digest not in self._waiting and len(self._waiting) >= MOST_WAITING:
            raise Refused("busy", "Too much is to be opened here.", "Ask again later.")
        self._waiting[digest] = order_id
        self._wake.set()

    async def _open(self, order: OpenOrder, digest: str) -> list[OpenedRow]:
        """All rows that were drawn of one report."""
        report = self._report(order, digest)
        block = await self.draws.block_hash(order)
        wanted = rows_to_open(digest, block, report.statement.predicate.rows, OPENED)
        sealed = self.trials.kept(order, int(order.data["attempt"]))
        await self.trials.fetch(order, sealed)
        async with self.trials.opened(sealed) as trial:
            outputs = await self.reopener().reopen(order, trial, report.statement, wanted)
            rows = await self.trials.workers.work(_shown, trial, wanted)
        return [
            OpenedRow(index=at, row=row, output=output)
            for at, row, output in zip(wanted, rows, outputs, strict=True)
        ]

    def _report(self, order: OpenOrder, digest: str) -> Report:
        report = report_of(order, self.wallet.lower())
        if report is None or statement_hash(report.raw) != digest or order.final:
            raise SandboxError("not_now", "The order has moved on; nothing is opened any more.")
        return report

    async def _role(self, order: OpenOrder, peer_id: str) -> str:
        if peer_id in (order.contract.order.buyer, order.contract.order.seller):
            return "buyer" if peer_id == order.contract.order.buyer else "seller"
        arbiter = order.contract.arbiter.lower()
        return "arbiter" if arbiter and await self.catalogue.wallet_of(peer_id) == arbiter else ""


def _shown(trial: Trial, wanted: list[int]) -> list[Sealed]:
    with Path(trial.rows).open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, strict=True))
    return sealed_rows.prove(lines[1:], trial.salts, wanted)


def _nothing() -> NotFound:
    return NotFound("no_such_order", "There is no such order.")
