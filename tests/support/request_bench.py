"""A requester's side on one disk: its books, its sealed rows, a catalogue that outlives it, and kills."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.requests.draft import RequestChain, Terms
from openstall.app.services.requests.looking import Choice
from openstall.app.services.requests.sealed_rows import RowsFolder
from openstall.app.services.requests.service import RequestService, RowsFile
from openstall.app.services.requests.training import TrainingData
from openstall.app.threads import Workers
from openstall.market.errors import NotFound
from openstall.market.ids import peer_id_of_seed
from openstall.market.records import Record, SignedRecord, sign_record
from openstall.p2p.blobs import BlobStore
from openstall.store.database import Store
from openstall.store.requests import Requests

NOW = 1_800_000_000
SEED = b"\x07" * 32
CHAIN = RequestChain(
    wallet="0x" + "11" * 20,
    chain_id=7,
    auction="0x" + "22" * 20,
    escrow="0x" + "33" * 20,
    contest="0x" + "66" * 20,
)
CONTEST: dict[str, Any] = {
    "mechanism": "contest",
    "weights_bps": (6_000, 3_000, 1_000),
    "evaluators": ("0x" + "55" * 20, "0x" + "44" * 20, "0x" + "77" * 20),
    "review_s": 7_200,
}


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Clock:
    at: int = NOW

    def now(self) -> int:
        return self.at


@dataclass
class Shelf:
    """The catalogue that everybody reads; it outlives the node."""

    records: dict[str, SignedRecord] = field(default_factory=dict)
    signed: int = 0
    die: str = ""
    willing: set[str] = field(default_factory=set)

    async def publish(self, type_: str, key: str, body: dict[str, Any], *, life_s: int) -> SignedRecord:
        self._perhaps_die("before publishing")
        self.signed += 1
        record = Record(
            type=type_,
            network="lab",
            author=peer_id_of_seed(SEED),
            key=key,
            seq=self.signed,
            prev="",
            issued=NOW,
            expires=NOW + life_s,
            body=body,
        )
        self.records[key] = sign_record(record, SEED)
        self._perhaps_die("after publishing")
        return self.records[key]

    async def evaluates(self, wallet: str) -> bool:
        return wallet in self.willing

    async def withdraw(self, _type: str, key: str) -> None:
        self._perhaps_die("before withdrawing")
        if key not in self.records:
            raise NotFound("not_published", "You have no request of that name in the catalogue.")
        del self.records[key]
        self._perhaps_die("after withdrawing")

    async def live_of(self, _author: str, _type: str, key: str) -> SignedRecord | None:
        return self.records.get(key)

    async def held(self, cid: str) -> SignedRecord | None:
        return next((one for one in self.records.values() if one.cid == cid), None)

    def _perhaps_die(self, where: str) -> None:
        if self.die == where:
            raise Killed


@dataclass
class Group:
    """The auctions of the group, which outlive the node."""

    opened: list[str] = field(default_factory=list)

    async def check_budget(self, _budget_micro: int) -> None:
        pass

    async def open(self, record: SignedRecord) -> None:
        if record.cid not in self.opened:
            self.opened.append(record.cid)

    async def stages(self) -> dict[str, Any]:
        return dict.fromkeys(self.opened)


@dataclass
class Bench:
    folder: Path
    store: Store
    shelf: Shelf = field(default_factory=Shelf)
    clock: Clock = field(default_factory=Clock)
    budgets: Group = field(default_factory=Group)

    def node(self, chain: RequestChain = CHAIN) -> RequestService:
        """The service as a start of the node builds it, on the same disk."""
        workers = Workers()
        self.access = BlobAccess()
        return RequestService(
            catalogue=self.shelf,  # type: ignore[arg-type]  # a shelf in the place of the catalogue
            requests=Requests(self.store),
            sealed=RowsFolder(folder=self.folder / "requests", seed=SEED),
            training=TrainingData(
                blobs=BlobStore(self.folder / "blobs"),
                access=self.access,
                workers=workers,
                folder=self.folder / "sealing",
            ),
            chain=chain,
            author=peer_id_of_seed(SEED),
            seed=SEED,
            workers=workers,
            clock=self.clock,
            budgets=self.budgets,
        )

    @property
    def file(self) -> RowsFile:
        return RowsFile(path=self.folder / "wine.csv", choice=Choice(target="cultivar"))

    async def create(self, service: RequestService, *, training: Path | None = None) -> dict[str, Any]:
        seen = (await service.preview(self.file, terms()))["file_sha256"]
        return await service.create(
            self.file,
            terms(),
            seen=seen,
            training=training,
            progress=lambda *_told: None,  # type: ignore[arg-type]
        )

    def files(self) -> list[str]:
        folder = self.folder / "requests"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def terms(**changes: Any) -> Terms:
    fields: dict[str, Any] = {
        "title": "Which wine is it?",
        "summary": "",
        "licence": "MIT",
        "metric": "macro_f1",
        "threshold": "0.95",
        "floors": (),
        "budget_micro": 50_000_000,
        "deposit_micro": 1_000_000,
    }
    return Terms(**fields | changes)
