"""What happened to a wallet's credits, in the words of the market, read from the chain's events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from openstall.ledger.abi import Event, address_topic, codec
from openstall.ledger.chain import Chain
from openstall.ledger.escrow import NO_ADDRESS

HistoryKind = Literal[
    "faucet",
    "sent",
    "received",
    "escrow_paid",
    "escrow_refund",
    "escrow_earned",
    "arbiter_fee",
    "channel_paid",
    "channel_returned",
    "channel_earned",
    "bond_posted",
    "bond_returned",
    "bond_earned",
    "collected",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One movement of credits.

    `amount_micro` is negative for money that left; `key` is the escrow key or channel id (`0x…`) and
    `order_hash` the order's 32 bytes as hex, both empty where none is involved.
    """

    at: int
    kind: HistoryKind
    amount_micro: int
    other: str
    tx: str
    key: str
    order_hash: str
    block_number: int
    log_index: int


@dataclass(slots=True)
class _Ties:
    """Orders and channels that an address takes part in, and which transaction touched which."""

    paid_in: set[str] = field(default_factory=set)
    hashes: dict[str, str] = field(default_factory=dict)
    touched: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, events: Iterable[Event], *, name: str, hash_name: str, me: str) -> None:
        """Take in events that name a key; `hash_name` is the argument that holds the order hash."""
        for event in events:
            key = "0x" + bytes(event.args[name]).hex()
            if hash_name in event.args:
                self.hashes[key] = bytes(event.args[hash_name]).hex()
                if me in (event.args.get("buyer"), event.args.get("payer")) or event.name == "Posted":
                    self.paid_in.add(key)
            self.touched.setdefault((event.tx_hash, event.address), []).append((event.log_index, key))

    def key_of(self, transfer: Event, contract: str) -> str:
        """The key whose event lies nearest to the transfer in the same transaction."""
        near = self.touched.get((transfer.tx_hash, contract), [])
        return min(near, key=lambda item: abs(item[0] - transfer.log_index))[1] if near else ""


def history(chain: Chain, address: str, *, from_block: int = 0) -> list[HistoryEntry]:
    """Every movement of an address's credits since `from_block`, oldest first.

    Raises:
        ChainError: unreachable, or not the chain that was joined.
    """
    me, to_block = address.lower(), chain.head().number
    transfer, topic = codec("Credit").topic("Transfer"), address_topic(me)
    found: dict[tuple[int, int], Event] = {}
    for topics in ([transfer, topic], [transfer, None, topic]):
        for event in chain.events("Credit", topics, from_block=from_block, to_block=to_block):
            found[event.block_number, event.log_index] = event
    ties = _ties(chain, me, to_block)
    times: dict[int, int] = {}
    entries = []
    for event in (found[place] for place in sorted(found)):
        if event.block_number not in times:
            times[event.block_number] = chain.block(event.block_number).timestamp
        entries.append(_entry(chain, event, ties, me=me, at=times[event.block_number]))
    return entries


def _ties(chain: Chain, me: str, to_block: int) -> _Ties:
    """From block 0 on: an order may have been funded long before the movement in question."""
    topic, ties = address_topic(me), _Ties()

    def ask(contract: str, event: str, *places: int) -> list[Event]:
        events: list[Event] = []
        for place in places:
            topics: list[Any] = [codec(contract).topic(event), *[None] * (place - 1), topic]
            events += chain.events(contract, topics, from_block=0, to_block=to_block)
        return events

    for contract, opening, name, hash_name in (
        ("OrderEscrow", "Funded", "key", "orderHash"),
        ("MeteredChannel", "Opened", "channelId", "salt"),
    ):
        ties.add(ask(contract, opening, 2, 3), name=name, hash_name=hash_name, me=me)
        ties.add(ask(contract, "Paid", 2), name="key", hash_name="", me=me)
    if chain.params.bond:
        ties.add(ask("ProviderBond", "Posted", 2), name="bondId", hash_name="bondId", me=me)
        ties.add(ask("ProviderBond", "Paid", 2), name="key", hash_name="", me=me)
    return ties


def _from_escrow(key: str, ties: _Ties) -> HistoryKind:
    if not key:
        return "collected"
    if key in ties.paid_in:
        return "escrow_refund"
    return "escrow_earned" if key in ties.hashes else "arbiter_fee"


def _from_channel(key: str, ties: _Ties) -> HistoryKind:
    if not key:
        return "collected"
    return "channel_returned" if key in ties.paid_in else "channel_earned"


def _from_bond(key: str, ties: _Ties) -> HistoryKind:
    if not key:
        return "collected"
    return "bond_returned" if key in ties.paid_in else "bond_earned"


def _entry(chain: Chain, event: Event, ties: _Ties, *, me: str, at: int) -> HistoryEntry:
    source, target, amount = str(event.args["from"]), str(event.args["to"]), int(event.args["value"])
    leaves = source == me
    other = target if leaves else source
    escrow, channel = chain.params.escrow.lower(), chain.params.channel.lower()
    bond = chain.params.bond.lower()
    key = ties.key_of(event, other) if other and other in (escrow, channel, bond) else ""
    kind: HistoryKind
    if other == escrow:
        kind = "escrow_paid" if leaves else _from_escrow(key, ties)
    elif other == channel:
        kind = "channel_paid" if leaves else _from_channel(key, ties)
    elif bond and other == bond:
        kind = "bond_posted" if leaves else _from_bond(key, ties)
    elif other == NO_ADDRESS:
        kind = "faucet"
    else:
        kind = "sent" if leaves else "received"
    return HistoryEntry(
        at=at,
        kind=kind,
        amount_micro=-amount if leaves else amount,
        other=other,
        tx=event.tx_hash,
        key=key,
        order_hash="" if kind.startswith("bond") else ties.hashes.get(key, ""),
        block_number=event.block_number,
        log_index=event.log_index,
    )
