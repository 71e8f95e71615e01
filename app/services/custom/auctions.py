"""Sealed bids: open the auction of one's own request, bid in others', and see each to its end.

What has to be done at a certain time the node does by itself: it opens its own bids while that counts,
settles what is over, and writes the order with whoever won.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.auction_view import Seen, shown
from openstall.app.services.custom.bidding import auction_terms, check_auction, check_bid, escrow_key
from openstall.app.services.custom.chain_time import ChainTime
from openstall.app.services.custom.funds import check_funds
from openstall.app.services.keys import box_public
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.placing import Party
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.auction import AuctionClient, AuctionOnChain, Bid, auction_key
from openstall.ledger.chain import Chain
from openstall.ledger.model_escrow import ENDED, ModelEscrowClient
from openstall.ledger.wallet import Wallet
from openstall.market import ids
from openstall.market.errors import Conflict, InvalidOrder, OpenstallError, Refused
from openstall.market.fields import body_as_dict
from openstall.market.orders.documents import Contract, Order, sign_contract, write_contract
from openstall.market.records import SignedRecord, parse_record
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.terms import check_award, custom_terms, request_in
from openstall.store.auctions import Auctions
from openstall.store.parts import PartRow

POLL_S = 5.0
AFTER_THE_REQUESTER_S = 10

log = get_logger("openstall.auctions")


@dataclass(slots=True, kw_only=True)
class AuctionService:
    """Both sides of an auction."""

    me: Party
    books: Auctions
    desk: OrderDesk
    engine: OrderEngine
    catalogue: Catalogue
    chain: Chain
    wallet: Wallet
    transactions: TransactionService
    workers: Workers
    on_over: Callable[[str], Awaitable[None]] = field(init=False)
    """Hears of each own request whose auction ended without an order."""
    _changed: trio.Event = field(default_factory=trio.Event)

    # --- what a person does ---

    async def open(self, record: SignedRecord) -> None:
        """Pay the budget of one's own request in; from then on it cannot be withdrawn.

        Raises:
            MoneyError: the wallet holds less than the budget.
            ChainError: the chain refuses, or cannot be reached (then it is sent later).
        """
        if await self.workers.store(self.books.find, record.cid) is None:
            await self.check_budget(request_in(record).budget_micro)
            await self._keep(record, "requester", {})
            await self._open(record, request_in(record))
        self.wake()

    async def check_budget(self, budget_micro: int) -> None:
        """Whether the wallet holds the budget of a request; raises MoneyError."""
        await self._afford(budget_micro, "the budget of the request")

    async def bid(self, cid: str, amount_micro: int) -> dict[str, Any]:
        """Make a sealed bid: nobody can read it before the time to open bids.

        Raises:
            NotFound: there is no such request.
            Refused: the bid does not fit the request.
            Conflict: this wallet has bid already, or the time for bids is over.
            MoneyError: the wallet holds less than the deposit.
        """
        record = await self.catalogue.live_record(cid)
        body = request_in(record)
        check_bid(record, amount_micro, me=self.me, params=self.chain.params, now=self.desk.now())
        if await self.workers.store(self.books.find, cid) is not None:
            raise Conflict("already_bid", "You have made your bid: it is sealed and cannot be changed.")
        check_auction((await self._look(body, cid)).auction, body, self.chain.params)
        await self._afford(body.deposit_micro, "the deposit of a bid")
        salt = secrets.token_bytes(32)
        await self._keep(record, "bidder", {"amount_micro": amount_micro, "salt": salt.hex()})
        row = await self.workers.store(self.books.get, cid)
        await self._commit(row, body)
        self.wake()
        return await self.view(cid)

    async def view(self, cid: str) -> dict[str, Any]:
        """What the chain shows of the auction of a request, and this node's own part in it.

        Raises:
            NotFound: there is no such request.
        """
        row = await self.workers.store(self.books.find, cid)
        record = await self._held(cid) if row is None else self.record(row)
        seen = await self._look(request_in(record), record.cid)
        return shown(record, seen, row, await self.transactions.of_order(record.cid))

    async def entry(self, cid: str) -> dict[str, Any]:
        """A request as the catalogue tells it; who takes part has it also when it has left the catalogue.

        Raises:
            NotFound: this node knows no such request.
        """
        row = await self.workers.store(self.books.find, cid)
        return await self.catalogue.entry(await self._held(cid) if row is None else self.record(row))

    async def stages(self) -> dict[str, dict[str, Any]]:
        """How far the auction of each own request is, by the request's cid."""
        rows = await self.workers.store(lambda: self.books.items(role="requester"))
        return {row.request_cid: {"stage": row.state, "order_id": row.data.get("order_id")} for row in rows}

    async def items(self, *, role: str = "") -> list[dict[str, Any]]:
        """The auctions this node takes part in, newest first."""
        rows = await self.workers.store(lambda: self.books.items(role=role))
        return [await self.view(row.request_cid) for row in rows]

    async def check_contract(self, contract: Contract) -> None:
        """Developer: may this proposed order be signed?

        Raises:
            InvalidOrder: this node made no bid, did not win, signed another order for it, or a term differs.
        """
        row = await self.workers.store(self.books.find, contract.custom.request)
        if row is None or row.role != "bidder":
            raise InvalidOrder("no_bid", "This peer made no bid for that request.")
        record = self.record(row)
        seen = await self._look(request_in(record), record.cid)
        if seen.auction.state not in ("settled", "awarded"):
            raise InvalidOrder("not_settled", "The auction of that request is not over.")
        if seen.auction.winner != self.me.wallet.lower():
            raise InvalidOrder("not_the_winner", "Another developer won that auction.")
        check_award(
            contract,
            record,
            wallet=self.me.wallet,
            price_micro=seen.auction.price_micro,
            now=self.desk.now(),
        )
        # Kept before the signature: of two orders for one price, the key could be right for one alone.
        if row.data.get("order_id", contract.order_id) != contract.order_id:
            raise InvalidOrder("other_order", "This peer has signed another order for that auction.")
        await self.workers.store(lambda: self.books.patch(record.cid, order_id=contract.order_id))

    # --- what the node does by itself ---

    def wake(self) -> None:
        """Something has changed: look now."""
        self._changed.set()

    async def run(self) -> None:
        """See every open auction to its end, until cancelled."""
        while True:
            self._changed = trio.Event()
            await self.look()
            with trio.move_on_after(POLL_S):
                await self._changed.wait()

    async def look(self) -> None:
        """Do for every open auction what is due now."""
        for row in await self.workers.store(lambda: self.books.items(open_only=True)):
            try:
                await self._step(row)
            except OpenstallError as error:
                log.info("auction waits", request=row.request_cid, code=error.code)
                await self._note_trouble(row, error)
            else:
                await self._note_trouble(row, None)

    async def _step(self, row: PartRow) -> None:
        record = self.record(row)
        body, now = request_in(record), self.desk.now()
        seen = await self._look(body, record.cid)
        state = seen.auction.state
        if state == "none" and row.role == "requester":
            await self._open_again(record, body, row)
            return
        # The requester first: what anybody may send need not be paid for by all.
        patience_s = 0 if row.role == "requester" else AFTER_THE_REQUESTER_S
        if state == "open" and now > body.reveal_by + patience_s:
            await self._send(record.cid, "settle", lambda client, key: client.settle(key), body)
            seen = await self._look(body, record.cid)
            state = seen.auction.state
        if row.role == "requester":
            await self._requester(row, record, seen.auction)
        else:
            await self._bidder(row, body, seen)

    async def _open_again(self, record: SignedRecord, body: RequestBody, row: PartRow) -> None:
        """The node was ended between keeping the auction and sending it."""
        if self.desk.now() > body.commit_by:
            await self._close(row, "expired")
            return
        await self._open(record, body)

    async def _requester(self, row: PartRow, record: SignedRecord, auction: AuctionOnChain) -> None:
        body = request_in(record)
        match auction.state:
            case "void" | "expired":
                await self._close(row, auction.state)
            case "settled" | "awarded" if row.data.get("order_id") or self.desk.now() <= auction.deliver_by:
                await self._order(row, record, auction)
                await self.workers.store(self.books.close, row.request_cid, "awarded")
            case "settled":
                await self._send(row.request_cid, "expire", lambda client, key: client.expire(key), body)
                await self._close(row, "expired")
            case "awarded" if await self._goes_on(record):
                await self._order(row, record, auction)
                await self.workers.store(self.books.close, row.request_cid, "awarded")
            case "awarded":
                await self._take_back(row, record)

    async def _goes_on(self, record: SignedRecord) -> bool:
        """Whether the winner has handed something in, known to us or not."""
        key = escrow_key(record, self.chain.params)
        found = await self.workers.chain(ModelEscrowClient(self.chain).order_by_key, key)
        return found.state not in ("funded", *ENDED)

    async def _take_back(self, row: PartRow, record: SignedRecord) -> None:
        """The price of an order that could never be written, out of the escrow into which it was moved."""
        client, key = ModelEscrowClient(self.chain), escrow_key(record, self.chain.params)
        if (await self.workers.chain(client.order_by_key, key)).state not in ENDED:
            await self.transactions.send("refund", row.request_cid, lambda: client.refund(key))
        await self._close(row, "expired")

    async def _close(self, row: PartRow, state: str) -> None:
        """The requester's auction ended without an order."""
        await self.on_over(row.request_cid)
        await self.workers.store(self.books.close, row.request_cid, state)

    async def _bidder(self, row: PartRow, body: RequestBody, seen: Seen) -> None:
        cid, now = row.request_cid, self.desk.now()
        mine = next((bid for bid in seen.bids if bid.bidder == self.me.wallet.lower()), None)
        sealed = mine is not None and mine.amount_micro is None
        match seen.auction.state:
            case "open" if (
                mine is None and now > body.commit_by and not await self.transactions.started(cid, "commit")
            ):  # what was signed may still be taken, by the chain's clock: it must be opened then
                await self.workers.store(self.books.close, cid, "expired")
            case "open" if mine is None:
                await self._commit(row, body)
            case "open" if sealed and body.commit_by < now <= body.reveal_by:
                if not await self._time().pass_by(body.commit_by, cid, now=now):
                    return  # by the chain's clock somebody could still bid, knowing this bid
                bid = self._bid(row)
                await self._send(cid, "reveal", lambda client, key: client.reveal(key, bid), body)
            case "void":
                if sealed:
                    me = self.me.wallet
                    await self._send(cid, "deposit", lambda client, key: client.withdraw(key, me), body)
                await self.workers.store(self.books.close, cid, "void")
            case "settled" | "awarded" | "expired":
                won = seen.auction.winner == self.me.wallet.lower()
                await self.workers.store(self.books.close, cid, "won" if won else "lost")

    async def write_again(self, order_id: str) -> bool:
        """Write an order that these books have lost: every word follows from the request and its auction.

        Whether there was one to write.
        """
        rows = await self.workers.store(lambda: self.books.items(role="requester"))
        for row in rows:
            if row.data.get("order_id") == order_id:
                record = self.record(row)
                seen = await self._look(request_in(record), record.cid)
                await self._order(row, record, seen.auction)
                return True
        return False

    async def _order(self, row: PartRow, record: SignedRecord, auction: AuctionOnChain) -> None:
        """Write the order with whoever won, once."""
        known = row.data.get("order_id")
        if known and await self.desk.find(known) is not None:
            return
        seller = await self.catalogue.peer_of(auction.winner)
        if seller is None and await self._goes_on(record):
            # Whoever hides could else call an arbiter who knows of no order, and have half by its silence.
            seller = ids.peer_id_of_nobody(auction.winner)
        if seller is None:
            raise Refused(
                "winner_unknown", "The developer who won has not told the group where it can be reached."
            )
        nonce = ids.digest_in_cid(record.cid).hex()[:32]
        terms = custom_terms(record, price_micro=auction.price_micro, box_key=box_public(self.me.seed, nonce))
        contract = write_contract(
            Order(
                kind="custom",
                network=self.me.network,
                chain_id=self.me.chain_id,
                buyer=self.me.peer_id,
                seller=seller,
                buyer_wallet=self.me.wallet,
                seller_wallet=auction.winner,
                nonce=nonce,
                created=auction.reveal_by,
                terms=body_as_dict(terms),
            )
        )
        await self.desk.create(
            contract,
            role="buyer",
            buyer_signature=sign_contract(contract, self.me.seed),
            words="The auction is over. You signed the order with the developer who won it.",
            actor="you",
        )
        await self.workers.store(lambda: self.books.patch(row.request_cid, order_id=contract.order_id))
        self.engine.watch(contract.order_id)

    # --- the chain ---

    async def _open(self, record: SignedRecord, body: RequestBody) -> None:
        terms, request_hash = auction_terms(body), ids.digest_in_cid(record.cid)
        client = AuctionClient(self.chain)
        await self.transactions.send(
            "open",
            record.cid,
            lambda: client.open(self.wallet, request_hash, terms, pay_by=body.commit_by),
        )

    async def _commit(self, row: PartRow, body: RequestBody) -> None:
        bid = self._bid(row)
        await self._send(
            row.request_cid,
            "commit",
            lambda client, key: client.commit(
                self.wallet, key, bid, deposit_micro=body.deposit_micro, pay_by=body.commit_by
            ),
            body,
        )

    async def _send(self, cid: str, purpose: str, build: Any, body: RequestBody) -> None:
        client, key = AuctionClient(self.chain), _key(body, cid)
        await self.transactions.send(purpose, cid, lambda: build(client, key))

    async def _look(self, body: RequestBody, cid: str) -> Seen:
        def look() -> Seen:
            client, key = AuctionClient(self.chain), _key(body, cid)
            auction = client.auction(key)
            return Seen(auction=auction, bids=client.bids(key) if auction.state != "none" else [])

        return await self.workers.chain(look)

    def _time(self) -> ChainTime:
        return ChainTime(
            chain=self.chain, transactions=self.transactions, wallet=self.wallet, workers=self.workers
        )

    async def _afford(self, amount_micro: int, what: str) -> None:
        await check_funds(self.chain, self.workers, self.me.wallet, amount_micro, what)

    # --- the books ---

    async def _keep(self, record: SignedRecord, role: str, data: dict[str, Any]) -> None:
        await self.workers.store(
            lambda: self.books.add(record.cid, role=role, record=record.raw, data=data, at=self.desk.now())
        )

    async def _note_trouble(self, row: PartRow, error: OpenstallError | None) -> None:
        told = None if error is None else error.as_dict()
        if row.data.get("trouble") != told:
            await self.workers.store(lambda: self.books.patch(row.request_cid, trouble=told))

    def _bid(self, row: PartRow) -> Bid:
        return Bid(
            bidder=self.me.wallet.lower(),
            amount_micro=int(row.data["amount_micro"]),
            salt=bytes.fromhex(row.data["salt"]),
        )

    async def _held(self, cid: str) -> SignedRecord:
        return await self.catalogue.held(cid) or await self.catalogue.live_record(cid)

    def record(self, row: PartRow) -> SignedRecord:
        """The request as it was kept: it may have left the catalogue since."""
        return parse_record(row.record, network=self.me.network, now=row.created_at)


def _key(body: RequestBody, cid: str) -> bytes:
    return auction_key(body.wallet, ids.digest_in_cid(cid))
