"""The metered channel of a job: what the chain shows as final, vouchers, transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openstall.app.services.orders import first_block
from openstall.app.services.orders.channel_terms import channel_terms, holds_the_cap
from openstall.app.services.orders.desk import OpenOrder, OrderDesk, check_chain
from openstall.app.services.orders.escrow_desk import Seen
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.abi import Event
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.channel import ChannelClient, ChannelOnChain, ChannelTerms
from openstall.ledger.vouchers import Voucher
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidOrder
from openstall.market.orders.machine import COMPUTE
from openstall.store.vouchers import Vouchers

if TYPE_CHECKING:
    from openstall.app.ground import Ground

_AFTER_FUND = frozenset({"funded", "running", "ended"})
_WORDS = {
    "fund": ("The cap is set aside on the chain.", "buyer"),
    "start_withdraw": ("The buyer has asked for the rest of the money back.", "buyer"),
    "close": ("The provider settled; the rest went back to the buyer.", "seller"),
    "withdraw": ("The rest of the money went back to the buyer.", "buyer"),
}


@dataclass(slots=True, kw_only=True)
class ChannelDesk:
    """Reads and moves channels, and keeps their vouchers, for one wallet on one chain."""

    desk: OrderDesk
    chain: Chain
    transactions: TransactionService
    wallet: Wallet
    vouchers: Vouchers
    workers: Workers

    async def catch_up(self, order: OpenOrder) -> OpenOrder:
        """The order after every final step of the chain was entered."""
        for seen in await self._look_and_note(order):
            if not COMPUTE.allows(order.state, seen.event):
                continue
            words, cause = _WORDS[seen.event]
            actor = "you" if cause == order.role else "other"
            paid = {} if seen.paid_micro is None else {"paid_micro": seen.paid_micro}
            order = await self.desk.advance(
                order, seen.event, actor=actor, words=words, tx=seen.tx_hash, at=seen.at, data=paid
            )
        return order

    async def started(self, order: OpenOrder, purpose: str) -> bool:
        """Whether this node has signed a transaction for that purpose, sent or not."""
        return await self.transactions.started(order.order_id, purpose)

    async def open(self, order: OpenOrder) -> None:
        """Buyer: set the cap aside, in one transaction with its allowance."""
        pay_by = order.contract.compute.fund_by
        await self._look_and_note(order)
        await self._send(
            order,
            "fund",
            lambda client: client.open(self.wallet, _terms(order), pay_by=pay_by),
        )

    async def start_withdraw(self, order: OpenOrder) -> None:
        """Buyer: announce that the rest is taken back after the delay."""
        await self._send(
            order,
            "start_withdraw",
            lambda client: client.start_withdraw(client.channel_id(_terms(order))),
        )

    async def withdraw(self, order: OpenOrder) -> None:
        """Anybody after the delay: the rest goes back to the buyer."""
        await self._send(
            order,
            "withdraw",
            lambda client: client.withdraw(client.channel_id(_terms(order))),
        )

    async def withdrawing(self, order: OpenOrder) -> bool:
        """Whether the buyer has asked for the rest back, or has it already."""
        client = ChannelClient(self.chain)
        channel = await self.workers.chain(client.channel, client.channel_id(_terms(order)))
        return channel.state in ("withdrawing", "closed")

    async def is_open(self, order: OpenOrder) -> bool:
        """Whether the money is set aside and not paid out yet."""
        client = ChannelClient(self.chain)
        channel = await self.workers.chain(client.channel, client.channel_id(_terms(order)))
        return channel.state in ("open", "withdrawing")

    async def close(self, order: OpenOrder) -> None:
        """Provider: take the highest voucher, return the rest."""
        channel_id = ChannelClient(self.chain).channel_id(_terms(order))
        held = await self.workers.store(self.vouchers.highest, channel_id.hex())
        voucher = (
            Voucher(channel_id=channel_id, amount_micro=held.amount_micro, signature=held.signature)
            if held
            else None
        )
        await self._send(order, "close", lambda client: client.close(channel_id, voucher))

    async def pay(self, order: OpenOrder, amount_micro: int) -> str:
        """Buyer: a voucher for a cumulative amount, kept before it is given out; its signature as hex.

        Raises:
            InvalidOrder: the amount is above the cap.
        """
        if amount_micro > order.contract.compute.cap_micro:
            raise InvalidOrder("over_cap", "The meter is above the cap. Nothing more is paid.")
        client = ChannelClient(self.chain)
        voucher = client.sign(self.wallet, client.channel_id(_terms(order)), amount_micro)
        await self._keep(order, voucher)
        return voucher.signature.hex()

    async def accept(self, order: OpenOrder, amount_micro: int, signature: str) -> int:
        """Provider: check and keep a voucher; returns the highest amount that is covered.

        Raises:
            InvalidOrder: not the buyer's, for another channel, or above the deposit.
        """
        client = ChannelClient(self.chain)
        highest = await self.highest(order)
        if amount_micro <= highest:
            return highest
        try:
            raw = bytes.fromhex(signature)
        except ValueError as error:
            raise InvalidOrder("bad_voucher", "The voucher's signature is malformed.") from error
        voucher = Voucher(
            channel_id=client.channel_id(_terms(order)),
            amount_micro=amount_micro,
            signature=raw,
        )
        client.check(voucher, _terms(order), least_micro=highest)
        await self._keep(order, voucher)
        return amount_micro

    async def held(self, order: OpenOrder) -> tuple[int, str] | None:
        """The highest voucher: its amount and its signature as hex; None before the first."""
        channel_id = ChannelClient(self.chain).channel_id(_terms(order))
        row = await self.workers.store(self.vouchers.highest, channel_id.hex())
        return (row.amount_micro, row.signature.hex()) if row else None

    async def highest(self, order: OpenOrder) -> int:
        """The highest amount that a voucher covers, in micro-credits."""
        return (await self.paid(order))[0]

    async def paid(self, order: OpenOrder) -> tuple[int, int]:
        """The highest amount that a voucher covers, and how many vouchers there were."""
        channel_id = ChannelClient(self.chain).channel_id(_terms(order))
        held = await self.workers.store(self.vouchers.highest, channel_id.hex())
        return (held.amount_micro, held.count) if held else (0, 0)

    async def _keep(self, order: OpenOrder, voucher: Voucher) -> None:
        await self.workers.store(
            self.vouchers.keep,
            channel_id=voucher.channel_id.hex(),
            order_id=order.order_id,
            amount_micro=voucher.amount_micro,
            signature=voucher.signature,
            at=self.desk.now(),
        )

    async def _send(
        self, order: OpenOrder, purpose: str, build: Callable[[ChannelClient], TxRequest]
    ) -> None:
        check_chain(order, self.chain.params.chain_id)
        client = ChannelClient(self.chain)
        await self.transactions.send(purpose, order.order_id, lambda: build(client))

    async def _look_and_note(self, order: OpenOrder) -> list[Seen]:
        steps, nothing_before = await self.workers.chain(self._look, order)
        await first_block.note(self.desk, order, nothing_before)
        return steps

    def _look(self, order: OpenOrder) -> tuple[list[Seen], int | None]:
        """The steps that the chain shows; where there is nothing yet, a block before all there can be."""
        check_chain(order, self.chain.params.chain_id)
        client = ChannelClient(self.chain)
        terms = _terms(order)
        mark = first_block.mark(self.chain, order)
        channel = client.channel(client.channel_id(terms))
        if channel.state == "none":
            return [], mark
        return self._steps(order, channel, terms), None

    def _steps(self, order: OpenOrder, channel: ChannelOnChain, terms: ChannelTerms) -> list[Seen]:
        if not holds_the_cap(self.chain, channel, terms):
            return []
        if channel.state == "open" and order.state in _AFTER_FUND:
            return []  # as it was; most looks end here, with one question to the chain
        deepest = self.chain.head().number - self.chain.params.confirmations + 1
        events = self.chain.events(
            "MeteredChannel",
            [None, "0x" + channel.channel_id.hex()],
            from_block=first_block.first_block(order),
            to_block=deepest,
        )
        return [found for found in (self._step(event, channel.withdraw_at) for event in events) if found]

    def _step(self, event: Event, withdraw_at: int) -> Seen | None:
        names = {"Opened": "fund", "WithdrawStarted": "start_withdraw", "Closed": "close"}
        if event.name not in names:
            return None
        at = self.chain.block(event.block_number).timestamp
        closed = event.name == "Closed"
        by_buyer = closed and withdraw_at and at > withdraw_at
        return Seen(
            event="withdraw" if by_buyer else names[event.name],
            at=at,
            tx_hash=event.tx_hash,
            paid_micro=int(event.args["claimed"]) if closed else None,
        )


def make_channel(ground: Ground, desk: OrderDesk) -> ChannelDesk:
    """The channels of jobs, for one open wallet on one chain."""
    return ChannelDesk(
        desk=desk,
        chain=ground.chain,
        transactions=ground.transactions,
        wallet=ground.wallet,
        vouchers=Vouchers(ground.store),
        workers=ground.workers,
    )


def _terms(order: OpenOrder) -> ChannelTerms:
    return channel_terms(order.contract)
