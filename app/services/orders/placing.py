"""A person orders something: the contract is written from the live record, signed, and put into motion."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.keys import box_public
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.job_work import Work, disk_bytes, from_checkpoint, gpu_memory
from openstall.app.services.selling import SUFFIXES
from openstall.app.threads import Workers
from openstall.compute_agent.specs import JobKind, JobSpec, is_plain_file_name
from openstall.ledger.chain import Chain
from openstall.market.errors import ChainError, MoneyError, NotFound, Refused
from openstall.market.fields import TEXT_ENDINGS, BlobRef, body_as_dict
from openstall.market.job_kinds import SCRIPT
from openstall.market.money import format_amount
from openstall.market.orders.agree import (
    ARBITER_FEE_BPS,
    ARBITER_S,
    LONGEST_SALE_FUND_S,
    MAX_LOG_BYTES,
    MAX_PROCESSES,
    SETTLE_AFTER_S,
    SILENT_BUYER_BPS,
    START_WITHIN_S,
    longest_fund_s,
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
from openstall.market.orders.failover import (
    LONGEST_PATIENCE_S,
    MOST_TRIES,
    SHORTEST_PATIENCE_S,
)
from openstall.market.records import Listing, Offer, ServiceLevel, SignedRecord
from openstall.p2p.blobs import BlobStore

PAY_WITHIN_S = 900
PATIENT_S = LONGEST_SALE_FUND_S
"""For an order of a model whose seller is off: it signs when it is back, and nothing is paid before."""
SHORTEST_PAY_S = 15
MAX_INPUTS = 16
_SLACK_S = 10


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
    """A job as a person asks for it; amounts in micro-credits, times in seconds."""

    offer_cid: str
    kind: JobKind
    inputs: dict[str, Path]
    params: dict[str, Any]
    max_s: int
    cap_micro: int
    pay_within_s: int = PAY_WITHIN_S
    tries: int = 1
    """How many providers may be tried, one after another, should they fail."""
    patience_s: int = 60
    """How long a provider may be silent before it counts as failed."""
    gpus: int = 0
    """How many graphics processors the job rents."""
    challenge: bool = False
    """Whether the machine is challenged once, while the job runs."""
    service: ServiceLevel | None = None
    """What the provider is bound to; see `LevelService.choose`."""
    priority_per_s_micro: int = 0
    """What is offered on top of the price, for an earlier place in the line."""
    note: dict[str, Any] = field(default_factory=dict)
    """What the books keep beside the order: which part of which batch it is."""


@dataclass(slots=True, kw_only=True)
class Placing:
    """Writes and signs the buyer's contracts."""

    me: Party
    desk: OrderDesk
    engine: OrderEngine
    catalogue: Catalogue
    blobs: BlobStore
    chain: Chain
    workers: Workers
    connected: Callable[[str], bool]
    """Whether a peer is connected now."""

    async def buy(self, listing_cid: str, *, pay_within_s: int | None = None) -> str:
        """Order a copy of a model; returns the order id. Unpaid after `pay_within_s`, the order lapses.

        Without such a time it is as short as may be where the seller is connected, else `PATIENT_S`.

        Raises:
            NotFound, Refused: the listing is gone, or is one's own.
            MoneyError: the wallet holds less than the price.
        """
        record = await self._record(listing_cid)
        listing = record.body
        if not isinstance(listing, Listing):
            raise NotFound("not_on_sale", "That is not a model on sale.")
        _check_package(listing)
        await self._afford(listing.price_micro)
        now = self.desk.now()
        nonce = secrets.token_hex(16)
        if pay_within_s is None:
            pay_within_s = PAY_WITHIN_S if self.connected(record.record.author) else PATIENT_S
        fund_by = now + _within("sale", pay_within_s)
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
        return await self._place(self._order("sale", record, listing.wallet, nonce, body_as_dict(terms)))

    async def rent(self, request: JobRequest) -> str:
        """Order a job on rented compute; returns the order id.

        Raises:
            NotFound, Refused: the offer is gone, or does not fit the job.
            MoneyError: the wallet holds less than the cap.
        """
        record = await self._record(request.offer_cid)
        offer = _offer_in(record)
        if request.kind not in offer.kinds:
            raise Refused(
                "wrong_kind", f"This provider does not take {request.kind} jobs.", "Choose another offer."
            )
        params = request.params
        if request.kind == "script":
            params = params | {"files": sorted(set(request.inputs) - {SCRIPT})}
        JobSpec(job_id="check", kind=request.kind, params=params).parse_params()
        check_tries(request.tries, request.patience_s)
        work = Work(
            kind=request.kind,
            params=params,
            inputs=await self._inputs(request.inputs),
            max_s=request.max_s,
            cap_micro=request.cap_micro,
            gpus=request.gpus,
            service=request.service,
            priority_per_s_micro=request.priority_per_s_micro,
        )
        data: dict[str, Any] = {"tries_left": request.tries - 1, "patience_s": request.patience_s}
        if request.challenge:
            data["challenge"] = True
        if request.note:
            data["note"] = request.note
        return await self._place_job(record, offer, work, within_s=request.pay_within_s, data=data)

    async def go_on(self, order: OpenOrder, offer_cid: str, *, cap_micro: int, tried: list[str]) -> str:
        """Order the rest of a job from another provider, from its last checkpoint; returns the order id.

        Raises:
            NotFound, MoneyError: like `rent`.
        """
        record = await self._record(offer_cid)
        offer, terms = _offer_in(record), order.contract.compute
        inputs, params = from_checkpoint(order)
        work = Work(
            kind=terms.job_kind,
            params=params,
            inputs=inputs,
            max_s=terms.max_s,
            cap_micro=cap_micro,
            gpus=terms.limits.gpus,
        )
        data = {
            "tries_left": int(order.data["tries_left"]) - 1,
            "patience_s": order.data["patience_s"],
            "tried": tried,
            "continues": order.order_id,
        }
        return await self._place_job(record, offer, work, within_s=PAY_WITHIN_S, data=data)

    async def again(self, order: OpenOrder, offer_cid: str, *, cap_micro: int, data: dict[str, Any]) -> str:
        """Order the very job of another order from somebody else; returns the order id.

        Args:
            cap_micro: the most it may cost; 0: as much as that order.

        Raises:
            NotFound, Refused, MoneyError: like `rent`.
        """
        record = await self._record(offer_cid)
        offer, terms = _offer_in(record), order.contract.compute
        if terms.job_kind not in offer.kinds:
            raise Refused(
                "wrong_kind", f"That provider takes no {terms.job_kind} jobs.", "Name another offer."
            )
        work = Work(
            kind=terms.job_kind,
            params=terms.params,
            inputs=terms.inputs,
            max_s=terms.max_s,
            cap_micro=cap_micro or terms.cap_micro,
            gpus=terms.limits.gpus,
        )
        kept = {"tries_left": 0, "patience_s": order.data["patience_s"], **data}
        return await self._place_job(record, offer, work, within_s=PAY_WITHIN_S, data=kept)

    async def author_of(self, offer_cid: str) -> str:
        """The provider of an offer.

        Raises:
            NotFound, Refused: it is gone, is no offer of compute, or is one's own.
        """
        record = await self._record(offer_cid)
        _offer_in(record)
        return record.record.author

    async def _place_job(
        self, record: SignedRecord, offer: Offer, work: Work, *, within_s: int, data: dict[str, Any]
    ) -> str:
        max_s = min(work.max_s, offer.max_s)
        price_micro = offer.price_per_s_micro + work.priority_per_s_micro
        cap_micro = min(work.cap_micro, price_micro * max_s)
        await self._afford(cap_micro)
        fund_by = self.desk.now() + _within("compute", within_s)
        start_by = fund_by + START_WITHIN_S
        terms = ComputeTerms(
            offer=record.cid,
            title=f"{work.kind.capitalize()} on {offer.title}"[:120],
            job_kind=work.kind,
            params=work.params,
            inputs=work.inputs,
            limits=Limits(
                memory_bytes=offer.memory_bytes,
                disk_bytes=disk_bytes(work.inputs, offer),
                threads=offer.threads,
                processes=MAX_PROCESSES,
                log_bytes=MAX_LOG_BYTES // 4,
                gpus=work.gpus,
                gpu_memory_bytes=gpu_memory(work, offer),
            ),
            price_per_s_micro=price_micro,
            priority_per_s_micro=work.priority_per_s_micro,
            cap_micro=cap_micro,
            max_s=max_s,
            channel=offer.channel,
            withdraw_delay_s=offer.withdraw_delay_s,
            fund_by=fund_by,
            start_by=start_by,
            settle_by=start_by + max_s + SETTLE_AFTER_S + _SLACK_S,
            service=work.service,
        )
        nonce = secrets.token_hex(16)
        order = self._order("compute", record, offer.wallet, nonce, body_as_dict(terms))
        return await self._place(order, data)

    async def _record(self, cid: str) -> SignedRecord:
        record = await self.catalogue.live_record(cid)
        if record.record.author == self.me.peer_id:
            raise Refused("own_stall", "This is your own stall.", "Use a second home to try it out.")
        return record

    async def _afford(self, amount_micro: int) -> None:
        try:
            balance = await self.workers.chain(self.chain.balance_micro, self.me.wallet)
        except ChainError as error:
            if error.code != "chain_unreachable":
                raise
            return  # an order can be written without a network; the payment itself looks again
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
            info = await self.blobs.add_file(path)
            found.append(InputFile(name=name, blob=BlobRef(cid=info.cid, size=info.size, sha256=info.sha256)))
        return found

    def _order(
        self, kind: str, record: SignedRecord, seller_wallet: str, nonce: str, terms: dict[str, Any]
    ) -> Order:
        return Order(
            kind=kind,
            network=self.me.network,
            chain_id=self.me.chain_id,
            buyer=self.me.peer_id,
            seller=record.record.author,
            buyer_wallet=self.me.wallet,
            seller_wallet=seller_wallet,
            nonce=nonce,
            created=self.desk.now(),
            terms=terms,
        )

    async def _place(self, order: Order, data: dict[str, Any] | None = None) -> str:
        contract = write_contract(order)
        signature = sign_contract(contract, self.me.seed)
        await self.desk.create(
            contract,
            role="buyer",
            buyer_signature=signature,
            data=data,
            words="You signed the order.",
            actor="you",
        )
        self.engine.watch(contract.order_id)
        return contract.order_id


