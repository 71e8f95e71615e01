"""Puts together what this node shows about an order, and freezes it when the arbiter is called."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.hand_in import HANDED_IN
from openstall.app.services.custom.receiving import DELIVERY
from openstall.app.services.disputes.facts import ChainFacts
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.first_block import first_block
from openstall.app.services.orders.placing import Party
from openstall.app.services.transactions import TransactionService
from openstall.app.threads import Workers
from openstall.market import canonical, text
from openstall.market.disputes.evidence import (
    Item,
    Step,
    Transaction,
    item_hash,
    read_bundle,
    sign_manifest,
    write_bundle,
)
from openstall.market.errors import ChainError, Conflict, NotFound, OpenstallError
from openstall.market.orders.documents import CustomTerms, SaleTerms
from openstall.store.disputes import EvidenceBooks, Messages
from openstall.store.orders import Orders


@dataclass(slots=True, kw_only=True)
class EvidenceDesk:
    """This node's own evidence, and the files it writes of it."""

    me: Party
    desk: OrderDesk
    orders: Orders
    messages: Messages
    books: EvidenceBooks
    transactions: TransactionService
    catalogue: Catalogue
    facts: ChainFacts
    workers: Workers

    async def opening(self, order: OpenOrder, reason: str) -> bytes:
        """The 32 bytes that the chain keeps of a dispute; asked again, they are the same.

        All they stand for is on disk when this returns, also while the chain cannot be reached.
        """
        reason = text.clean(reason, lines=True)
        raw = await self._own(order)
        kept = (await self.workers.work(read_bundle, raw)).bundle.opening if raw is not None else None
        if kept is not None and (
            kept.manifest.reason == reason or await self.transactions.started(order.order_id, "dispute")
        ):
            return kept.root
        items = await self._items(order)
        manifest = sign_manifest(
            order.contract,
            items,
            author=self.me.peer_id,
            seed=self.me.seed,
            at=self.desk.now(),
            reason=reason,
        )
        made = write_bundle(order.contract, _signatures(order), items, manifest, manifest)
        await self.workers.store(self.books.keep, order.order_id, self.me.peer_id, made, at=self.desk.now())
        return manifest.root

    async def bundle(self, order: OpenOrder) -> bytes:
        """All that this node can show now, with what it had shown when it called the arbiter.

        Raises:
            Conflict: there is nothing signed to show.
        """
        if order.kind not in ("sale", "custom") or order.role not in ("buyer", "seller"):
            raise Conflict("no_evidence", "Buyer and seller of a model have evidence to show.", "")
        bound = order.seller_signature or order.kind == "custom"  # there, the bid binds the developer
        if not (order.buyer_signature and bound):
            raise Conflict("not_signed", "The order is not signed by both sides yet.", "")
        raw = await self._own(order)
        before = (await self.workers.work(read_bundle, raw)).bundle if raw is not None else None
        items = list(before.items) if before is not None else []
        known = {item_hash(item) for item in items}
        items += [item for item in await self._items(order) if item_hash(item) not in known]
        manifest = sign_manifest(
            order.contract, items, author=self.me.peer_id, seed=self.me.seed, at=self.desk.now()
        )
        opening = before.opening if before is not None else None
        return await self.workers.work(
            write_bundle, order.contract, _signatures(order), items, manifest, opening
        )

    async def save(self, order_id: str, path: Path, side: str) -> dict[str, Any]:
        """Write the evidence of this node, or as arbiter of one `side`, to a new file.

        Raises:
            Conflict: the file exists, or there is nothing to show.
            NotFound: that side has shown nothing yet.
        """
        order = await self.desk.load(order_id)
        raw = await (self.shown_by(order, side) if order.role == "arbiter" else self.bundle(order))
        found = await self.workers.work(read_bundle, raw)
        await self.workers.work(write_new, path, raw)
        return {
            "path": str(path),
            "bytes": len(raw),
            "root": found.bundle.manifest.root.hex(),
            "opening": found.bundle.opening.root.hex() if found.bundle.opening is not None else None,
            "items": len(found.bundle.items),
        }

    async def shown_by(self, order: OpenOrder, side: str) -> bytes:
        """What a party has shown to this arbiter; NotFound where nothing came yet."""
        author = {"buyer": order.contract.order.buyer, "seller": order.contract.order.seller}.get(side)
        raw = None
        if author is not None:
            raw = await self.workers.store(self.books.of, order.order_id, author)
        if raw is None:
            raise NotFound("nothing_shown", "That side has shown no evidence yet.", "It is asked by itself.")
        return raw

    async def _own(self, order: OpenOrder) -> bytes | None:
        return await self.workers.store(self.books.of, order.order_id, self.me.peer_id)

    async def _items(self, order: OpenOrder) -> list[Item]:
        """Everything, the oldest kind of evidence first; without the chain's part where it is silent."""
        terms = order.contract.terms
        named = terms.listing if isinstance(terms, SaleTerms) else ""
        named = terms.request if isinstance(terms, CustomTerms) else named
        found = await self._record(named)
        rows = await self.workers.store(self.orders.events, order.order_id)
        found += [
            _item("step", Step(at=row.at, event=row.event, state=row.to_state, tx=row.tx or ""))
            for row in rows
        ]
        found += await self._on_chain(order)
        found += [Item(kind="delivery", doc=doc) for doc in _deliveries(order)]
        found += [Item(kind="assessment", doc=doc) for doc in _assessments(order)]
        messages = await self.workers.store(self.messages.of_order, order.order_id)
        found += [
            Item(kind="message", doc={"message": row.doc, "signature": row.signature}) for row in messages
        ]
        return list({item_hash(item): item for item in found}.values())

    async def _record(self, cid: str) -> list[Item]:
        """The listing or request that the order names, where this node still has it."""
        held = await self.catalogue.held(cid) if cid else None
        return [] if held is None else [Item(kind="record", doc=canonical.decode(held.raw))]

    async def _on_chain(self, order: OpenOrder) -> list[Item]:
        sent = [
            _item(
                "transaction",
                Transaction(
                    purpose=one["purpose"], tx=one["tx"], state=one["state"], block=one["block"] or 0
                ),
            )
            for one in await self.transactions.of_order(order.order_id)
        ]
        try:
            events = await self.facts.events(order.contract, from_block=first_block(order))
        except ChainError:  # whoever checks the file asks the chain itself
            return sent
        return sent + [_item("event", event) for event in events]


def _item(kind: Any, doc: msgspec.Struct) -> Item:
    return Item(kind=kind, doc=msgspec.to_builtins(doc))


def _signatures(order: OpenOrder) -> tuple[str, str]:
    return order.buyer_signature, order.seller_signature


def _deliveries(order: OpenOrder) -> list[dict[str, Any]]:
    kept = order.data.get(HANDED_IN, {})
    docs = [kept[number]["doc"] for number in sorted(kept, key=int)]
    if DELIVERY in order.data:
        docs.append(order.data[DELIVERY]["doc"])
    return docs


def _assessments(order: OpenOrder) -> list[dict[str, Any]]:
    names = sorted(name for name in order.data if name.startswith("verdict "))
    return [
        {
            "statement": canonical.decode(base64.b64decode(order.data[name]["statement"])),
            "signature": order.data[name]["signature"],
        }
        for name in names
    ]


def write_new(path: Path, raw: bytes) -> None:
    """Write a file that was not there; raises Conflict where it was."""
    try:
        with path.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise Conflict("file_exists", f"{path} exists already.", "Choose another name.") from error
    except OSError as error:
        raise OpenstallError(
            "not_written", f"{path} could not be written: {error.strerror}.", "Choose another place."
        ) from error
