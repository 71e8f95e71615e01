"""What this node's catalogue holds and how complete it is; the room that its owner gives it."""

from __future__ import annotations

from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.group import GroupService
from openstall.app.services.identity import IdentityService
from openstall.app.services.network import NetworkService
from openstall.app.threads import Workers
from openstall.market.contradictions import WORDS, parse_proof
from openstall.market.errors import OpenstallError
from openstall.market.records import SignedRecord
from openstall.p2p.catalogue import Checked
from openstall.store.contradictions import ProofRow, Proofs
from openstall.store.holdings import LEAST_CAP_BYTES, Holdings, Trust
from openstall.store.records import Records
from openstall.store.settings import Settings

MOST_CAP_BYTES = 2**40
MAX_BRINGERS = 20
UPKEEP_EVERY_S = 300
_CAP = "catalogue.cap_bytes"

log = get_logger("openstall.catalogue")


class CatalogueState:
    """Reads for the Network view, and the one setting. Call from the trio thread."""

    def __init__(
        self,
        *,
        records: Records,
        holdings: Holdings,
        proofs: Proofs,
        settings: Settings,
        catalogue: Catalogue,
        identity: IdentityService,
        group: GroupService,
        network: NetworkService,
        workers: Workers,
        clock: Clock,
    ) -> None:
        self._records = records
        self._holdings = holdings
        self._proofs = proofs
        self._settings = settings
        self._catalogue = catalogue
        self._identity = identity
        self._group = group
        self._network = network
        self._workers = workers
        self._clock = clock
        catalogue.upkeep = self._keep_order

    async def load(self) -> None:
        """Take the owner's room from the settings, before the catalogue runs."""
        self._records.cap_bytes = await self._workers.store(self._settings.get, _CAP, self._records.cap_bytes)

    async def _keep_order(self) -> None:
        """While there is a group: remember whom we know, and delete what is over."""
        while True:
            await self._remember()
            removed = await self._workers.store(
                self._records.purge, now=self._clock.now(), keep_author=self._identity.peer_id
            )
            if removed:
                log.info("expired records removed", count=removed)
            await trio.sleep(UPKEEP_EVERY_S)

    async def _remember(self) -> None:
        """Records of whom we know are the last to go where room is short."""
        network, now = self._group.membership.network, self._clock.now()
        known = {peer.peer_id: Trust.SEEN for peer in self._network.peers() if peer.network == network}
        known[self._identity.peer_id] = Trust.OWN
        await self._workers.store(self._holdings.know, network, known, at=now)
        await self._workers.store(self._holdings.know_traded, network)

    async def state(self) -> dict[str, Any]:
        """Counts, room, completeness, contradictions, and what was refused since the start."""
        storage = await self.storage()
        shared = self._catalogue.shared
        checked = {one.peer_id: one for one in shared.checked()} if shared is not None else {}
        members = shared.members() if shared is not None else []
        names = await self._catalogue.peer_names(members)
        peers = [
            {"peer_id": peer_id, "name": names[peer_id], **self._standing(checked.get(peer_id))}
            for peer_id in members
        ]
        return {
            **storage,
            "counts": await self._catalogue.counts(),
            "peers": peers,
            "complete": bool(peers) and all(one["complete"] for one in peers),
            "refused": dict(sorted(shared.refused().items())) if shared is not None else {},
        }

    async def storage(self) -> dict[str, Any]:
        """What is kept, of whom, and the room for it."""
        network = self._group.membership.network if self._group.joined else ""
        used = await self._workers.store(self._holdings.usage, network)
        bringers = await self._workers.store(self._holdings.bringers, network, MAX_BRINGERS)
        names = await self._catalogue.peer_names([str(one["peer_id"]) for one in bringers])
        return {
            "joined": self._group.joined,
            "records": used.records,
            "used_bytes": used.bytes,
            "cap_bytes": self._records.cap_bytes,
            "file_bytes": await self._workers.store(self._holdings.file_bytes),
            "by_trust": await self._workers.store(self._holdings.by_trust, network),
            "brought_by": [{**one, "name": names[str(one["peer_id"])]} for one in bringers],
            "contradictions": await self._workers.store(self._proofs.count, network),
        }

    async def set_cap(self, cap_bytes: int) -> dict[str, Any]:
        """Change the room; what does not fit any more goes, the records of strangers first."""
        if not LEAST_CAP_BYTES <= cap_bytes <= MOST_CAP_BYTES:
            raise OpenstallError(
                "bad_cap",
                f"The catalogue takes {LEAST_CAP_BYTES // 2**20} MiB to {MOST_CAP_BYTES // 2**40} TiB.",
                "Nothing was changed. Name another size.",
            )
        await self._workers.store(self._settings.set, _CAP, cap_bytes)
        self._records.cap_bytes = cap_bytes
        if self._group.joined:
            gone = await self._workers.store(
                self._records.prune, self._group.membership.network, now=self._clock.now()
            )
            log.info("room for the catalogue changed", cap_bytes=cap_bytes, removed=gone)
        return await self.storage()

    async def contradictions(self, *, limit: int, offset: int) -> dict[str, Any]:
        """Authors that have signed two things which cannot both be, each with the two records."""
        if not self._group.joined:
            return {"items": [], "total": 0}
        network = self._group.membership.network
        rows = await self._workers.store(self._proofs.all, network, limit=limit, offset=offset)
        names = await self._catalogue.peer_names([row.author for row in rows])
        items = [await self._shown(row, names[row.author]) for row in rows]
        return {"items": items, "total": await self._workers.store(self._proofs.count, network)}

    async def _shown(self, row: ProofRow, name: str) -> dict[str, Any]:
        network = self._group.membership.network
        proof = await self._workers.work(parse_proof, row.raw, network=network, now=row.found_at)
        return {
            "author": row.author,
            "author_name": name,
            "kind": row.kind,
            "words": WORDS[row.kind],
            "found_at": row.found_at,
            "until": row.until,
            "missing": await self._workers.store(self._records.missing, network, row.author),
            "records": [_brief(proof.first), _brief(proof.second)],
        }

    def _standing(self, checked: Checked | None) -> dict[str, Any]:
        if checked is None:
            return {"checked_at": 0, "equal": False, "complete": False, "missing": 0, "admitted": 0}
        return {
            "checked_at": self._clock.now() - round(checked.seconds_ago),
            "equal": checked.report.equal,
            "complete": checked.complete,
            "missing": checked.report.missing,
            "admitted": checked.report.admitted,
        }


def _brief(signed: SignedRecord) -> dict[str, Any]:
    record = signed.record
    return {
        "cid": signed.cid,
        "type": record.type,
        "key": record.key,
        "seq": record.seq,
        "prev": record.prev,
        "issued": record.issued,
    }
