"""What is put into a file for somebody: records, an order with its papers and messages, the outbox."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.exchange import picture
from openstall.app.services.group import GroupService
from openstall.app.services.mailbox.courier import Courier
from openstall.app.services.network import NetworkService
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.errors import Conflict, NotFound, OpenstallError
from openstall.market.exchange import (
    AcceptanceItem,
    Item,
    LetterItem,
    MessageItem,
    OrderItem,
    PapersItem,
    record_item,
    write_file,
    write_text,
)
from openstall.market.orders.agree import record_named
from openstall.market.orders.papers import MAX_PAPERS
from openstall.p2p import mailbox as mail
from openstall.p2p.blobs import BlobStore
from openstall.store.disputes import Messages
from openstall.store.outbox import ANSWERED
from openstall.store.records import Records

MINE = "mine"
_COPY_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOut:
    """Writes files, texts and pictures."""

    network: str
    peer_id: str
    desk: OrderDesk
    messages: Messages
    records: Records
    catalogue: Catalogue
    courier: Courier
    blobs: BlobStore
    host: NetworkService
    group: GroupService
    workers: Workers
    signed_objects: Callable[[str], Awaitable[bytes]]
    """The papers of an order, for the other party."""

    async def save(
        self, path: Path, *, records: Sequence[str] = (), order_id: str = "", outbox: bool = False
    ) -> dict[str, Any]:
        """Write signed objects to a new file.

        Args:
            records: cids, or `mine` for all of one's own that hold now.
            order_id: an order, with its papers, what was written about it and the record that it answers to.
            outbox: everything that waits for other peers, sealed for each.

        Raises:
            NotFound: one of them is not here.
            Conflict: the file exists.
            InvalidOrder: that is nothing, or too much.
        """
        items: list[Item] = []
        if records:
            items += await self._records(records)
        if order_id:
            items += await self._order(await self.desk.load(order_id))
        if outbox:
            items += await self._waiting()
        once = {canonical.encode(_plain(item)): item for item in items}
        raw = await self.workers.work(write_file, self.network, list(once.values()))
        await self.workers.work(_write_new, path, raw)
        return {"path": str(path), "bytes": len(raw), "objects": _counts(list(once.values()))}

    async def _records(self, wanted: Sequence[str]) -> list[Item]:
        cids: list[str] = []
        for one in wanted:
            cids += await self._own() if one == MINE else [one]
        found: list[Item] = []
        for cid in dict.fromkeys(cids):
            raw = await self.workers.store(self.records.raw, cid)
            if raw is None:
                raise NotFound("no_such_record", f"{cid[:80]} is not in the catalogue here.", "Search again.")
            found.append(record_item(raw))
        return found

    async def _own(self) -> list[str]:
        return await self.workers.store(self.records.own, self.network, self.peer_id, now=self.desk.now())

    async def _order(self, order: OpenOrder) -> list[Item]:
        found: list[Item] = []
        held = await self.catalogue.held(record_named(order.contract))
        if held is not None:
            found.append(record_item(held.raw))
        for party in (order.contract.order.seller, order.contract.order.buyer):
            raw = await self.catalogue.raw_of(party)
            if raw is not None:
                found.append(record_item(raw))
        found.append(
            OrderItem(
                order=canonical.decode(order.contract.raw),
                buyer_signature=order.buyer_signature,
                seller_signature=order.seller_signature,
            )
        )
        papers = canonical.decode(await self.signed_objects(order.order_id), max_bytes=MAX_PAPERS)
        if any(papers[name] for name in ("seller_signature", "buyer_entries", "seller_entries")):
            found.append(PapersItem(papers={**papers, "messages": []}))
        written = await self.workers.store(self.messages.of_order, order.order_id)
        found += [MessageItem(message=row.doc, signature=row.signature) for row in written]
        return found

    async def _waiting(self) -> list[Item]:
        outbox, store = self.courier.post.outbox, self.workers.store
        found: list[Item] = []
        for cid, _type, _at in await store(outbox.records_due):
            raw = await store(self.records.raw, cid)
            if raw is not None:
                found.append(record_item(raw))
        for row in await store(outbox.all):
            if row.state != ANSWERED:
                sealed = await self.courier.sealed(row)
                found.append(
                    LetterItem(to=row.recipient, expires=row.expires, letter=mail.letter_text(sealed))
                )
        return found

    async def save_package(self, order_id: str, path: Path) -> dict[str, Any]:
        """Copy the encrypted package of a sale to a new file; the key comes through the escrow.

        Raises:
            NotFound: the package is not here.
            Conflict: that order has none, or the file exists.
        """
        order = await self.desk.load(order_id)
        if order.kind != "sale":
            raise Conflict("no_package", "That order has no package to carry by hand.", "")
        source = self.blobs.path(order.contract.sale.blob.cid)
        size = await self.workers.work(_copy_new, source, path)
        return {"path": str(path), "bytes": size, "objects": {"package": 1}}

    async def shown(self, what: str, order_id: str = "") -> dict[str, Any]:
        """A small text as a QR picture: `invitation`, `address`, or the seller's `acceptance` of an order.

        Raises:
            Conflict: there is none, or it is too long.
        """
        text = await self._text(what, order_id)
        return {"text": text, "rows": await self.workers.work(picture.modules, text)}

    async def _text(self, what: str, order_id: str) -> str:
        match what:
            case "invitation":
                text = (await self.group.as_dict())["invitation"]
                if not text:
                    raise Conflict("no_invitation", "There is no invitation to this group now.", "")
                return str(text)
            case "address":
                if not self.host.addrs:
                    raise Conflict("offline", "This node does not listen now.", "Try again in a moment.")
                return self.host.addrs[0]
        order = await self.desk.load(order_id)
        if not order.seller_signature:
            raise Conflict("not_signed", "The seller has not signed this order.", "")
        return write_text(
            AcceptanceItem(network=self.network, order_id=order_id, signature=order.seller_signature)
        )


def _plain(item: Item) -> Any:
    return msgspec.to_builtins(item)


def _counts(items: list[Item]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        kind = str(_plain(item)["kind"])
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _write_new(path: Path, raw: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _not_written(path, error) from error


def _copy_new(source: Path, path: Path) -> int:
    try:
        with source.open("rb") as read, path.open("xb") as file:
            while block := read.read(_COPY_BLOCK):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
    except OSError as error:
        if not isinstance(error, FileExistsError):
            path.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> OpenstallError:
    if isinstance(error, FileExistsError):
        return Conflict("file_exists", f"{path} exists already.", "Choose another name.")
    return OpenstallError(
        "not_written", f"{path} could not be written: {error.strerror}.", "Choose another place."
    )
