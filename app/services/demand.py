"""What the group's buyers order, where it went, and where our own offer stands among the others.

On the group's chain every job that is ordered shows as money set aside for a provider. For each that went
to somebody else we note at once, from both live offers, why it did not come here; and likewise for each
order that this machine turned away. The notes hold what they were concluded from, so that they can be
concluded again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.renting import OFFER_KEY
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.channel import ChannelClient, Opened
from openstall.market.errors import ChainError, InvalidRecord, NotFound, OpenstallError
from openstall.market.mechanisms.compute_prices import Sold, market_view, standing, suggest
from openstall.market.mechanisms.lost_jobs import Moment, conclude, refused_then, seen_then
from openstall.market.orders.documents import Contract
from openstall.market.records import Offer
from openstall.store.lost_jobs import MAX_KEPT, LostJob, LostJobs
from openstall.store.settings import Settings

_BLOCK = "demand.block"
MOST_OFFERS = 200
SHOWN = 100
RETRY_S = 5.0

log = get_logger("openstall.demand")


@dataclass(slots=True, kw_only=True)
class Demand:
    """Watches the chain for jobs of others. Call from the trio thread."""

    catalogue: Catalogue
    chain: Chain
    settings: Settings
    lost: LostJobs
    workers: Workers
    wallet: str
    now: Callable[[], int]
    held_back: Callable[[], str]
    """Why the owner's rules keep jobs away now; empty if they do not."""
    cost_per_s_micro: Callable[[], Awaitable[int]]
    """What a second of work costs the owner."""
    sold: Callable[[], Awaitable[Sequence[Sold]]]
    _grown: trio.Event = field(default_factory=trio.Event)

    def new_block(self) -> None:
        """The chain has grown."""
        self._grown.set()

    async def run(self) -> None:
        """Look at every new block, until cancelled."""
        while True:
            self._grown = trio.Event()
            try:
                await self._look()
            except ChainError as error:
                log.info("chain away", code=error.code)
                await trio.sleep(RETRY_S)
                continue
            await self._grown.wait()

    async def note_refusal(self, contract: Contract, error: OpenstallError) -> None:
        """An order reached us and was turned away."""
        if contract.order.kind != "compute":
            return
        seen = refused_then(error.code, error.message)
        await self._keep(
            LostJob(
                key=contract.order_id,
                at=self.now(),
                chosen="",
                amount_micro=contract.compute.cap_micro,
                reasons=[asdict(reason) for reason in conclude(seen)],
                seen=seen,
            )
        )

    async def replay(self) -> dict[str, Any]:
        """Conclude again, from what was kept, why each job went elsewhere, and compare."""
        jobs = await self.workers.store(self.lost.newest, MAX_KEPT)
        items = await self.workers.work(lambda: [_again(job) for job in jobs])
        return {"items": items, "total": len(items), "same": sum(item["same"] for item in items)}

    async def as_dict(self) -> dict[str, Any]:
        """Where our offer stands, what price would earn most, and why jobs went elsewhere."""
        offers = await self._offers()
        own = offers.pop(self.wallet.lower(), None)
        others = list(offers.values())
        view = market_view([*others, own] if own else others)
        suggestion = suggest(await self.cost_per_s_micro(), await self.sold())
        jobs = await self.workers.store(self.lost.newest, SHOWN)
        return {
            "price_micro": own.price_per_s_micro if own else None,
            "market": asdict(view) if view else None,
            "standing": asdict(standing(own, others)) if own else None,
            "suggestion": asdict(suggestion) if suggestion else None,
            "lost": {
                "items": [asdict(job) for job in jobs],
                "total": await self.workers.store(self.lost.count),
            },
        }

    async def _look(self) -> None:
        head = (await self.workers.chain(self.chain.head)).number
        final = head - self.chain.params.confirmations + 1
        seen = await self.workers.store(self.settings.get, _BLOCK)
        start = final + 1 if seen is None or seen > final else seen + 1
        if start <= final:
            opened = await self.workers.chain(ChannelClient(self.chain).opened, start, final)
            for job in opened:
                if self.wallet.lower() not in (job.payer.lower(), job.payee.lower()):
                    await self._note(job)
        await self.workers.store(self.settings.set, _BLOCK, max(final, 0))

    async def _note(self, job: Opened) -> None:
        offers = await self._offers()
        winner, own = offers.get(job.payee.lower()), offers.get(self.wallet.lower())
        seen = seen_then(Moment(offer=own, held_back=self.held_back()), winner)
        await self._keep(
            LostJob(
                key=job.tx_hash,
                at=job.at,
                chosen=job.payee,
                amount_micro=job.deposit_micro,
                reasons=[asdict(reason) for reason in conclude(seen)],
                seen=seen,
            )
        )

    async def _keep(self, job: LostJob) -> None:
        await self.workers.store(self.lost.keep, job)

    async def _offers(self) -> dict[str, Offer]:
        """Live offers by the wallet that is paid for them, in lower case."""
        page = await self.catalogue.find(types=("offer",), limit=MOST_OFFERS)
        found: dict[str, Offer] = {}
        for item in page["items"]:
            if item["mine"] and item["key"] != OFFER_KEY:
                continue
            try:
                body = (await self.catalogue.live_record(item["cid"])).body
            except NotFound:
                continue  # it has expired in this moment
            if isinstance(body, Offer):
                found[body.wallet.lower()] = body
        return found


def _again(job: LostJob) -> dict[str, Any]:
    """One job concluded again; notes of an earlier version may hold too little for that."""
    found: list[dict[str, Any]] | None
    try:
        found, why = [asdict(reason) for reason in conclude(job.seen)], ""
    except InvalidRecord as error:
        found, why = None, error.message
    return {
        "key": job.key,
        "at": job.at,
        "same": found == job.reasons,
        "kept": job.reasons,
        "again": found,
        "why_not": why,
    }
