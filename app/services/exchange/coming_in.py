"""Takes signed objects in from a file or a text: each through the door that it takes from the network."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstall.app.operations import Progress
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.disputes import wire as talk
from openstall.app.services.mailbox.inbox import Inbox
from openstall.app.services.mailbox.listed import ORDER
from openstall.app.services.mailbox.post import Post
from openstall.app.services.mailbox.service import MailboxService
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.telling import Answer, refusal_in
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord, NotFound, OpenstallError, Refused
from openstall.market.exchange import (
    MAX_FILE,
    AcceptanceItem,
    Item,
    LetterItem,
    MessageItem,
    OrderItem,
    PapersItem,
    RecordItem,
    read_file,
    read_text,
)
from openstall.market.orders.documents import read_contract
from openstall.market.orders.transcript import read_chain
from openstall.p2p import mailbox as mail
from openstall.p2p.blobs import BlobStore
from openstall.store.mailbox import KeptLetter

_HEAD = b'{"format":"openstall-exchange-'
_KNOWN = "Known already"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingIn:
    """Reads files and texts of anybody."""

    network: str
    peer_id: str
    desk: OrderDesk
    catalogue: Catalogue
    negotiation: Negotiation
    post: Post
    inbox: Inbox
    mailbox: MailboxService
    blobs: BlobStore
    workers: Workers
    wake: Callable[[str], None]
    """Looks at an order at once."""
    take_objects: Callable[[bytes, str], Awaitable[dict[str, Any]]]
    """Makes the books of an order again from its papers; nothing is signed by that."""

    async def file(self, path: Path, progress: Progress) -> dict[str, Any]:
        """Take in a file of signed objects, or the package of an order that waits for it.

        Raises:
            NotFound: there is no such file.
            InvalidOrder: it is neither, was cut, or belongs to another group.
        """
        progress("Reading the file")
        head = await self.workers.work(_read, path, len(_HEAD))
        if head != _HEAD:
            return await self._package(path, progress)
        raw = await self.workers.work(_read, path, MAX_FILE + 1)
        items = await self.workers.work(lambda: read_file(raw, network=self.network))
        outcomes = []
        first_seen: list[PapersItem] = []
        for done, item in enumerate(sorted(items, key=_turn)):
            progress("Taking in", done, len(items), "objects")
            outcome = await self._outcome(item)
            if isinstance(item, PapersItem) and outcome["code"] == "not_signed_here":
                first_seen.append(item)  # this node may sign the order yet: it is further down in the file
            else:
                outcomes.append(outcome)
        outcomes += [await self._outcome(item) for item in first_seen]
        return _summary(outcomes)

    async def text(self, text: str) -> dict[str, Any]:
        """Take in one object from a pasted text.

        Raises:
            InvalidOrder: it holds none.
        """
        return _summary([await self._outcome(read_text(text))])

    async def _outcome(self, item: Item | InvalidOrder) -> dict[str, Any]:
        """What became of one object, and why it was refused."""
        if isinstance(item, InvalidOrder):
            return {"kind": "unknown", "taken": False, "words": item.message, "code": item.code}
        kind = str(type(item).__struct_config__.tag)
        try:
            words = await self._take(item)
        except OpenstallError as error:
            return {"kind": kind, "taken": False, "words": error.message, "code": error.code}
        return {"kind": kind, "taken": True, "words": words, "code": ""}

    async def _take(self, item: Item) -> str:
        match item:
            case RecordItem():
                return await self._record(item)
            case OrderItem():
                return await self._order(item)
            case AcceptanceItem():
                return await self._acceptance(item)
            case MessageItem():
                return await self._message(item)
            case LetterItem():
                return await self._letter(item)
            case PapersItem():
                return await self._papers(item)

    async def _record(self, item: RecordItem) -> str:
        admitted = await self.catalogue.take_in([item.raw])
        (outcome,) = admitted.outcomes
        if isinstance(outcome, InvalidRecord):
            raise outcome
        return "Record added to the catalogue" if admitted.new else _KNOWN

    async def _order(self, item: OrderItem) -> str:
        raw = canonical.encode(item.order)
        contract = await self.workers.work(read_contract, raw)
        order = contract.order
        if order.buyer == self.peer_id:
            if not item.seller_signature:
                return _KNOWN
            return await self._signed(await self._mine(contract.order_id), item.seller_signature)
        ask = {"order": item.order, "buyer_signature": item.buyer_signature}
        if order.seller == self.peer_id:
            known = await self.desk.find(contract.order_id)
            answer = Answer.read(await self._handle(ORDER, order.buyer, {"do": "propose", **ask}))
            if not answer.signature:
                raise refusal_in(read_chain(answer.entries, contract, self.peer_id)[-1])
            return "Order signed: it matches what you offer" if known is None else _KNOWN
        copy = {"do": "copy", **ask, "seller_signature": item.seller_signature}
        await self._handle(ORDER, order.buyer, copy)
        return "Copy of an order"

    async def _acceptance(self, item: AcceptanceItem) -> str:
        if item.network != self.network:
            raise InvalidOrder("other_network", "The signature belongs to another group.")
        return await self._signed(await self._mine(item.order_id), item.signature)

    async def _mine(self, order_id: str) -> OpenOrder:
        order = await self.desk.find(order_id)
        if order is None or order.role != "buyer":
            raise NotFound("no_such_order", "That is no order of yours.", "It is in the home it was made in.")
        return order

    async def _signed(self, order: OpenOrder, signature: str) -> str:
        if order.seller_signature == signature:
            return _KNOWN
        await self.negotiation.signed(order, signature)
        self.wake(order.order_id)
        self.post.wake()
        return "The seller's signature on your order"

    async def _message(self, item: MessageItem) -> str:
        author, order_id = item.message.get("author"), item.message.get("order_id")
        if author == self.peer_id:
            return _KNOWN
        if not isinstance(author, str) or not isinstance(order_id, str):
            raise InvalidOrder("bad_message", "The message does not say who wrote it.")
        ask = {"do": "say", "order_id": order_id, "message": item.message, "signature": item.signature}
        await self._handle(talk.PROTOCOL, author, ask)
        return "Message about an order"

    async def _papers(self, item: PapersItem) -> str:
        told = await self.take_objects(canonical.encode(item.papers), "file")
        found = "; ".join(str(one["words"]) for one in told["found"])
        words = (
            f"Papers of an order. Was missing here: {found}."
            if found
            else "Papers: nothing was missing here."
        )
        return f"{words} {told['chain']['message']}" if told["chain"] else words

    async def _handle(self, protocol: str, author: str, ask: dict[str, Any]) -> bytes:
        """Give a request to the handler that serves it on streams, as from the peer that signed it."""
        return await self.post.served[protocol].handler(author, canonical.encode(ask))

    async def _letter(self, item: LetterItem) -> str:
        sealed = mail.letter_bytes(item.letter)
        if item.to == self.peer_id:
            return await self.inbox.receive(sealed)
        if not await self.mailbox.serves():
            raise Refused(
                "not_for_us", "The letter is for another peer, and this node keeps none for others."
            )
        await self.mailbox.keep(
            KeptLetter(
                id=mail.address_of(sealed),
                recipient=item.to,
                sender=self.peer_id,
                expires=item.expires,
                letter=sealed,
            )
        )
        return "Letter kept for another peer"

    async def _package(self, path: Path, progress: Progress) -> dict[str, Any]:
        """The encrypted package of a sale, carried by hand; only one that an open order of ours names."""
        size = await self.workers.work(_size, path)
        wanted = [
            order
            for order in await self.desk.bought()
            if order.kind == "sale" and not order.done and order.contract.sale.blob.size == size
        ]
        digest = await self.workers.work(_sha256, path) if wanted else ""
        fitting = [order for order in wanted if order.contract.sale.blob.sha256 == digest]
        if not fitting:
            raise InvalidOrder(
                "not_an_exchange",
                "That is neither a file of signed objects nor a package that one of your orders waits for.",
                "Take the order in first, then its package.",
            )
        info = await self.blobs.add_file(
            path, on_progress=lambda done, total: progress("Adding the package", done, total, "bytes")
        )
        if info.cid != fitting[0].contract.sale.blob.cid:
            raise InvalidOrder("wrong_files", "The package is not the one in the signed order.")
        for order in fitting:
            self.wake(order.order_id)
        words = f"Package of “{fitting[0].contract.sale.title}”"
        return _summary([{"kind": "package", "taken": True, "words": words, "code": ""}])


def _turn(item: Item | InvalidOrder) -> int:
    """Records first: an order is checked against the listing that it names.

    Papers before orders: what this node has signed and lost is entered again, not signed a second time.
    """
    return 0 if isinstance(item, RecordItem) else 1 if isinstance(item, PapersItem) else 2


def _summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "items": outcomes,
        "total": len(outcomes),
        "taken": sum(one["taken"] for one in outcomes),
        "refused": sum(not one["taken"] for one in outcomes),
    }


def _read(path: Path, most: int) -> bytes:
    with _readable(path), path.open("rb") as file:
        return file.read(most)


def _size(path: Path) -> int:
    with _readable(path):
        return path.stat().st_size


def _sha256(path: Path) -> str:
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotFound(
            "no_such_file",
            f"{path} cannot be read: {error.strerror}.",
            "Choose another file; nothing was taken in.",
        ) from error
