"""What buyer, seller and arbiter write to each other about an order.

Each message is signed, numbered, and names the message before it and the newest it had seen of the
others. So none can be left out, changed or moved afterwards without its showing: by a gap in its author's
own chain, or by another's message that had seen it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market import canonical, ids, text
from openstall.market.errors import Conflict, InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Network, Sha256, Time
from openstall.market.orders.documents import PeerId
from openstall.market.schema import fit

CONTEXT = "message"
MOST_MESSAGES = 100
"""From one author about one order."""
MOST_CHARS = 2000
MAX_MESSAGE = 12 * 1024
HashOrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class Message(Body, frozen=True, kw_only=True):
    """One message; its hash is the SHA-256 of its canonical bytes."""

    network: Network
    order_id: Sha256
    author: PeerId
    seq: Annotated[int, Meta(ge=1, le=MOST_MESSAGES)]
    previous: HashOrNone
    """The hash of the author's message before; empty in the first."""
    seen: Annotated[list[Sha256], Meta(max_length=2)]
    """The newest message of each other author that this one had read."""
    at: Time
    text: Annotated[str, Meta(min_length=1, max_length=MOST_CHARS, extra=text.LINES)]


class SignedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was checked, with its author's signature and its hash."""

    message: Message
    signature: str
    hash: str

    def as_dict(self) -> dict[str, Any]:
        """As it is sent and shown."""
        return {"message": msgspec.to_builtins(self.message), "signature": self.signature}


def sign_message(message: Message, seed: bytes) -> SignedMessage:
    """The author's own message, checked as a stranger's would be.

    Raises:
        InvalidOrder: the text is too long, empty, or holds what cannot be seen.
    """
    plain = msgspec.to_builtins(message)
    try:
        signature = ids.sign(seed, CONTEXT, message.network, canonical.encode(plain))
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    return read_message(plain, signature)


def read_message(value: Any, signature: str) -> SignedMessage:  # a JSON value
    """A message from anybody: schema, texts and signature.

    Raises:
        InvalidOrder: with the check that failed.
    """
    try:
        message = fit(value, Message, "message")
        text.refuse_hidden(message)
        raw = canonical.encode(value)
        ids.verify(message.author, signature, CONTEXT, message.network, raw)
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    if len(raw) > MAX_MESSAGE:
        raise InvalidOrder("too_large", "The message is too large.", "")
    return SignedMessage(message=message, signature=signature, hash=hashlib.sha256(raw).hexdigest())


def follows(last: SignedMessage | None, new: SignedMessage, *, from_middle: bool = False) -> bool:
    """Whether a message is the next of its author; False where it is the last one once more.

    Args:
        from_middle: the reader was let in late: where it has none, any may be the first.

    Raises:
        Conflict: `gap`, one before is missing; `two_chains`, the author has signed another in its place.
    """
    seq = new.message.seq
    if last is None:
        if seq == 1 and not new.message.previous:
            return True
        if from_middle and seq > 1 and new.message.previous:
            return True
        raise _gap()
    if seq == last.message.seq + 1:
        if new.message.previous != last.hash:
            raise _two_chains()
        return True
    if seq == last.message.seq:
        if new.hash != last.hash:
            raise _two_chains()
        return False
    raise _gap()


def faults(found: list[SignedMessage], *, order_id: str, network: str, authors: Collection[str]) -> list[str]:
    """What is wrong with the messages of one order, in words; empty where they are whole.

    Args:
        authors: the peers that may write about it.
    """
    wrong: list[str] = []
    chains: dict[str, dict[int, SignedMessage]] = {}
    for one in found:
        message = one.message
        if (message.order_id, message.network) != (order_id, network):
            wrong.append("A message belongs to another order.")
        elif message.author not in authors:
            wrong.append("A message is from somebody who is no party to the order.")
        elif chains.setdefault(message.author, {}).setdefault(message.seq, one) is not one:
            wrong.append(f"Message {message.seq} of one author is there twice.")
    for chain in chains.values():
        wrong += _chain_faults(chain)
    known = {one.hash for one in found}
    if any(hash_ not in known for one in found for hash_ in one.message.seen):
        wrong.append("A message that another one answers is missing.")
    return wrong


def _chain_faults(chain: Mapping[int, SignedMessage]) -> list[str]:
    last: SignedMessage | None = None
    for seq in sorted(chain):
        try:
            follows(last, chain[seq])
        except Conflict as error:
            return [error.message]
        last = chain[seq]
    return []


def _gap() -> Conflict:
    return Conflict("gap", "A message before this one is missing.", "It is sent again by itself.")


def _two_chains() -> Conflict:
    return Conflict("two_chains", "The author has signed two different messages for one place.", "")
