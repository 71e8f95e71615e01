"""One EVM chain as a node sees it: who it is, its head, balances, transactions and their finality."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from openstall.ledger.abi import Codec, Event, codec
from openstall.ledger.refusals import refused, without_contract
from openstall.ledger.transport import JsonValue, RpcRefusal, Transport
from openstall.market.errors import ChainError

MAX_LOG_RANGE = 5_000
"""Blocks per log query: what our gateway and the strictest public ones accept."""
_POLL_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainParams:
    """Which chain, and where its contracts are; addresses are `0x…`, hashes 0x-prefixed lower case."""

    chain_id: int
    genesis_hash: str
    name: str
    credit: str
    escrow: str
    channel: str
    kind: Literal["group", "public"]
    confirmations: int = 1
    first_block: int = 0
    """No contract of ours is older: events before it are not asked for."""
    bond: str = ""
    """Empty where the chain was made before there were bonds."""
    auction: str = ""
    """Like the next two, empty where the chain was made before models could be asked for."""
    model_escrow: str = ""
    contest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block's number, hash and time (Unix seconds)."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction; `ok` is false when the contract refused it."""

    tx_hash: str
    block_number: int
    block_hash: str
    ok: bool
    gas_used: int
    logs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TxRequest:
    """A transaction before it is signed; `gas` is the limit, generous and constant per action."""

    to: str
    data: bytes
    gas: int
    what: str
    """For messages: `pay into escrow`, `refund`, …"""


