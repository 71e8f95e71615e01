"""What stands in for a sandbox and for a node's catalogue in the lab of models made to order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from capacity_lab import OpenShelf
from trade_lab import NETWORK, Side

from openstall.app.services.sealed import Evaluated
from openstall.compute_agent.assess_specs import AssessParams
from openstall.learning.grid import grid_of, least_hits
from openstall.learning.intervals import wilson
from openstall.market import merkle
from openstall.market.errors import NotFound, SandboxError
from openstall.market.records import Peer, Record, SignedRecord, sign_record
from openstall.market.requests.assessment import Figure, Measured
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.openings import OpenedRow, Sealed, differing, seal, show

if TYPE_CHECKING:
    from openstall.app.operations import Progress

MARKS = {"code_sha256": "03" * 32, "sandbox_sha256": "04" * 32, "runtime_sha256": "05" * 32}


class Sandbox:
    """Where a model would be measured: it counts what the model says of itself, which is how many of the
    first rows it tells right."""

    def __init__(self) -> None:
        self.measured = 0
        self.opened = 0
        self.replayed = 0
        self.said: int | None = None
        """What a lying evaluator makes it say; it commits to answers that fit, and opens them."""
        self.counted: int | None = None
        """What a lying evaluator says that it counted, of true answers."""
        self.breaks: dict[int, str] = {}
        """Models that break their run off, by what they would tell right, with how it ends."""

    async def evaluate(self, model: Path, rows: Path, params: AssessParams, *, count: int) -> Evaluated:
        right, table = await trio.to_thread.run_sync(_read, model, rows)
        assert len(table) == count
        self.measured += 1
        if right in self.breaks:
            raise SandboxError(self.breaks[right], "The run was broken off.")
        right = right if self.said is None else self.said
        leaves = seal(_answers(table, right), bytes.fromhex(params.salt_seed))
        counted = right if self.counted is None else self.counted
        figure = accuracy(counted, count, params.threshold)
        measured = Measured(rows=count, figures=[figure], outputs_root=merkle.root_of(leaves).hex())
        return Evaluated(fault="", measured=measured, **MARKS)

    async def open(
        self,
        model: Path,
        rows: Path,
        params: AssessParams,
        wanted: Sequence[int],
        *,
        outputs_root: str,
    ) -> list[Sealed]:
        right, table = await trio.to_thread.run_sync(_read, model, rows)
        self.opened += 1
        answers = _answers(table, right if self.said is None else self.said)
        salts = bytes.fromhex(params.salt_seed)
        leaves = seal(answers, salts)
        if merkle.root_of(leaves).hex() != outputs_root:
            raise SandboxError("not_reproduced", "The model answers otherwise than when it was assessed.")
        return [show(leaves, salts, at, answers[at]) for at in wanted]

    async def replay(
        self, model: Path, header: Sequence[str], opened: Sequence[OpenedRow], _params: AssessParams
    ) -> list[int]:
        right = int(await trio.Path(model).read_text())
        self.replayed += 1
        target = list(header).index("kind")
        said = [_answer(entry.row.cells[target], at=entry.index, right=right) for entry in opened]
        places = differing([entry.output.cells for entry in opened], said)
        return [opened[at].index for at in places]


def _read(model: Path, rows: Path) -> tuple[int, list[list[str]]]:
    return int(model.read_text()), [line.split(",") for line in rows.read_text().splitlines()[1:]]


def _answers(table: Sequence[Sequence[str]], right: int) -> list[list[str]]:
    return [_answer(row[2], at=at, right=right) for at, row in enumerate(table)]


def _answer(label: str, *, at: int, right: int) -> list[str]:
    return [label if at < right else {"good": "bad", "bad": "good"}[label]]


def accuracy(right: int, rows: int, threshold: str) -> Figure:
    """The figure of a model that tells so many rows right."""
    grid = grid_of("accuracy", threshold)
    value = grid.down(Fraction(right, rows))
    hits = least_hits(grid, value, rows)
    low, high = wilson(hits, rows)
    return Figure(
        name="accuracy",
        hits=hits,
        rows=rows,
        value=grid.text(value),
        low=grid.text(grid.down(low)),
        high=grid.text(grid.up(high)),
    )


class Examined:
    """No model of this lab is unsafe: they are numbers."""

    async def run(self, _model: Path, _progress: Progress) -> dict[str, Any]:
        return {"ok": True, "findings": []}


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """What one side sees of the shelf, and what it puts there."""

    shelf: OpenShelf
    side: Side

    async def live_record(self, cid: str) -> SignedRecord:
        if cid not in self.shelf.records:
            raise NotFound("no_such_record", "That is not in the catalogue (any more).")
        return self.shelf.records[cid]

    async def live_of(self, author: str, type_: str, key: str) -> SignedRecord | None:
        return await self.shelf.live_of(author, type_, key)

    async def held(self, cid: str, *, at: int | None = None) -> SignedRecord | None:
        return await self.shelf.held(cid, at=at)

    async def find(self, *, types: tuple[str, ...] = ("peer",), **query: Any) -> dict[str, Any]:
        if types != ("request",):
            return await self.shelf.find(types=types, **query)
        found = [{"cid": one.cid} for one in self.shelf.records.values() if isinstance(one.body, RequestBody)]
        return {"items": found, "total": len(found)}

    async def marks_of(self, named: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
        """Nobody here looks like anybody else."""
        return {one: [] for one in named}

    async def peer_names(self, peer_ids: Sequence[str]) -> dict[str, str]:
        return {
            one.record.author: one.body.name
            for one in self.shelf.records.values()
            if isinstance(one.body, Peer) and one.record.author in peer_ids
        }

    async def publish(self, type_: str, key: str, body: dict[str, Any], *, life_s: int) -> SignedRecord:
        now, author = self.side.clock.now(), self.side.host.peer_id
        seq = 1 + sum(one.record.author == author for one in self.shelf.records.values())
        record = Record(
            type=type_,
            network=NETWORK,
            author=author,
            key=key,
            seq=seq,
            prev="",
            issued=now,
            expires=now + life_s,
            body=body,
        )
        signed = sign_record(record, self.side.seed)
        self.shelf.records[signed.cid] = signed
        return signed

    async def withdraw(self, type_: str, key: str) -> None:
        found = await self.live_of(self.side.host.peer_id, type_, key)
        if found is None:
            raise NotFound("not_published", "Nothing of that name is there.")
        del self.shelf.records[found.cid]

    async def wallet_of(self, peer_id: str) -> str:
        bodies = [one.body for one in self.shelf.records.values() if one.record.author == peer_id]
        return next((body.wallet.lower() for body in bodies if isinstance(body, Peer)), "")

    async def peer_of(self, wallet: str) -> str | None:
        found = await self.shelf.find(query=wallet, types=("peer",))
        return next((item["author"] for item in found["items"]), None)

    async def evaluates(self, wallet: str) -> bool:
        bodies = [one.body for one in self.shelf.records.values()]
        return any(isinstance(one, Peer) and (one.wallet, one.evaluates) == (wallet, True) for one in bodies)
