"""The wallet as a person sees it: balance, what is held in escrow, history, faucet, sending."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.services.group import GroupService
from openstall.app.services.held import held_micro
from openstall.app.services.identity import IdentityService
from openstall.app.services.known_account import Account, KnownAccount
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.ledger.credit import CreditClient
from openstall.ledger.history import HistoryEntry, history
from openstall.market.errors import ChainError, Conflict, IdentityError, MoneyError, StoreError
from openstall.market.money import MAX_MICRO, format_amount
from openstall.store.transactions import Intent, Transactions

SYMBOL = "credits"
MAX_HISTORY = 500
REMEMBER_EVERY_S = 60.0
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_WORDS = {
    "faucet": "First credits of the group",
    "sent": "Sent",
    "received": "Received",
    "escrow_paid": "Paid into escrow",
    "escrow_refund": "Came back from escrow",
    "escrow_earned": "Earned by a sale",
    "arbiter_fee": "Earned as arbiter",
    "channel_paid": "Set aside for a job",
    "channel_returned": "Came back from a job",
    "channel_earned": "Earned by a job",
    "bond_posted": "Posted as a bond",
    "bond_returned": "Came back from your bond",
    "bond_earned": "Paid by a provider's bond",
    "auction_paid": "Paid into an auction",
    "auction_returned": "Came back from an auction",
    "auction_earned": "Lost deposits of an auction that you won",
    "model_paid": "Paid for a model made to order",
    "model_refund": "Came back for a model made to order",
    "model_earned": "Earned by a model made to order",
    "contest_paid": "Paid into a contest",
    "contest_returned": "Came back from a contest",
    "contest_earned": "Prize of a contest, with your deposit",
}

log = get_logger("openstall.wallet")


class WalletService:
    """Reads the account, moves credits. Call from the trio thread."""

    def __init__(
        self,
        *,
        identity: IdentityService,
        group: GroupService,
        intents: Transactions,
        known: KnownAccount,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._group = group
        self._intents = intents
        self._known = known
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self._transactions: TransactionService | None = None
        self._reading = trio.Lock()
        self._account: Account | None = None

    @property
    def transactions(self) -> TransactionService:
        """Signs and sends for the open wallet on the joined chain; IdentityError or Conflict without them."""
        if self._transactions is None:
            self._transactions = TransactionService(
                wallet=self._identity.wallet,
                chain=self._group.chain,
                network=self._group.membership.network,
                intents=self._intents,
                workers=self._workers,
                bus=self._bus,
                clock=self._clock,
            )
        return self._transactions

    async def balance_micro(self) -> int:
        """Credits that can be spent now."""
        return await self._workers.chain(self._group.chain.balance_micro, self._identity.wallet.address)

    async def as_dict(self) -> dict[str, Any]:
        """The wallet as the local API shows it; while the chain is away as it was when that last answered.

        Raises:
            IdentityError: no wallet, or locked. ChainError: the chain is away, and has never answered.
        """
        address = self._identity.wallet.address
        empty = {"address": address, "symbol": SYMBOL, "balance_micro": 0, "held_micro": 0, "as_of": None}
        if not self._group.joined:
            return {**empty, "faucet_claimed": False, "history": []}
        account = await self._read(address)
        by_hash = await self._workers.store(self._intents.by_hash, self._group.membership.network)
        return {
            **empty,
            "balance_micro": account.balance_micro,
            "held_micro": account.held_micro,
            "as_of": account.as_of,
            "faucet_claimed": account.faucet_claimed,
            "history": [_line(entry, by_hash) for entry in reversed(account.entries[-MAX_HISTORY:])],
        }

    async def earned_by_jobs_micro(self) -> int:
        """What jobs of others on this machine have earned so far."""
        account = await self._read(self._identity.wallet.address)
        return sum(entry.amount_micro for entry in account.entries if entry.kind == "channel_earned")

    async def faucet(self, progress: Progress) -> dict[str, Any]:
        """Take the group's first credits, once per wallet."""
        chain = self._group.chain
        if chain.params.kind != "group":
            raise Conflict("no_faucet", "A public chain gives no credits away.", "Buy or receive some.")
        if await self._workers.chain(chain.faucet_claimed, self._identity.wallet.address):
            raise Conflict(
                "faucet_claimed", "Your wallet has had its first credits.", "Earn more by selling."
            )
        progress("Asking the group for play money")
        receipt = await self.transactions.send("faucet", "", CreditClient(chain).claim)
        account = await self._read(self._identity.wallet.address)  # kept for when the chain is away
        return {"tx": receipt.tx_hash, "balance_micro": account.balance_micro}

    async def check_send(self, to: str, amount_micro: int) -> None:
        """Refuse what cannot be meant; MoneyError with words."""
        await self._workers.work(check_address, to)
        if not 0 < amount_micro <= MAX_MICRO:
            raise MoneyError("bad_amount", "The amount must be above zero, and not absurdly large.")
        if to.lower() == self._identity.wallet.address.lower():
            raise MoneyError("own_address", "That is your own wallet.")
        balance = await self.balance_micro()
        if balance < amount_micro:
            raise MoneyError(
                "insufficient_funds",
                f"You have {format_amount(balance)} credits; {format_amount(amount_micro)} are needed.",
                "Send less, or add credits first.",
            )

    def sender(self, to: str, amount_micro: int) -> Callable[[Progress], Awaitable[dict[str, Any]]]:
        """The action that sends credits, with a purpose of its own, so that it is never sent twice."""
        purpose = f"send-{secrets.token_hex(8)}"

        async def send(progress: Progress) -> dict[str, Any]:
            progress("Sending")
            credit = CreditClient(self._group.chain)
            receipt = await self.transactions.send(purpose, "", lambda: credit.transfer(to, amount_micro))
            return {"tx": receipt.tx_hash, "amount_micro": amount_micro, "to": to}

        return send

    async def remember(self) -> None:
        """Keep what the chain says, for when it is away; after new blocks, and not too often."""
        news = trio.Event()
        forget = self._group.on_head(lambda _height: news.set())
        try:
            while True:
                await news.wait()
                news = trio.Event()
                try:
                    await self._read(self._identity.wallet.address)
                except (ChainError, Conflict, IdentityError) as error:
                    log.debug("wallet not read", code=error.code)
                await trio.sleep(REMEMBER_EVERY_S)
        finally:
            forget()

    async def _read(self, address: str) -> Account:
        async with self._reading:
            network = self._group.membership.network
            try:
                return await self._read_now(network, address)
            except ChainError as error:
                if error.code != "chain_unreachable":
                    raise
                known = await self._workers.store(self._known.get, network, address)
                if known is None:
                    raise
                return known

    async def _read_now(self, network: str, address: str) -> Account:
        kept = self._account
        head = await self._workers.chain(self._group.chain.head)
        if kept is None or kept.height != head.number:
            kept = await self._workers.chain(_read_account, self._group.chain, address, head.number)
            self._account = kept
            try:
                await self._workers.store(self._known.keep, network, address, kept, at=self._clock.now())
            except StoreError as error:  # a full disk hides nobody's balance
                log.warning("the wallet's state is not kept", code=error.code)
        return kept


def _read_account(chain: Chain, address: str, height: int) -> Account:
    entries = history(chain, address)
    return Account(
        height=height,
        balance_micro=chain.balance_micro(address),
        held_micro=held_micro(chain, address, entries),
        faucet_claimed=chain.params.kind == "group" and chain.faucet_claimed(address),
        entries=entries,
    )


def _line(entry: HistoryEntry, by_hash: dict[str, Intent]) -> dict[str, Any]:
    intent = by_hash.get(entry.tx)
    return {
        "at": entry.at,
        "kind": entry.kind,
        "amount_micro": entry.amount_micro,
        "other": entry.other,
        "tx": entry.tx,
        "order_id": entry.order_hash or (intent.order_id if intent else "") or None,
        "words": _WORDS[entry.kind],
    }


def check_address(address: str) -> None:
    """MoneyError if money sent there would be lost: malformed, or its checksum does not match."""
    from eth_utils.address import is_checksum_address

    plain = address in (address.lower(), "0x" + address[2:].upper())
    if (
        not _ADDRESS.fullmatch(address)
        or int(address, 16) == 0
        or not (plain or is_checksum_address(address))
    ):
        raise MoneyError("bad_address", "That is not a valid address of a wallet.", "Copy it again.")
