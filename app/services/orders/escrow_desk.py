"""The escrow of a sale: what the chain shows as final, and the transactions that move it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from openstall.app.services.orders import first_block
from openstall.app.services.orders.desk import OpenOrder, OrderDesk, check_chain
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.abi import Event
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.escrow import EscrowClient, EscrowTerms, escrow_key
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder
from openstall.market.orders.documents import Contract

_COMPLETED, _REFUNDED = 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A step that the chain shows as final: its event in the state machine, when, by which transaction.

    `paid_micro` is what the buyer has paid and did not get back, where the step ended the escrow.
    """

    event: str
    at: int
    tx_hash: str
    paid_micro: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowView:
    """All final steps of an order, oldest first, and the key that was delivered through the chain."""

    steps: tuple[Seen, ...] = ()
    sealed_key: bytes | None = None
    nothing_before: int | None = None
    """Where there is nothing yet: a block that comes before all there can be."""


@dataclass(slots=True, kw_only=True)
class EscrowDesk:
    """Reads and moves escrows for one wallet on one chain."""

    desk: OrderDesk
    chain: Chain
    transactions: TransactionService
    wallet: Wallet
    workers: Workers
    _purses: dict[str, trio.Lock] = field(default_factory=dict)

    def purse(self, order_id: str) -> trio.Lock:
        """Held by whoever pays for an order, or steps back from it: it is one or the other."""
        return self._purses.setdefault(order_id, trio.Lock())

    async def look(self, order: OpenOrder) -> EscrowView:
        """What the chain shows; money under other terms than the signed ones counts as no money."""
        view = await self.workers.chain(self._look, order)
        await first_block.note(self.desk, order, view.nothing_before)
        return view

    async def is_funded(self, contract: Contract) -> bool:
        """Whether the chain holds, or held, the price under the signed terms."""

        def look() -> bool:
            order, params = contract.order, self.chain.params
            found = EscrowClient(self.chain).order(order.buyer_wallet, contract.order_hash)
            terms = _terms(contract)
            return found.state != "none" and found.matches(
                buyer=order.buyer_wallet, terms=terms, token=params.credit
            )

        return await self.workers.chain(look)

    async def started(self, order: OpenOrder, purpose: str) -> bool:
        """Whether this node has signed a transaction for that purpose, sent or not."""
        return await self.transactions.started(order.order_id, purpose)

    async def fund(self, order: OpenOrder) -> None:
        """Buyer: pay the price in, in one transaction with its allowance."""
        terms = _terms(order.contract)
        await self.look(order)  # notes the chain's height before there is anything
        await self._send(
            order,
            "fund",
            lambda client: client.fund(
                self.wallet, order.contract.order_hash, terms, pay_by=order.contract.sale.fund_by
            ),
        )

    async def deliver(self, order: OpenOrder, sealed_key: bytes) -> None:
        """Seller: hand the sealed key over."""
        await self._send(order, "deliver", lambda client: client.deliver(_key(order), sealed_key))

    async def complete(self, order: OpenOrder) -> None:
        """Buyer: accept, the seller is paid."""
        await self._send(order, "complete", lambda client: client.complete(_key(order)))

    async def claim(self, order: OpenOrder) -> None:
        """Anybody after the review time: the seller is paid."""
        await self._send(order, "claim", lambda client: client.claim(_key(order)))

    async def refund(self, order: OpenOrder) -> None:
        """Anybody after the delivery deadline: the buyer has the price back."""
        await self._send(order, "refund", lambda client: client.refund(_key(order)))

    async def cancel(self, order: OpenOrder) -> None:
        """Seller: give the whole price back."""
        await self._send(order, "cancel", lambda client: client.cancel(_key(order)))

    async def dispute(self, order: OpenOrder, evidence: bytes) -> None:
        """Buyer: call the arbiter; the chain keeps the hash of the evidence."""
        await self._send(order, "dispute", lambda client: client.dispute(_key(order), evidence))

    async def rule(self, order: OpenOrder, buyer_bps: int) -> None:
        """Arbiter: split the escrow."""
        await self._send(order, "rule", lambda client: client.rule(_key(order), buyer_bps))

    async def settle_silent(self, order: OpenOrder) -> None:
        """Anybody after the arbiter's deadline: split as signed."""
        await self._send(order, "settle_silent", lambda client: client.settle_silent(_key(order)))

    async def _send(self, order: OpenOrder, purpose: str, build: Callable[[EscrowClient], TxRequest]) -> None:
        check_chain(order, self.chain.params.chain_id)
        client = EscrowClient(self.chain)
        await self.transactions.send(purpose, order.order_id, lambda: build(client))

    def _look(self, order: OpenOrder) -> EscrowView:
        check_chain(order, self.chain.params.chain_id)
        client = EscrowClient(self.chain)
        contract = order.contract
        mark = first_block.mark(self.chain, order)
        now = client.order(contract.order.buyer_wallet, contract.order_hash)
        if now.state == "none":
            return EscrowView(nothing_before=mark)
        params = self.chain.params
        if not now.matches(buyer=contract.order.buyer_wallet, terms=_terms(contract), token=params.credit):
            if order.role == "buyer":
                raise InvalidOrder("wrong_escrow", "The escrow on chain does not hold what was signed.")
            return EscrowView()
        deepest = self.chain.head().number - params.confirmations + 1
        events = self.chain.events(
            "OrderEscrow",
            [None, "0x" + now.key.hex()],
            from_block=first_block.first_block(order),
            to_block=deepest,
        )
        return self._steps(contract, events)

    def _steps(self, contract: Contract, events: list[Event]) -> EscrowView:
        terms = contract.sale
        steps: list[Seen] = []
        sealed_key = None
        since = 0
        for event in events:
            at = self.chain.block(event.block_number).timestamp
            paid_micro = None
            if event.name == "Settled":
                paid_micro = terms.price_micro - int(event.args["toBuyer"])
            match event.name:
                case "Funded":
                    name = "fund"
                case "Delivered":
                    name, sealed_key = "deliver", bytes(event.args["sealedKey"])
                case "Disputed":
                    name = "dispute"
                case "Settled" if not steps:
                    raise ChainError(
                        "gap_in_chain", "The chain shows the end of an escrow but not its beginning.", ""
                    )
                case "Settled" if event.args["state"] == _COMPLETED:
                    undisputed = steps[-1].event == "deliver"
                    name = "claim" if undisputed and at > since + terms.review_s else "complete"
                case "Settled" if event.args["state"] == _REFUNDED:
                    undelivered = steps[-1].event == "fund"
                    name = "refund" if undelivered and at > terms.deliver_by else "cancel"
                case "Settled":
                    name = "settle_silent" if at > since + terms.arbiter_s else "rule"
                case _:
                    continue
            since = at
            steps.append(Seen(event=name, at=at, tx_hash=event.tx_hash, paid_micro=paid_micro))
        return EscrowView(steps=tuple(steps), sealed_key=sealed_key)


def _terms(contract: Contract) -> EscrowTerms:
    sale = contract.sale
    return EscrowTerms(
        seller=contract.order.seller_wallet,
        arbiter=sale.arbiter,
        amount_micro=sale.price_micro,
        deliver_by=sale.deliver_by,
        review_s=sale.review_s,
        arbiter_s=sale.arbiter_s,
        arbiter_fee_bps=sale.arbiter_fee_bps,
        silent_buyer_bps=sale.silent_buyer_bps,
    )


def _key(order: OpenOrder) -> bytes:
    return escrow_key(order.contract.order.buyer_wallet, order.contract.order_hash)