def _offer_in(record: SignedRecord) -> Offer:
    if not isinstance(record.body, Offer):
        raise NotFound("not_on_sale", "That is not an offer of compute.")
    return record.body


def check_tries(tries: int, patience_s: int) -> None:
    """Refused with words if a job cannot be moved on like that."""
    if not 1 <= tries <= MOST_TRIES or not SHORTEST_PATIENCE_S <= patience_s <= LONGEST_PATIENCE_S:
        raise Refused(
            "bad_tries",
            f"A job tries one to {MOST_TRIES} providers, and waits for each "
            f"{SHORTEST_PATIENCE_S} to {LONGEST_PATIENCE_S} seconds.",
        )


def _within(kind: str, seconds: int) -> int:
    if not SHORTEST_PAY_S <= seconds <= longest_fund_s(kind):
        raise Refused(
            "bad_time", f"The time to pay lies between {SHORTEST_PAY_S} and {longest_fund_s(kind)} seconds."
        )
    return seconds


def _check_package(listing: Listing) -> None:
    """What an honest seller's node would not have published is not bought, either: it could run code."""
    suffixes = [Path(entry.name).suffix for entry in listing.files]
    strange = [
        entry.name
        for entry, suffix in zip(listing.files, suffixes, strict=True)
        if suffix not in SUFFIXES and suffix not in TEXT_ENDINGS
    ]
    if strange or sum(suffix in SUFFIXES for suffix in suffixes) != 1:
        raise Refused(
            "unsafe_format",
            f"This package is not one model with texts beside it: {', '.join(strange[:5]) or 'no model'}.",
            "Do not buy it: such files can run code on your computer.",
        )
