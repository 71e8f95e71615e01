"""Everything that waits to reach somebody: requests to peers, answers, records, and payments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.mailbox.listed import LISTED, ORDER
from openstall.app.services.names import Marks
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound
from openstall.store.outbox import ANSWERED, POSTED, Outbox, OutboxRow
from openstall.store.records import Records
from openstall.store.transactions import Transactions

_PURPOSES = {"fund": "Payment into escrow", "dispute": "Call of the arbiter", "deliver": "Delivery"}
CancelOrder = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Lists it, and takes back what can be taken back."""

    outbox: Outbox
    records: Records
    intents: Transactions
    identity: IdentityService
    group: GroupService
    catalogue: Catalogue
    workers: Workers

    async def items(self, calls: Sequence[OpenOrder] = ()) -> list[dict[str, Any]]:
        """Oldest first.

        Args:
            calls: orders whose arbiter is called as soon as the chain is back.
        """
        rows = [row for row in await self.workers.store(self.outbox.all) if row.state != ANSWERED]
        peers = {row.recipient for row in rows} | {row.mailbox for row in rows if row.mailbox}
        names = await self.catalogue.peer_names(sorted(peers)) if peers else {}
        marks = await self.catalogue.marks_of(names)
        found = [_letter(row, names, marks) for row in rows]
        found += [*await self._records(), *await self._payments()]
        found += [
            _item(
                id_=f"call-{order.order_id}",
                kind="payment",
                what="Call of the arbiter",
                to_name="the chain",
                at=order.entered_at,
                order_id=order.order_id,
                state_words="Kept here until the chain is back.",
            )
            for order in calls
        ]
        return sorted(found, key=lambda item: (item["written_at"], item["id"]))

    async def _records(self) -> list[dict[str, Any]]:
        due = await self.workers.store(self.outbox.records_due)
        found = []
        for cid, type_, at in due:
            row = await self.workers.store(self.records.row, cid)
            if row is None or not row.current:
                await self.workers.store(self.outbox.record_told, cid)  # there is nothing to be told any more
                continue
            found.append(
                _item(
                    id_=cid,
                    kind="record",
                    what=f"{type_.capitalize()} “{row.title}”" if row.title else type_.capitalize(),
                    to_name="everybody",
                    at=at,
                    expires=row.expires,
                    state_words="Kept here until the first peer of the group connects.",
                    may_drop=type_ not in ("peer", "tombstone"),
                )
            )
        return found

    async def _payments(self) -> list[dict[str, Any]]:
        if self.identity.state != "open" or not self.group.joined:
            return []
        network, sender = self.group.membership.network, self.identity.wallet.address
        pending = await self.workers.store(self.intents.pending, network, sender)
        return [
            _item(
                id_=one.tx_hash,
                kind="payment",
                what=_PURPOSES.get(one.purpose, "Transaction"),
                to_name="the chain",
                at=one.created_at,
                order_id=one.order_id,
                state_words="Signed and kept here until the chain has it.",
            )
            for one in pending
        ]

    async def drop(self, id_: str, cancel_order: CancelOrder) -> dict[str, Any]:
        """Take back what nobody may have seen yet.

        Args:
            cancel_order: steps back from an order that was proposed.

        Raises:
            NotFound: nothing of that id waits.
            Conflict: it cannot be taken back, with the reason.
        """
        found = [item for item in await self.items() if item["id"] == id_]
        if not found:
            raise NotFound("not_waiting", "Nothing of that id waits (any more).", "openstall outbox list")
        item = found[0]
        if not item["may_drop"]:
            raise _stays(item)
        if item["kind"] == "record":
            record = (await self.catalogue.live_record(id_)).record
            await self.catalogue.withdraw(record.type, record.key)
            await self.workers.store(self.outbox.record_told, id_)
        else:
            await cancel_order(item["order_id"])
            await self.workers.store(self.outbox.remove, id_)
        return {"id": id_, "dropped": True}


def _letter(row: OutboxRow, names: dict[str, str], marks: Marks) -> dict[str, Any]:
    posted = row.state == POSTED
    where = (
        f"In the mailbox of {names.get(row.mailbox, row.mailbox)}, until they are back."
        if posted
        else "Kept here until they, or their mailbox, can be reached."
    )
    return _item(
        id_=row.id,
        kind="letter",
        what=row.what,
        to=row.recipient,
        to_name=names.get(row.recipient, row.recipient),
        to_marks=marks.get(row.recipient, []),
        keeper_marks=marks.get(row.mailbox, []) if posted else [],
        at=row.written,
        expires=row.expires,
        order_id=row.order_id,
        state=row.state,
        state_words=where,
        trouble="" if posted else row.trouble,
        may_drop=row.protocol == ORDER and row.what == LISTED[ORDER]["propose"],
    )


def _item(
    *,
    id_: str,
    kind: str,
    what: str,
    to_name: str,
    at: int,
    state_words: str,
    to: str = "",
    expires: int | None = None,
    order_id: str = "",
    state: str = "waiting",
    trouble: str = "",
    may_drop: bool = False,
    to_marks: Sequence[dict[str, str]] = (),
    keeper_marks: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    return {
        "id": id_,
        "kind": kind,
        "what": what,
        "to": to,
        "to_name": to_name,
        "to_marks": list(to_marks),
        "keeper_marks": list(keeper_marks),
        "order_id": order_id,
        "written_at": at,
        "expires": expires,
        "state": state,
        "state_words": state_words,
        "trouble": trouble,
        "may_drop": may_drop,
    }


def _stays(item: dict[str, Any]) -> Conflict:
    if item["kind"] == "payment":
        return Conflict(
            "signed", "A signed payment cannot be taken back.", "The order says how money comes back."
        )
    if item["kind"] == "record":
        return Conflict("stays", "That says who you are; it changes by itself.", "")
    return Conflict(
        "stays",
        "That belongs to an order and to what follows in it, so it stays.",
        "It is sent by itself, and expires with its date.",
    )
