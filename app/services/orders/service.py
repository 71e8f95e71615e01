"""Orders as people use them: buy, rent, look, act. One object behind the local API."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.keys import box_public
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.job_buyer import JobBuyer
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.sale import SaleActions
from openstall.app.services.orders.view import Surroundings, detail, possible_actions, summary
from openstall.app.threads import Workers
from openstall.compute_agent.specs import JobSpec, is_plain_file_name
from openstall.market.errors import Conflict, MoneyError, NotFound, Refused
from openstall.market.money import format_amount
from openstall.market.orders.agree import (
    ARBITER_FEE_BPS,
    ARBITER_S,
    LONGEST_FUND_S,
    MAX_LOG_BYTES,
    MAX_PROCESSES,
    SETTLE_AFTER_S,
    SILENT_BUYER_BPS,
    START_WITHIN_S,
)
from openstall.market.orders.documents import (
    ComputeTerms,
    InputFile,
    Limits,
    Order,
    SaleTerms,
    sign_contract,
    write_contract,
)
from openstall.market.records import BlobRef, Listing, Offer, SignedRecord, body_as_dict
from openstall.p2p.blobs import BlobStore
from openstall.store.job_log import JobLog
from openstall.store.library import Library
from openstall.store.orders import Orders

PAY_WITHIN_S = 900
SHORTEST_PAY_S = 15
_SLACK_S = 10
MAX_INPUTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """This node in an order: its peer, its wallet, its chain."""

    peer_id: str
    seed: bytes
    wallet: str
    chain_id: int
    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job as a person asks for it; amounts in micro-credits, time in seconds."""

    offer_cid: str
    kind: str
    inputs: dict[str, Path]
    params: dict[str, Any]
    max_s: int
    cap_micro: int
    pay_within_s: int = PAY_WITHIN_S


