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
    "auction_paid",
    "auction_returned",
    "auction_earned",
    "model_paid",
    "model_refund",
    "model_earned",
    "contest_paid",
    "contest_returned",
    "contest_earned",
    "collected",
]
_Place = Literal["auction", "model", "contest"]
_NO_ORDER = ("bond", "auction", "model", "contest")
"""Beginnings of kinds whose keys come from no order of both parties."""
_PAYERS = ("buyer", "payer", "provider", "requester", "bidder", "entrant")
"""Arguments of the events by which money comes into a contract."""


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
    won: set[str] = field(default_factory=set)
    touched: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, events: Iterable[Event], *, name: str, hash_name: str, me: str) -> None:
        """Take in events that name a key; `hash_name` is the argument that holds the order hash."""
        for event in events:
            key = "0x" + bytes(event.args[name]).hex()
            if hash_name in event.args:
                self.hashes[key] = bytes(event.args[hash_name]).hex()
                if any(event.args.get(payer) == me for payer in _PAYERS):
                    self.paid_in.add(key)
            self.touched.setdefault((event.tx_hash, event.address), []).append((event.log_index, key))

    def key_of(self, transfer: Event, contract: str) -> str:
        """The key whose event lies nearest to the transfer in the same transaction."""
        near = self.touched.get((transfer.tx_hash, contract), [])
        return min(near, key=lambda item: abs(item[0] - transfer.log_index))[1] if near else ""


def history(chain: Chain, address: str, *, from_block: int = 0) -> list[HistoryEntry]:
    """Every movement of an address's credits since `from_block`, oldest first; of nothing there is none.

    Raises:
        ChainError: unreachable, or not the chain that was joined.
    """
    me, to_block = address.lower(), chain.head().number
    transfer, topic = codec("Credit").topic("Transfer"), address_topic(me)
    found: dict[tuple[int, int], Event] = {}
    for topics in ([transfer, topic], [transfer, None, topic]):
        for event in chain.events("Credit", topics, from_block=from_block, to_block=to_block):
            if event.args["value"]:
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
    for address, contract, opening, places, name in (
        (chain.params.auction, "SealedBidAuction", "Opened", (2,), "key"),
        (chain.params.auction, "SealedBidAuction", "Committed", (2,), "key"),
        (chain.params.auction, "SealedBidAuction", "Paid", (2,), "key"),
        (chain.params.model_escrow, "ModelEscrow", "Funded", (2, 3), "key"),
        (chain.params.model_escrow, "ModelEscrow", "Paid", (2,), "key"),
        (chain.params.contest, "Contest", "Opened", (2,), "id"),
        (chain.params.contest, "Contest", "Entered", (2,), "id"),
        (chain.params.contest, "Contest", "Paid", (2,), "key"),
    ):
        if address:
            known = "" if opening == "Paid" else name
            ties.add(ask(contract, opening, *places), name=name, hash_name=known, me=me)
    if chain.params.auction:
        ties.won |= {event.tx_hash for event in ask("SealedBidAuction", "Settled", 3)}
    if chain.params.contest:
        ties.won |= {event.tx_hash for event in ask("Contest", "Claimed", 3) if event.args["amount"]}
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


def _paid_for(place: _Place) -> HistoryKind:
    kinds: dict[str, HistoryKind] = {
        "auction": "auction_paid",
        "model": "model_paid",
        "contest": "contest_paid",
    }
    return kinds[place]


def _from_request(place: _Place, key: str, tx_hash: str, ties: _Ties) -> HistoryKind:
    """What money is that came from an auction, the escrow of a model, or a contest."""
    if not key:
        return "collected"
    won = tx_hash in ties.won
    if place == "auction":
        return "auction_earned" if won else "auction_returned"
    if place == "contest":
        return "contest_earned" if won else "contest_returned"
    if key in ties.paid_in:
        return "model_refund"
    return "model_earned" if key in ties.hashes else "arbiter_fee"


def _entry(chain: Chain, event: Event, ties: _Ties, *, me: str, at: int) -> HistoryEntry:
    source, target, amount = str(event.args["from"]), str(event.args["to"]), int(event.args["value"])
    leaves = source == me
    other = target if leaves else source
    escrow, channel = chain.params.escrow.lower(), chain.params.channel.lower()
    bond = chain.params.bond.lower()
    requests: dict[str, _Place] = {
        chain.params.auction.lower(): "auction",
        chain.params.model_escrow.lower(): "model",
        chain.params.contest.lower(): "contest",
    }
    key = ties.key_of(event, other) if other and other in (escrow, channel, bond, *requests) else ""
    kind: HistoryKind
    if other == escrow:
        kind = "escrow_paid" if leaves else _from_escrow(key, ties)
    elif other == channel:
        kind = "channel_paid" if leaves else _from_channel(key, ties)
    elif bond and other == bond:
        kind = "bond_posted" if leaves else _from_bond(key, ties)
    elif other and other in requests:
        kind = (
            _paid_for(requests[other]) if leaves else _from_request(requests[other], key, event.tx_hash, ties)
        )
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
        order_hash="" if kind.startswith(_NO_ORDER) else ties.hashes.get(key, ""),
        block_number=event.block_number,
        log_index=event.log_index,
    )