class Chain:
    """A chain reached through a transport. Thread-safe; every method blocks.

    Args:
        highest: the highest block seen in an earlier run. A chain that no longer has it is refused.
        on_head: called with each higher block that is as deep as `confirmations` asks; store it.
        clock: Unix seconds.
    """

    def __init__(
        self,
        params: ChainParams,
        transport: Transport,
        *,
        highest: Block | None = None,
        on_head: Callable[[Block], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.params = params
        self._transport = transport
        self._highest = highest
        self._on_head = on_head
        self._clock = clock
        self._lock = threading.Lock()
        self._verified = False

    def rpc(self, method: str, params: list[Any]) -> JsonValue:
        """One raw call to a chain that was checked to be the one we joined.

        Raises:
            ChainError: unreachable, refused, or another chain.
        """
        if not self._verified:
            self.verify()
        return self._transport(method, params)

    def verify(self) -> None:
        """Check chain id, genesis block, and that the highest block we ever saw is still there.

        Raises:
            ChainError: `wrong_chain`, `chain_shrank` or `chain_rewritten`.
        """
        chain_id, genesis = identify(self._transport)
        if chain_id != self.params.chain_id or genesis != self.params.genesis_hash.lower():
            raise ChainError(
                "wrong_chain",
                f"This is not the chain “{self.params.name}” that was joined. Nothing was sent to it.",
                "Ask for a new invitation, or correct the address of the chain.",
            )
        with self._lock:
            known = self._highest
        if known is not None:
            self._check_known(known, self._block("latest"))
        self._verified = True

    def head(self) -> Block:
        """The newest block.

        Raises:
            ChainError: also when the chain has fewer blocks than before, or other ones.
        """
        if not self._verified:
            self.verify()
        with self._lock:
            known = self._highest  # before the question: another thread may hear of a newer block meanwhile
        newest = self._block("latest")
        if known is not None:
            self._check_known(known, newest)
        depth = self.params.confirmations - 1
        settled = newest.number - depth
        if settled >= 0 and (known is None or settled > known.number):
            self._remember(newest if depth == 0 else self._block(hex(settled)))
        return newest

    def now(self) -> int:
        """Unix seconds by our clock, or by the chain's if that runs ahead of ours."""
        with self._lock:
            seen = self._highest.timestamp if self._highest is not None else 0
        return max(int(self._clock()), seen)

    def balance_micro(self, address: str) -> int:
        """Credits of an address, in millionths."""
        return int(self.view("Credit", "balanceOf", address)[0])

    def faucet_claimed(self, address: str) -> bool:
        """Whether the address has taken its first allowance (group chains)."""
        return bool(self.view("Credit", "claimed", address)[0])

    def nonce(self, address: str) -> int:
        """The next nonce, counting what waits to be mined."""
        return int(self.rpc("eth_getTransactionCount", [address, "pending"]), 16)

    def contract(self, name: str) -> str:
        """The address of one of `contracts.compiled.NAMES` on this chain.

        Raises:
            ChainError: `no_bonds` or `no_requests`, the chain was made without that contract.
        """
        address = {
            "Credit": self.params.credit,
            "OrderEscrow": self.params.escrow,
            "MeteredChannel": self.params.channel,
            "ProviderBond": self.params.bond,
            "SealedBidAuction": self.params.auction,
            "ModelEscrow": self.params.model_escrow,
            "Contest": self.params.contest,
        }[name]
        if not address:
            raise without_contract(name)
        return address

    def view(self, contract: str, function: str, *args: Any) -> tuple[Any, ...]:
        """Call a view of one of our contracts."""
        abi = codec(contract)
        request = {"to": self.contract(contract), "data": "0x" + abi.call_data(function, *args).hex()}
        answer = self.rpc("eth_call", [request, "latest"])
        return abi.result(function, _bytes(answer))

    def view_struct(self, contract: str, function: str, *args: Any) -> dict[str, Any]:
        """Call a view that returns one struct; its members by name."""
        (found,) = self.view(contract, function, *args)
        return dict(zip(codec(contract).members(function), found, strict=True))

    def simulate(self, request: TxRequest, sender: str) -> None:
        """Ask the chain whether a transaction would succeed now.

        Raises:
            ChainError: with the contract's own reason; code `contract_refuses`.
        """
        call = {"from": sender, "to": request.to, "data": "0x" + request.data.hex(), "gas": hex(request.gas)}
        try:
            self.rpc("eth_call", [call, "latest"])
        except RpcRefusal as error:
            raise refused(request.what, error) from error

    def broadcast(self, raw: bytes) -> str:
        """Send a signed transaction; the same bytes may be sent again. Returns its hash.

        Raises:
            ChainError: the chain refuses it.
        """
        from eth_hash.auto import keccak

        tx_hash = "0x" + keccak(raw).hex()
        try:
            self.rpc("eth_sendRawTransaction", ["0x" + raw.hex()])
        except RpcRefusal:
            if self.rpc("eth_getTransactionByHash", [tx_hash]) is None:
                raise
        return tx_hash

    def receipt(self, tx_hash: str) -> Receipt | None:
        """The receipt, or None while the transaction is not in a block."""
        answer = self.rpc("eth_getTransactionReceipt", [tx_hash])
        if answer is None:
            return None
        try:
            return Receipt(
                tx_hash=tx_hash,
                block_number=int(answer["blockNumber"], 16),
                block_hash=str(answer["blockHash"]).lower(),
                ok=int(answer["status"], 16) == 1,
                gas_used=int(answer["gasUsed"], 16),
                logs=tuple(answer["logs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError("bad_answer", "The chain gave a malformed receipt.") from error

    def is_final(self, receipt: Receipt) -> bool:
        """Deep enough in the chain for its policy, and still in it."""
        if self.head().number - receipt.block_number + 1 < self.params.confirmations:
            return False
        return self._block(hex(receipt.block_number)).hash == receipt.block_hash

    def wait_final(self, tx_hash: str, timeout_s: float) -> Receipt:
        """Wait for a final receipt, also one that says the contract refused.

        Raises:
            ChainError: `not_final_yet` after `timeout_s`; the transaction may still come.
        """
        stop_at = time.monotonic() + timeout_s
        for attempt in range(1_000_000):
            receipt = self.receipt(tx_hash)
            if receipt is not None and self.is_final(receipt):
                return receipt
            if time.monotonic() >= stop_at:
                break
            time.sleep(_POLL_S[min(attempt, len(_POLL_S) - 1)])
        raise ChainError(
            "not_final_yet",
            f"The transaction {tx_hash[:18]}… is not final yet.",
            "It was sent and may still arrive; it is followed in the background.",
        )

    def events(self, contract: str, topics: list[Any], *, from_block: int, to_block: int) -> list[Event]:
        """Decoded events of one contract that match `topics`, oldest first."""
        abi: Codec = codec(contract)
        logs = self.logs(self.contract(contract), topics, from_block=from_block, to_block=to_block)
        return [event for event in map(abi.event, logs) if event is not None]

    def logs(
        self, address: str, topics: list[Any], *, from_block: int, to_block: int
    ) -> list[dict[str, Any]]:
        """Raw logs in `[from_block, to_block]`, fetched in ranges that every gateway accepts."""
        found: list[dict[str, Any]] = []
        for start in range(max(from_block, self.params.first_block), to_block + 1, MAX_LOG_RANGE):
            end = min(start + MAX_LOG_RANGE - 1, to_block)
            query = {"address": address, "topics": topics, "fromBlock": hex(start), "toBlock": hex(end)}
            answer = self.rpc("eth_getLogs", [query])
            if not isinstance(answer, list):
                raise ChainError("bad_answer", "The chain gave malformed logs.")
            found += answer
        return found

    def block(self, number: int) -> Block:
        """A block by number."""
        if not self._verified:
            self.verify()
        return self._block(hex(number))

    def _block(self, which: str) -> Block:
        return read_block(self._transport("eth_getBlockByNumber", [which, False]))

    def _check_known(self, known: Block, newest: Block) -> None:
        if newest.number < known.number:
            self._verified = False
            raise ChainError(
                "chain_shrank",
                f"The chain “{self.params.name}” went back from block {known.number} to {newest.number}. "
                "Its host has rolled it back.",
                "Do not trade on it until the host explains. Your signed orders are safe in this home.",
            )
        if newest.number == known.number:
            same = newest.hash == known.hash
        else:
            same = self._block(hex(known.number)).hash == known.hash
        if not same:
            self._verified = False
            raise ChainError(
                "chain_rewritten",
                f"The chain “{self.params.name}” was rewritten: block {known.number} is another one now.",
                "Do not trade on it until the host explains. Your signed orders are safe in this home.",
            )

    def _remember(self, block: Block) -> None:
        with self._lock:
            if self._highest is not None and block.number <= self._highest.number:
                return
            self._highest = block
        if self._on_head is not None:
            self._on_head(block)


def identify(transport: Transport) -> tuple[int, str]:
    """Chain id and genesis hash of whatever answers, for example to configure a public chain."""
    try:
        chain_id = int(transport("eth_chainId", []), 16)
    except (TypeError, ValueError) as error:
        raise ChainError("bad_answer", "The chain gave a malformed chain id.") from error
    return chain_id, read_block(transport("eth_getBlockByNumber", ["0x0", False])).hash


def read_block(answer: JsonValue) -> Block:
    """A block header from a JSON-RPC answer."""
    try:
        return Block(
            number=int(answer["number"], 16),
            hash=str(answer["hash"]).lower(),
            timestamp=int(answer["timestamp"], 16),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ChainError("bad_answer", "The chain gave a malformed block.") from error


def _bytes(answer: JsonValue) -> bytes:
    try:
        return bytes.fromhex(str(answer).removeprefix("0x"))
    except ValueError as error:
        raise ChainError("bad_answer", "The chain's answer is not hexadecimal.") from error
