"""The transcript of an order: what its parties have told each other beside the contract, each word signed.

Each party has a chain of its own that begins with the order id. An entry names the entry before it and the
newest that its author had of the other side, so its signature covers the whole transcript as its author knew
it: none can be changed, moved or left out later without its showing. A party says each thing once, and what
is sent is always its whole chain: so an entry that is lost, late, or there twice does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids, text
from openstall.market.errors import Conflict, InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Network, Sha256, Short, Time
from openstall.market.orders.documents import Contract, PeerId
from openstall.market.schema import fit

CONTEXT = "transcript"
MOST_ENTRIES = 4
"""From one party: there is no more to say."""
MOST_WORDS = 2000
MAX_CHAIN = 48 * 1024
Kind = Literal["decline", "withdraw", "start", "cancel", "reason"]
AUTHORS: dict[Kind, tuple[str, ...]] = {
    "decline": ("seller",),
    "withdraw": ("buyer",),
    "start": ("seller",),
    "cancel": ("buyer",),
    "reason": ("buyer", "seller"),
}
"""Who may say what."""


class Entry(Body, frozen=True, kw_only=True):
    """One entry; its hash is the SHA-256 of its canonical bytes."""

    network: Network
    order_id: Sha256
    author: PeerId
    kind: Kind
    seq: Annotated[int, Meta(ge=1, le=MOST_ENTRIES)]
    previous: Sha256
    """The hash of the author's entry before; the order id in its first."""
    seen: Sha256
    """The hash of the newest entry that the author had of the other party; the order id where it had none."""
    at: Time
    code: Short
    words: Annotated[str, Meta(max_length=MOST_WORDS, extra=text.LINES)]


class SignedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was checked, with its author's signature and its hash."""

    entry: Entry
    signature: str
    hash: str

    def as_dict(self) -> dict[str, Any]:
        """As it is sent and kept."""
        return {"entry": msgspec.to_builtins(self.entry), "signature": self.signature}


def next_entry(
    contract: Contract,
    held: Sequence[SignedEntry],
    kind: Kind,
    *,
    author: str,
    seed: bytes,
    at: int,
    code: str = "",
    words: str = "",
) -> SignedEntry:
    """This party's next entry after all that it holds; or the one of that kind that it has signed before.

    Raises:
        InvalidOrder: what it says is too long, or holds what cannot be seen.
    """
    mine = [one for one in held if one.entry.author == author]
    for one in mine:
        if one.entry.kind == kind:
            return one
    others = [one for one in held if one.entry.author != author]
    entry = Entry(
        network=contract.order.network,
        order_id=contract.order_id,
        author=author,
        kind=kind,
        seq=len(mine) + 1,
        previous=mine[-1].hash if mine else contract.order_id,
        seen=others[-1].hash if others else contract.order_id,
        at=at,
        code=code,
        words=words,
    )
    plain = msgspec.to_builtins(entry)
    try:
        signature = ids.sign(seed, CONTEXT, entry.network, canonical.encode(plain))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    return read_entry({"entry": plain, "signature": signature}, contract)


def read_entry(value: Any, contract: Contract) -> SignedEntry:  # a JSON value
    """An entry about an order, from anybody: schema, texts, author and signature.

    Raises:
        InvalidOrder: with the check that failed.
    """
    try:
        signed = fit(value, _Signed, "entry")
        entry = fit(signed.entry, Entry, "entry")
        text.refuse_hidden(entry)
        raw = canonical.encode(signed.entry)
        ids.verify(entry.author, signed.signature, CONTEXT, entry.network, raw)
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    order = contract.order
    if (entry.order_id, entry.network) != (contract.order_id, order.network):
        raise InvalidOrder("other_order", "What was said belongs to another order.", "")
    if entry.author not in [getattr(order, party) for party in AUTHORS[entry.kind]]:
        raise InvalidOrder("not_the_author", f"“{entry.kind}” was said by somebody who may not say it.", "")
    return SignedEntry(entry=entry, signature=signed.signature, hash=hashlib.sha256(raw).hexdigest())


def read_chain(values: Sequence[Any], contract: Contract, author: str) -> list[SignedEntry]:
    """The whole chain of one party, from anybody.

    Raises:
        InvalidOrder: an entry is forged, is another's, or the chain has a gap.
    """
    chain: list[SignedEntry] = []
    for value in values[: MOST_ENTRIES + 1]:
        one = read_entry(value, contract)
        before = chain[-1].hash if chain else contract.order_id
        if (one.entry.author, one.entry.seq, one.entry.previous) != (author, len(chain) + 1, before):
            raise InvalidOrder("broken_chain", "What was said about the order does not hang together.", "")
        chain.append(one)
    if len({one.entry.kind for one in chain}) != len(chain):
        raise InvalidOrder("broken_chain", "One thing was said about the order twice.", "")
    return chain


def news(held: Sequence[SignedEntry], chain: Sequence[SignedEntry]) -> list[SignedEntry]:
    """What of a party's chain is not here yet; `held` is what is here of the same party.

    Raises:
        Conflict: `two_chains`, the party has signed another entry in the place of one.
    """
    for mine, theirs in zip(held, chain, strict=False):
        if mine.hash != theirs.hash:
            raise Conflict("two_chains", "The author has signed two different entries for one place.", "")
    return list(chain[len(held) :])


def of_author(held: Iterable[SignedEntry], author: str) -> list[SignedEntry]:
    """One party's entries, in their order."""
    return sorted((one for one in held if one.entry.author == author), key=lambda one: one.entry.seq)


class _Signed(Body, frozen=True, kw_only=True):
    entry: dict[str, Any]
    signature: Annotated[str, Meta(max_length=86)]
