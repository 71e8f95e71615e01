"""The one place that signs and sends transactions.

The numbers (nonces) of a wallet are handed out one at a time; a signed transaction is on disk before it
is sent; a purpose of an order is signed once, however often it is asked for. So a crash at any moment
ends in the same transaction being sent again, never in a second one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain, Receipt, TxRequest
from openstall.ledger.transactions import build_and_sign
from openstall.ledger.transport import RpcRefusal
from openstall.ledger.wallet import SignedTx, Wallet
from openstall.market.errors import ChainError
from openstall.store.transactions import FAILED, FINAL, REPLACED, Intent, Transactions

FIRST_POLL_S = 0.02
LONGEST_POLL_S = 2.0
RESEND_AFTER_S = 5.0
FOLLOW_PAUSE_S = 5.0

log = get_logger("openstall.transactions")


class TransactionService:
    """Sends for one wallet on one chain. Made anew when the wallet or the chain changes."""

    def __init__(
        self,
        *,
        wallet: Wallet,
        chain: Chain,
        network: str,
        intents: Transactions,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._wallet = wallet
        self._chain = chain
        self._network = network
        self._intents = intents
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self._signing = trio.Lock()

    async def send(self, purpose: str, order_id: str, build: Callable[[], TxRequest]) -> Receipt:
        """Sign (once), send, and wait until the transaction is final.

        Args:
            purpose: what for, unique within the order; asking again returns the same transaction.
            build: makes the request; called on a worker thread, only if nothing was signed before.

        Raises:
            ChainError: `contract_refuses`, `chain_unreachable` (what was signed is sent later), `reverted`.
        """
        intent, fresh = await self._signed(purpose, order_id, build)
        if intent.state == FINAL:
            return _receipt(intent.receipt)
        return await self._until_final(intent, resend_after_s=RESEND_AFTER_S if fresh else FIRST_POLL_S)

    async def started(self, order_id: str, purpose: str) -> bool:
        """Whether a living transaction was signed for the purpose, sent or not."""
        return await self._workers.store(self._intents.alive, self._network, order_id, purpose) is not None

    async def of_order(self, order_id: str) -> list[dict[str, Any]]:
        """What this node signed for an order, oldest first, with what each cost."""
        intents = await self._workers.store(self._intents.of_order, self._network, order_id)
        return [
            {
                "purpose": intent.purpose,
                "tx": intent.tx_hash,
                "state": intent.state,
                "gas_used": int(intent.receipt.get("gas_used", 0)),
                "block": intent.receipt.get("block_number"),
            }
            for intent in intents
        ]

    async def resume(self) -> None:
        """Send again what an earlier run left without an end, and follow it; returns when all have ended."""
        pending = await self._workers.store(self._intents.pending, self._network, self._wallet.address)
        async with trio.open_nursery() as nursery:
            for intent in pending:
                nursery.start_soon(self._resume_one, intent)

    async def _resume_one(self, intent: Intent) -> None:
        log.info("resuming transaction", purpose=intent.purpose, order=intent.order_id, tx=intent.tx_hash)
        while True:
            try:
                await self._until_final(intent)
            except ChainError as error:
                if error.code in ("reverted", "tx_replaced"):
                    return
                await trio.sleep(FOLLOW_PAUSE_S)
            else:
                return

    async def _signed(
        self, purpose: str, order_id: str, build: Callable[[], TxRequest]
    ) -> tuple[Intent, bool]:
        async with self._signing:
            intent = await self._workers.store(self._intents.alive, self._network, order_id, purpose)
            if intent is not None:
                return intent, False
            unsent = await self._send_older()
            signed = await self._workers.chain(self._sign, build, unsent)
            intent = await self._workers.store(
                self._intents.add,
                network=self._network,
                sender=self._wallet.address,
                order_id=order_id,
                purpose=purpose,
                nonce=signed.nonce,
                tx_hash=signed.tx_hash,
                raw=signed.raw,
                at=self._clock.now(),
            )
            log.info("signed", purpose=purpose, order=order_id, tx=signed.tx_hash, nonce=signed.nonce)
            await self._broadcast(intent)
            return intent, True

    async def _send_older(self) -> list[Intent]:
        """Bring every older transaction to the chain first: a gap in the numbers stops all later ones."""
        pending = await self._workers.store(self._intents.pending, self._network, self._wallet.address)
        for intent in pending:
            await self._broadcast(intent)
        return await self._workers.store(self._intents.pending, self._network, self._wallet.address)

    def _sign(self, build: Callable[[], TxRequest], unsent: list[Intent]) -> SignedTx:
        nonce = self._chain.nonce(self._wallet.address)
        if unsent:
            nonce = max(nonce, unsent[-1].nonce + 1)
        return build_and_sign(self._wallet, self._chain, build(), nonce, simulate=not unsent)

    async def _broadcast(self, intent: Intent) -> None:
        """Send the bytes. What the chain refuses for good is given up, so that its number is free again."""
        try:
            await self._workers.chain(self._chain.broadcast, intent.raw)
        except RpcRefusal as error:
            if await self._workers.chain(self._chain.receipt, intent.tx_hash) is not None:
                return
            log.warning("chain refuses transaction", tx=intent.tx_hash, reason=error.message)
            await self._settle(intent, REPLACED, {})
            raise

    async def _until_final(self, intent: Intent, *, resend_after_s: float = FIRST_POLL_S) -> Receipt:
        pause_s, resend_at = FIRST_POLL_S, trio.current_time() + resend_after_s
        while True:
            receipt = await self._workers.chain(self._final_receipt, intent.tx_hash)
            if receipt is not None:
                break
            if trio.current_time() >= resend_at:
                resend_at = trio.current_time() + RESEND_AFTER_S
                await self._send_again(intent)
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
        await self._settle(intent, FINAL if receipt.ok else FAILED, _plain(receipt))
        if not receipt.ok:
            raise ChainError(
                "reverted",
                f"The contract refused the transaction “{intent.purpose}”. No money moved.",
                "Look at the order: something may have changed just before.",
            )
        return receipt

    async def _send_again(self, intent: Intent) -> None:
        try:
            await self._broadcast(intent)
        except RpcRefusal as error:
            raise ChainError(
                "tx_replaced",
                f"The chain does not take the transaction “{intent.purpose}” any more: {error.message}",
                "Try again: a new one is signed.",
            ) from error

    def _final_receipt(self, tx_hash: str) -> Receipt | None:
        receipt = self._chain.receipt(tx_hash)
        return receipt if receipt is not None and self._chain.is_final(receipt) else None

    async def _settle(self, intent: Intent, state: str, receipt: dict[str, Any]) -> None:
        changed = await self._workers.store(
            self._intents.settle, intent.tx_hash, state, receipt=receipt, at=self._clock.now()
        )
        if changed:
            log.info("transaction ended", purpose=intent.purpose, tx=intent.tx_hash, state=state)
            self._bus.publish("wallet", {"tx": intent.tx_hash, "state": state, "order_id": intent.order_id})


def _plain(receipt: Receipt) -> dict[str, Any]:
    return {**asdict(receipt), "logs": list(receipt.logs)}


def _receipt(plain: dict[str, Any]) -> Receipt:
    return Receipt(**{**plain, "logs": tuple(plain["logs"])})