@dataclass(slots=True, kw_only=True)
class OrderService:
    """Starts orders and carries out what a person decides; the engine does the rest."""

    me: Party
    desk: OrderDesk
    engine: OrderEngine
    orders: Orders
    catalogue: Catalogue
    channel: ChannelDesk
    sale: SaleActions
    buyer: JobBuyer
    provider: JobProvider
    blobs: BlobStore
    log: JobLog
    library: Library
    balance_micro: Callable[[], Awaitable[int]]
    workers: Workers

    async def buy(self, listing_cid: str, *, pay_within_s: int = PAY_WITHIN_S) -> str:
        """Order a copy of a model; returns the order id. Unpaid after `pay_within_s`, the order lapses.

        Raises:
            NotFound, Refused: the listing is gone, or is one's own.
            MoneyError: the wallet holds less than the price.
        """
        record = await self._record(listing_cid, "listing")
        listing = record.body
        assert isinstance(listing, Listing)
        await self._afford(listing.price_micro)
        now = self.desk.now()
        nonce = secrets.token_hex(16)
        fund_by = now + _within(pay_within_s)
        terms = SaleTerms(
            listing=record.cid,
            title=listing.title,
            files=listing.files,
            blob=listing.blob,
            key_sha256=listing.key_sha256,
            box_key=box_public(self.me.seed, nonce),
            price_micro=listing.price_micro,
            escrow=listing.escrow,
            arbiter=listing.arbiter,
            arbiter_s=ARBITER_S,
            arbiter_fee_bps=ARBITER_FEE_BPS,
            silent_buyer_bps=SILENT_BUYER_BPS,
            fund_by=fund_by,
            deliver_by=fund_by + listing.deliver_s + _SLACK_S,
            review_s=listing.review_s,
        )
        return await self._place("sale", record, listing.wallet, nonce, now, body_as_dict(terms))

    async def rent(self, request: JobRequest, *, on_stage: Callable[[str], None] = lambda stage: None) -> str:
        """Order a job on rented compute; returns the order id.

        Raises:
            NotFound, Refused: the offer is gone, or does not fit the job.
            MoneyError: the wallet holds less than the cap.
        """
        record = await self._record(request.offer_cid, "offer")
        offer = record.body
        assert isinstance(offer, Offer)
        if request.kind not in offer.kinds:
            raise Refused(
                "wrong_kind", f"This provider does not take {request.kind} jobs.", "Choose another offer."
            )
        cap_micro = min(request.cap_micro, offer.price_per_s_micro * request.max_s)
        await self._afford(cap_micro)
        JobSpec(job_id="check", kind=request.kind, params=request.params).parse_params()  # type: ignore[arg-type]
        on_stage("Preparing the inputs")
        inputs = await self._inputs(request.inputs)
        now = self.desk.now()
        fund_by = now + _within(request.pay_within_s)
        start_by = fund_by + START_WITHIN_S
        terms = ComputeTerms(
            offer=record.cid,
            title=f"{request.kind.capitalize()} on {offer.title}"[:120],
            job_kind=request.kind,
            params=request.params,
            inputs=inputs,
            limits=Limits(
                memory_bytes=offer.memory_bytes,
                disk_bytes=offer.disk_bytes,
                threads=offer.threads,
                processes=MAX_PROCESSES,
                log_bytes=MAX_LOG_BYTES // 4,
            ),
            price_per_s_micro=offer.price_per_s_micro,
            cap_micro=cap_micro,
            max_s=min(request.max_s, offer.max_s),
            channel=offer.channel,
            withdraw_delay_s=offer.withdraw_delay_s,
            fund_by=fund_by,
            start_by=start_by,
            settle_by=start_by + request.max_s + SETTLE_AFTER_S + _SLACK_S,
        )
        nonce = secrets.token_hex(16)
        return await self._place("compute", record, offer.wallet, nonce, now, body_as_dict(terms))

    async def list(self, *, role: str = "", open_only: bool = False) -> list[dict[str, Any]]:
        """All orders, newest first."""
        rows = await self._thread(partial(self.orders.list_ids, role=role or None))
        found = [await self.desk.load(order_id) for order_id in rows]
        return [
            summary(order, await self.catalogue.peer_name(order.other), self.desk.live.get(order.order_id))
            for order in found
            if not (open_only and order.final)
        ]

    async def view(self, order_id: str) -> dict[str, Any]:
        """Everything about one order.

        Raises:
            NotFound: there is no such order.
        """
        order = await self.desk.load(order_id)
        paid, vouchers = await self.channel.paid(order) if order.kind == "compute" else (0, 0)
        package = await self._thread(partial(self.library.find, order_id))
        around = Surroundings(
            other_name=await self.catalogue.peer_name(order.other),
            events=await self._thread(partial(self.orders.events, order_id)),
            live=self.desk.live.get(order_id),
            paid_micro=paid,
            vouchers=vouchers,
            log_lines=await self._thread(partial(self.log.next_seq, order_id)),
            library_path=package.path if package else None,
            now=self.desk.now(),
        )
        return detail(order, around)

    async def read_log(self, order_id: str, start: int, limit: int = 500) -> dict[str, Any]:
        """Log lines of a job from line `start` on."""
        order = await self.desk.load(order_id)
        rows = await self._thread(partial(self.log.read, order_id, start=start, limit=limit))
        next_line = rows[-1].seq + 1 if rows else start
        return {
            "lines": [{"seq": row.seq, "text": row.text} for row in rows],
            "next": next_line,
            "ended": order.state not in ("proposed", "agreed", "funded", "running"),
        }

    async def act(
        self, order_id: str, action: str, *, reason: str = "", buyer_bps: int = 0
    ) -> dict[str, Any]:
        """Carry out a decision of the user and return the order as it then stands.

        Raises:
            Conflict: the action is not possible now.
        """
        order = await self.desk.load(order_id)
        if action not in possible_actions(order, self.desk.now()):
            raise Conflict("wrong_state", f"“{action}” is not possible while the order is “{order.state}”.")
        if order.kind == "sale":
            await self._act_on_sale(order, action, reason, buyer_bps)
        elif order.role == "seller":
            await self.provider.stop(order)
        elif action == "cancel":
            await self.desk.patch(order_id, cancel_requested=True)
            await self.buyer.cancel_now(order)
        else:
            await self.channel.start_withdraw(order)
            await self.channel.catch_up(order)
        self.engine.watch(order_id)
        return await self.view(order_id)

    async def save(self, order_id: str, folder: Path) -> list[str]:
        """Copy a job's artefacts into a folder; returns the new paths.

        Raises:
            Conflict: the artefacts are not here yet, or a file of that name exists.
        """
        order = await self.desk.load(order_id)
        kept = order.data.get("fetched")
        if not kept:
            raise Conflict(
                "no_artefacts", "The job's results are not here yet.", "Wait until the order shows them."
            )
        targets = []
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted(Path(kept).iterdir()):
            target = folder / source.name
            if target.exists():
                raise Conflict("file_exists", f"{target} exists already.", "Choose another folder.")
            await self._thread(partial(shutil.copyfile, source, target))
            targets.append(str(target))
        return targets

    async def _act_on_sale(self, order: OpenOrder, action: str, reason: str, buyer_bps: int) -> None:
        match action:
            case "dispute":
                await self.sale.dispute(order, reason)
            case "rule":
                await self.sale.rule(order, buyer_bps)
            case "complete":
                await self.sale.complete(order)
            case "cancel":
                await self.sale.cancel(order)
            case "refund":
                await self.sale.refund(order)
            case "claim":
                await self.sale.claim(order)

    async def _record(self, cid: str, kind: str) -> SignedRecord:
        record = await self.catalogue.live_record(cid)
        if record.record.type != kind:
            raise NotFound("not_on_sale", f"That is not a {kind}.")
        if record.record.author == self.me.peer_id:
            raise Refused("own_stall", "This is your own stall.", "Use a second home to try it out.")
        return record

    async def _afford(self, amount_micro: int) -> None:
        balance = await self.balance_micro()
        if balance < amount_micro:
            raise MoneyError(
                "insufficient_funds",
                f"You have {format_amount(balance)} credits; {format_amount(amount_micro)} are needed.",
                "Add credits on the Wallet page, or choose a lower cap.",
            )

    async def _inputs(self, files: dict[str, Path]) -> list[InputFile]:
        if not 1 <= len(files) <= MAX_INPUTS:
            raise Refused("bad_inputs", f"A job has one to {MAX_INPUTS} input files.")
        found = []
        for name, path in sorted(files.items()):
            if not is_plain_file_name(name):
                raise Refused("bad_inputs", f"“{name[:80]}” is not a plain file name.")
            if not path.is_file():
                raise NotFound("no_such_file", f"There is no file {path}.", "Choose an existing file.")
            info = await self.blobs.add_file(path)
            found.append(InputFile(name=name, blob=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)))
        return found

    async def _place(
        self,
        kind: str,
        record: SignedRecord,
        seller_wallet: str,
        nonce: str,
        now: int,
        terms: dict[str, Any],
    ) -> str:
        contract = write_contract(
            Order(
                kind=kind,
                network=self.me.network,
                chain_id=self.me.chain_id,
                buyer=self.me.peer_id,
                seller=record.record.author,
                buyer_wallet=self.me.wallet,
                seller_wallet=seller_wallet,
                nonce=nonce,
                created=now,
                terms=terms,
            )
        )
        await self.desk.create(
            contract,
            role="buyer",
            buyer_signature=sign_contract(contract, self.me.seed),
            words="You signed the order.",
            actor="you",
        )
        self.engine.watch(contract.order_id)
        return contract.order_id

    async def _thread(self, call: Callable[[], Any]) -> Any:
        return await self.workers.store(call)


def _within(seconds: int) -> int:
    if not SHORTEST_PAY_S <= seconds <= LONGEST_FUND_S:
        raise Refused(
            "bad_time", f"The time to pay lies between {SHORTEST_PAY_S} and {LONGEST_FUND_S} seconds."
        )
    return seconds
