"""One's own records that nobody else has yet: published here, and fetched from here by no peer so far."""

from __future__ import annotations

import threading
from collections.abc import Callable

from openstall.app.threads import Workers
from openstall.market.records import SignedRecord
from openstall.store.outbox import Outbox


class Announced:
    """Kept from the moment of publishing until the first peer fetches the record."""

    def __init__(self, *, outbox: Outbox, workers: Workers, changed: Callable[[], None]) -> None:
        """`changed` is called from any thread."""
        self._outbox = outbox
        self._workers = workers
        self._changed = changed
        self._lock = threading.Lock()
        self._due = {cid for cid, _type, _at in outbox.records_due()}

    async def published(self, signed: SignedRecord) -> None:
        """A new record of this node."""
        record = signed.record
        await self._workers.store(
            self._outbox.record_due, signed.cid, record.type, record.key, at=record.issued
        )
        with self._lock:
            self._due.add(signed.cid)
        self._changed()

    def fetched(self, cid: str) -> None:
        """A peer was given a record. Blocks on the disk; call from worker threads."""
        with self._lock:
            if cid not in self._due:
                return
            self._due.discard(cid)
        self._outbox.record_told(cid)
        self._changed()
