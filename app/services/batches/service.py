"""Runs batches: orders a part here and a part there, again where a provider failed, gathers what comes.

The orders themselves hold which part of which batch they are, signed into the books in one step; so after a
kill nothing is ordered twice. What all of a part's orders may spend together is its share of the cap.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.services.batches import results
from openstall.app.services.batches.plan import MODEL, BatchRequest, Plan, check, copy_in
from openstall.app.services.batches.progress import Chain, chains_of, report_files, spent_micro
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_failover import NOBODY_ELSE, Failover
from openstall.app.services.orders.placing import JobRequest, Placing
from openstall.app.threads import Workers
from openstall.compute_agent.specs import JobSpec
from openstall.market.errors import InvalidOrder, OpenstallError, Refused
from openstall.market.orders.failover import Candidate
from openstall.market.records import Offer
from openstall.store.batches import Batches, BatchRow

LOOK_S = 2.0
PAUSE_S = 10
LONGEST_PAUSE_S = 600
"""How long a provider that had no place is not asked again for the same part: longer each time."""
NO_PLACE = frozenset(
    {"machine_busy", "too_many", "too_many_unpaid", "house_closed", "house_closes", "no_machine"}
)

Cancel = Callable[[str], Awaitable[object]]


@dataclass(slots=True, kw_only=True)
class BatchService:
    """Starts, drives, shows and cancels batches."""

    books: Batches
    desk: OrderDesk
    placing: Placing
    failover: Failover
    catalogue: Catalogue
    folder: Path
    workers: Workers
    cancel_order: Cancel
    _trouble: dict[str, OpenstallError] = field(default_factory=dict)
    _changed: trio.Event = field(default_factory=trio.Event)

    async def start(self, request: BatchRequest) -> str:
        """Take a batch in; it runs by itself from then on. Returns its id.

        Raises:
            Refused: it cannot be done like that, with words.
            StoreError: no room for its copies.
        """
        await self.workers.work(check, request)
        params = {"label": request.label} if request.label else {}
        JobSpec(job_id="check", kind="infer", params=params).parse_params()
        authors = [await self._author(cid) for cid in request.offers]
        batch_id = secrets.token_hex(8)
        model_sha256, parts = await self.workers.work(copy_in, request, self._place(batch_id))
        plan = Plan(
            model=request.model.name,
            model_sha256=model_sha256,
            parts=parts,
            params=params,
            folder=str(request.folder.resolve()),
            split=bool(request.rows_per_part),
            cap_micro=request.cap_micro,
            part_cap_micro=request.cap_micro // len(parts),
            max_s=request.max_s,
            providers=authors,
            max_price_micro=request.max_price_micro,
            at_once=request.at_once,
            tries=request.tries,
        )
        if not plan.part_cap_micro:
            await self.workers.work(shutil.rmtree, self._place(batch_id))
            raise Refused(
                "cap_too_low", "The cap leaves nothing for each part.", "Raise it, or make fewer parts."
            )
        await self.workers.store(self.books.add, batch_id, msgspec.to_builtins(plan), at=self.desk.now())
        self._wake()
        return batch_id

    async def run(self) -> None:
        """Drive the open batches, until cancelled."""
        while True:
            changed = self._changed
            for row in await self.workers.store(self.books.items, open_only=True):
                try:
                    await self._step(row)
                    self._trouble.pop(row.batch_id, None)
                except OpenstallError as error:
                    self._trouble[row.batch_id] = error
            with trio.move_on_after(LOOK_S):
                await changed.wait()

    async def cancel(self, batch_id: str) -> dict[str, Any]:
        """Order nothing more, and end what runs. Raises NotFound."""
        row = await self.workers.store(self.books.get, batch_id)
        if row.state == "running":
            await self.workers.store(self.books.move, batch_id, "cancelling", at=self.desk.now())
            self._wake()
        return await self.view(batch_id)

    async def items(self) -> list[dict[str, Any]]:
        """All batches, newest first, without their parts."""
        rows = await self.workers.store(self.books.items)
        chains = await chains_of(self.desk)
        return [
            {name: value for name, value in self._as_dict(row, chains).items() if name != "parts"}
            for row in rows
        ]

    async def view(self, batch_id: str) -> dict[str, Any]:
        """One batch with its parts. Raises NotFound."""
        row = await self.workers.store(self.books.get, batch_id)
        return self._as_dict(row, await chains_of(self.desk))

    async def _author(self, cid: str) -> str:
        record = await self.catalogue.live_record(cid)
        if not isinstance(record.body, Offer) or "infer" not in record.body.kinds:
            raise Refused("wrong_kind", "One of the offers takes no infer jobs.", "Choose another offer.")
        return record.record.author

    async def _step(self, row: BatchRow) -> None:
        plan = msgspec.convert(row.plan, Plan)
        chains, before = (await chains_of(self.desk)).get(row.batch_id, {}), row.parts
        for number in range(len(plan.parts)):
            await self._settle(row, plan, number, chains.get(number, []))
        row = await self.workers.store(self.books.get, row.batch_id)
        if row.parts != before:
            self._announce(row.batch_id)
        waiting = [n for n in range(len(plan.parts)) if not row.parts.get(str(n), {}).get("state")]
        open_parts = [n for n in waiting if chains.get(n) and not chains[n][-1].over]
        if row.state == "cancelling":
            for number in open_parts:
                await self._cancel_part(chains[number][-1])
            if not open_parts:
                await self._end(row, plan, "cancelled")
            return
        if not waiting:
            await self._end(row, plan, "ended")
            return
        room = max(0, plan.at_once - len(open_parts))
        for number in [n for n in waiting if n not in open_parts][:room]:
            busy = Counter(chains[n][-1].other for n in open_parts)
            await self._order(row, plan, number, chains.get(number, []), busy)
            chains = (await chains_of(self.desk)).get(row.batch_id, {})
            open_parts.append(number)

    async def _settle(self, row: BatchRow, plan: Plan, number: int, tried: list[Chain]) -> None:
        """See whether a part's last order has ended, and what that means for the part."""
        if not tried or row.parts.get(str(number), {}).get("state"):
            return
        if not tried[-1].over:
            await self._take_over(tried[-1].last)
            return
        last, known = tried[-1], {"order_id": tried[-1].last.order_id}
        note = self.books.note
        if last.good:
            try:
                artefacts, signed = Path(last.last.data["fetched"]), report_files(last.last)
                files = await self.workers.work(results.collect, plan, number, artefacts, signed)
            except InvalidOrder as error:
                known["words"] = error.message
                await self.workers.store(
                    note, row.batch_id, number, at=self.desk.now(), state="failed", **known
                )
                return
            await self.workers.store(
                note, row.batch_id, number, at=self.desk.now(), state="done", files=files, **known
            )
            await self._write_manifest(row.batch_id, plan)
            return
        if last.reason in NO_PLACE:
            return
        counted = sum(chain.reason not in NO_PLACE for chain in tried)
        if not last.providers_fault or counted >= plan.tries:
            await self.workers.store(
                note, row.batch_id, number, at=self.desk.now(), state="failed", words=last.words, **known
            )

    async def _take_over(self, order: OpenOrder) -> None:
        """An order that failed, and that nobody goes on with at its price or less, is ordered anew."""
        live = self.desk.live.get(order.order_id)
        trouble = live.trouble if live else None
        if order.final and order.may_move_on and trouble is not None and trouble.code == NOBODY_ELSE:
            await self.desk.patch(order.order_id, tries_left=0)
            self.desk.set_trouble(order.order_id, None)

    async def _order(
        self, row: BatchRow, plan: Plan, number: int, tried: list[Chain], busy: Counter[str]
    ) -> None:
        """Order a part from who has least to do for this batch. Raises Refused where nobody can take it."""
        left_micro = plan.part_cap_micro - spent_micro(tried)
        failed = {chain.other for chain in tried if chain.reason not in NO_PLACE}
        fit = [
            one
            for one in await self.failover.offers()
            if self._fits(plan, one, left_micro) and not self._paused(one.author, tried)
        ]
        if not fit:
            raise Refused(
                "no_offer",
                "No provider takes another part now, at a price that the part's share of the cap pays for.",
                "It is looked for again. You can also cancel.",
            )
        picked = min(
            fit,
            key=lambda one: (
                one.author in failed,
                busy[one.author],
                not one.reachable,
                one.offer.price_per_s_micro,
                one.cid,
            ),
        )
        place = self._place(row.batch_id)
        request = JobRequest(
            offer_cid=picked.cid,
            kind="infer",
            inputs={MODEL: place / MODEL, "rows.csv": place / plan.parts[number].file},
            params=plan.params,
            max_s=plan.max_s,
            cap_micro=left_micro,
            # failover would look beyond the providers that were named
            tries=plan.tries if len({one.author for one in fit}) > 1 and not plan.providers else 1,
            note={"batch": row.batch_id, "part": number},
        )
        await self.placing.rent(request)
        self._wake()

    def _paused(self, author: str, tried: list[Chain]) -> bool:
        """Whether a provider said not long ago that it has no place."""
        refusals = [one.last for one in tried if one.other == author and one.reason in NO_PLACE]
        if not refusals:
            return False
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (len(refusals) - 1))
        return self.desk.now() < refusals[-1].entered_at + int(pause_s)

    def _fits(self, plan: Plan, one: Candidate, left_micro: int) -> bool:
        offer = one.offer
        return (
            "infer" in offer.kinds
            and one.author != self.placing.me.peer_id
            and (not plan.providers or one.author in plan.providers)
            and offer.price_per_s_micro <= min(left_micro, plan.max_price_micro or left_micro)
        )

    async def _cancel_part(self, chain: Chain) -> None:
        order = chain.last
        asked = order.data.get("cancel_requested") or order.data.get("report")
        if order.state in ("agreed", "funded", "running") and not asked:
            await self.cancel_order(order.order_id)

    async def _end(self, row: BatchRow, plan: Plan, state: str) -> None:
        """Write the last word into the folder, and forget the copies."""
        joined: list[dict[str, str]] = []
        words = ""
        done = [part.get("state") == "done" for part in row.parts.values()]
        if state == "ended" and plan.split and len(done) == len(plan.parts) and all(done):
            try:
                joined = [await self.workers.work(results.join, plan)]
            except OpenstallError as error:
                words = error.message
        await self._write_manifest(row.batch_id, plan, state=state, joined=joined, words=words)
        await self.workers.store(self.books.move, row.batch_id, state, at=self.desk.now())
        self._announce(row.batch_id)
        await self.workers.work(shutil.rmtree, self._place(row.batch_id), ignore_errors=True)

    async def _write_manifest(
        self,
        batch_id: str,
        plan: Plan,
        *,
        state: str = "running",
        joined: list[dict[str, str]] | None = None,
        words: str = "",
    ) -> None:
        row = await self.workers.store(self.books.get, batch_id)
        parts = [
            {
                "name": part.name,
                "input_sha256": part.sha256,
                **row.parts.get(str(number), {"state": "waiting"}),
            }
            for number, part in enumerate(plan.parts)
        ]
        document = {
            "batch": batch_id,
            "state": state,
            "words": words,
            "model": plan.model,
            "model_sha256": plan.model_sha256,
            "parts": parts,
            "joined": joined or [],
        }
        await self.workers.work(results.write_manifest, plan, document)

    def _place(self, batch_id: str) -> Path:
        return self.folder / f"batch-{batch_id}"

    def _announce(self, batch_id: str) -> None:
        self.desk.bus.publish("batch", {"batch_id": batch_id})

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _as_dict(self, row: BatchRow, all_chains: dict[str, dict[int, list[Chain]]]) -> dict[str, Any]:
        plan = msgspec.convert(row.plan, Plan)
        chains = all_chains.get(row.batch_id, {})
        parts = []
        for number, part in enumerate(plan.parts):
            known, tried = row.parts.get(str(number), {}), chains.get(number, [])
            running = bool(tried) and not tried[-1].over
            parts.append(
                {
                    "name": part.name,
                    "state": known.get("state") or ("running" if running else "waiting"),
                    "words": known.get("words", ""),
                    "order_id": tried[-1].last.order_id if tried else None,
                    "tries": len(tried),
                    "spent_micro": spent_micro(tried),
                    "files": known.get("files", []),
                }
            )
        trouble = self._trouble.get(row.batch_id)
        return {
            "batch_id": row.batch_id,
            "state": row.state,
            "model": plan.model,
            "folder": plan.folder,
            "created_at": row.created_at,
            "cap_micro": plan.cap_micro,
            "spent_micro": sum(part["spent_micro"] for part in parts),
            "total": len(parts),
            "done": sum(part["state"] == "done" for part in parts),
            "failed": sum(part["state"] == "failed" for part in parts),
            "trouble": trouble.as_dict() if trouble else None,
            "parts": parts,
        }
