"""A requester's side before the auction: from a table to a signed request, kept so that a kill loses nothing.

The order of steps: the sealed rows are on the disk, then the draft is in the books, then it is signed and
published, then the books say so. A draft that a kill left behind is finished at the next start.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.keys import rows_seed, training_key
from openstall.app.services.requests.draft import (
    RequestChain,
    Terms,
    summary_of,
    write_body,
)
from openstall.app.services.requests.looking import Choice, Look, as_dict, look
from openstall.app.services.requests.overlap import overlap_words
from openstall.app.services.requests.sealed_rows import KeptRows, RowsFolder
from openstall.app.services.requests.table import Problems, Table, read_table
from openstall.app.services.requests.training import TrainingData
from openstall.app.services.requests.words import silence_words
from openstall.app.threads import Workers
from openstall.market import ids
from openstall.market.errors import Conflict, MoneyError, NotFound, OpenstallError
from openstall.market.fields import DAY_S, body_as_dict
from openstall.market.records import MAX_LIFE_S, SignedRecord
from openstall.market.requests.bodies import LEAST_STAGE_S, RequestBody
from openstall.market.requests.rows import Commitment, commit
from openstall.market.schema import fit
from openstall.store.requests import RequestRow, Requests

TYPE = "request"
AFTERWARDS_S = 30 * DAY_S
"""How long a request can be read after its last deadline."""

log = get_logger("openstall.requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsFile:
    """The table that a requester points at, and what it says of it."""

    path: Path
    choice: Choice
    encoding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A request that peers can read, and the 32 bytes that name it on chain."""

    request_id: str
    record: SignedRecord
    body: RequestBody
    request_hash: bytes


class Budgets(Protocol):
    """Where the budget of a request goes once it is published: into an auction or a contest."""

    async def check_budget(self, budget_micro: int) -> None:
        """Raises MoneyError where the wallet holds less."""

    async def open(self, record: SignedRecord) -> None:
        """Pay the budget in; begun once, it is seen to its end by itself."""

    async def stages(self) -> dict[str, Any]:
        """Those that were begun, by the cid of their request."""


@dataclass(slots=True, kw_only=True)
class RequestService:
    """Call from the trio thread."""

    catalogue: Catalogue
    requests: Requests
    sealed: RowsFolder
    training: TrainingData
    chain: RequestChain
    author: str
    seed: bytes
    workers: Workers
    clock: Clock
    budgets: Budgets
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def preview(
        self, file: RowsFile, terms: Terms | None, training: Path | None = None
    ) -> dict[str, Any]:
        """What the table holds, what is wrong or odd, and with terms what would be signed.

        With training data it is also told whether sealed rows stand in there.

        `problems` is not empty where the table cannot be used; each has a line and a fix.
        """
        problems = Problems()
        if not file.choice.target:
            return await self._first_look(file, problems)
        read = await self.workers.work(_read, file, problems)
        table, found = read if read is not None else (None, None)
        if training is not None and table is not None and found is not None and not problems.total:
            found.warnings += await self.workers.work(
                overlap_words, training, found, table.lines, file.choice.target
            )
        if terms is not None and found is not None:
            found.warnings += [silence_words(one) for one in await self._unwilling(terms)]
        told = _preview(problems, table, None if table is None else as_dict(table, found))
        if terms is not None and table is not None and found is not None and not problems.total:
            self.chain.need(terms.mechanism)
            commitment = Commitment(root="00" * 32, rows=len(found.rows))
            body = self._body(terms, found, commitment, file, training=None)
            told["summary"] = summary_of(body, training=training is not None)
        return told

    async def _unwilling(self, terms: Terms) -> list[str]:
        """Evaluators that have not said in the catalogue that they measure for others."""
        own = self.chain.wallet.lower()
        others = [one for one in terms.evaluators if one.lower() != own]
        return [one for one in others if not await self.catalogue.evaluates(one)]

    async def _first_look(self, file: RowsFile, problems: Problems) -> dict[str, Any]:
        """What the columns are called and hold, before anybody has chosen the one of the answers."""
        table = await self.workers.work(partial(read_table, file.path, problems, encoding=file.encoding))
        shown = as_dict(table, None) if table is not None and not problems.total else None
        return _preview(problems, table, shown)

    async def create(
        self,
        file: RowsFile,
        terms: Terms,
        *,
        seen: str,
        training: Path | None,
        progress: Progress,
    ) -> dict[str, Any]:
        """Seal the rows, sign the request and publish it; as `show` says it.

        Args:
            seen: SHA-256 of the file as it was previewed; another file is not signed for.

        Raises:
            Refused: `bad_table`.
            Conflict: `table_changed`.
            ChainError: `no_requests`.
            InvalidRecord: the terms make no sense together.
        """
        self.chain.need(terms.mechanism)
        progress("Reading your rows")
        problems = Problems()
        read = await self.workers.work(_read, file, problems)
        if read is None or problems.total:
            raise problems.error()
        table, found = read
        if table.sha256 != seen:
            raise Conflict(
                "table_changed",
                "The file has changed since you looked at it.",
                "Look at it again, then sign.",
            )
        request_id, salt = secrets.token_hex(8), secrets.token_hex(16)
        commitment = await self.workers.work(commit, found.rows, rows_seed(self.seed, salt))
        self._body(terms, found, commitment, file, training=None)  # refuse before anything is kept
        await self.budgets.check_budget(terms.budget_micro)
        shared = None
        data: dict[str, Any] = {"salt": salt}
        if training is not None:
            progress("Encrypting the training data")
            columns = (*found.features, file.choice.target)
            shared, entry = await self.training.share(training, training_key(self.seed, salt), columns)
            data["training_file"] = body_as_dict(entry)
        body = self._body(terms, found, commitment, file, training=shared)
        progress("Sealing your rows")
        at = self.clock.now()
        async with self._lock:  # or else a sweep might take rows that no draft names yet
            await self.workers.store(self.sealed.write, request_id, salt, found.columns, found.rows)
            await self.workers.store(self.requests.draft, request_id, body_as_dict(body), data, at=at)
        progress("Publishing the request, and paying the budget in")
        await self.open(request_id)
        return await self.show(request_id)

    async def open(self, request_id: str) -> None:
        """Publish a draft and open its auction; from then on it cannot be withdrawn.

        Raises:
            InvalidRecord: its deadlines have passed meanwhile.
            MoneyError: the wallet holds less than the budget by now.
            ChainError: the chain cannot be reached now; the auction is opened later, by itself.
        """
        published = await self.publish(request_id)
        await self.workers.store(
            self.requests.move, request_id, ("published", "open"), "open", at=self.clock.now()
        )
        try:
            await self.budgets.open(published.record)
        except MoneyError:  # nothing was signed: it may be taken back, or opened once there is money
            await self.workers.store(
                self.requests.move, request_id, ("open",), "published", at=self.clock.now()
            )
            raise

    async def publish(self, request_id: str) -> Published:
        """Sign and announce a draft; one that was published before is only read.

        Raises:
            NotFound: there is no such request.
            InvalidRecord: its deadlines have passed meanwhile.
        """
        async with self._lock:
            row = await self.workers.store(self.requests.get, request_id)
            body = fit(row.body, RequestBody, "request")
            record = await self._record_of(row)
            if record is None:
                life_s = min(self._ends_at(body) - self.clock.now(), MAX_LIFE_S)
                record = await self.catalogue.publish(TYPE, row.request_id, row.body, life_s=life_s)
            if row.state == "draft":
                await self.workers.store(
                    self.requests.move,
                    row.request_id,
                    ("draft",),
                    "published",
                    at=self.clock.now(),
                    cid=record.cid,
                )
        return Published(
            request_id=row.request_id,
            record=record,
            body=body,
            request_hash=ids.digest_in_cid(record.cid),
        )

    async def over(self, request_id: str) -> None:
        """Its auction ended without an order: the request may be taken back."""
        await self.workers.store(
            self.requests.move, request_id, ("open", "over"), "over", at=self.clock.now()
        )

    async def withdraw(self, request_id: str) -> dict[str, Any]:
        """Take a request back, and delete its sealed rows; not while its auction or an order needs them.

        Raises:
            NotFound: there is no such request.
            Conflict: `wrong_state`.
        """
        async with self._lock:
            row = await self.workers.store(
                self.requests.move,
                request_id,
                ("published", "over", "withdrawing"),
                "withdrawing",
                at=self.clock.now(),
            )
            await self._finish_withdrawal(row)
        return await self.show(row.request_id)

    async def items(self) -> list[dict[str, Any]]:
        """All own requests, newest first."""
        rows = await self.workers.store(self.requests.items)
        return [_shown(row) for row in rows]

    async def show(self, request_id: str) -> dict[str, Any]:
        """One of them, with the words that were signed. Raises NotFound."""
        row = await self.workers.store(self.requests.get, request_id)
        body = fit(row.body, RequestBody, "request")
        return {**_shown(row), "body": row.body, "summary": summary_of(body)}

    async def rows_of(self, request_id: str) -> KeptRows:
        """The sealed rows, for an evaluator. Raises StoreError `rows_lost`."""
        row = await self.workers.store(self.requests.get, request_id)
        return await self.workers.work(self.sealed.read, row.request_id, row.data["salt"])

    async def seed_of(self, request_id: str) -> bytes:
        """The seed of the salts of the rows, for an evaluator."""
        row = await self.workers.store(self.requests.get, request_id)
        return rows_seed(self.seed, row.data["salt"])

    async def training_key_of(self, request_id: str) -> bytes:
        """The key of the training data, for the winner."""
        row = await self.workers.store(self.requests.get, request_id)
        return training_key(self.seed, row.data["salt"])

    async def resume(self) -> None:
        """After a start: finish what was under way, serve the training data, remove what is left over."""
        rows = await self.workers.store(self.requests.items)
        for row in rows:
            if row.body["training"] is not None and row.state != "withdrawn":
                self.training.access.make_public(row.body["training"]["cid"])
            try:
                if row.state in ("draft", "published", "open"):
                    await self._finish_draft(row)  # what is open already stays so
                elif row.state == "withdrawing":
                    await self.withdraw(row.request_id)
            except OpenstallError as error:
                log.info("a request could not be finished", request=row.request_id, code=error.code)
        async with self._lock:
            kept = await self.workers.store(self.requests.items)
            ids = [row.request_id for row in kept if row.state != "withdrawn"]
            await self.workers.store(self.sealed.sweep, ids)

    async def _finish_draft(self, row: RequestRow) -> None:
        too_late = row.body["commit_by"] < self.clock.now() + LEAST_STAGE_S
        if too_late and await self._record_of(row) is None:
            await self.workers.store(self.requests.remove_draft, row.request_id)
        elif not too_late:
            await self.open(row.request_id)
        elif row.state == "open" and row.cid not in await self.budgets.stages():
            await self.over(row.request_id)  # a kill came before the budget was even noted

    async def _finish_withdrawal(self, row: RequestRow) -> None:
        try:
            await self.catalogue.withdraw(TYPE, row.request_id)
        except NotFound:
            log.info("nothing of the request was in the catalogue", request=row.request_id)
        await self.workers.store(
            self.requests.move, row.request_id, ("withdrawing",), "withdrawn", at=self.clock.now()
        )
        await self.workers.store(self.sealed.remove, row.request_id)

    async def _record_of(self, row: RequestRow) -> SignedRecord | None:
        """What this node published of it, also where it has expired since."""
        if row.cid:
            return await self.catalogue.held(row.cid)
        return await self.catalogue.live_of(self.author, TYPE, row.request_id)

    def _body(
        self,
        terms: Terms,
        found: Look,
        commitment: Commitment,
        file: RowsFile,
        *,
        training: Any,
    ) -> RequestBody:
        return write_body(
            terms,
            found,
            commitment,
            self.chain,
            target=file.choice.target,
            training=training,
            now=self.clock.now(),
        )

    def _ends_at(self, body: RequestBody) -> int:
        return body.deliver_by + body.tries * (body.evaluate_s + body.review_s) + AFTERWARDS_S


def _read(file: RowsFile, problems: Problems) -> tuple[Table, Look] | None:
    table = read_table(file.path, problems, encoding=file.encoding)
    if table is None or problems.total:
        return None
    if not file.choice.target:
        problems.add(0, "No column of the answers is chosen.", "Say which column a model shall find out.")
        return None
    found = look(table, file.choice, problems)
    return None if found is None else (table, found)


def _preview(problems: Problems, table: Table | None, shown: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "problems": [{"line": one.line, "words": one.words, "fix": one.fix} for one in problems.items],
        "problem_count": problems.total,
        "table": shown,
        "file_sha256": table.sha256 if table is not None else "",
        "summary": [],
    }


def _shown(row: RequestRow) -> dict[str, Any]:
    body = row.body
    return {
        "request_id": row.request_id,
        "state": row.state,
        "cid": row.cid or None,
        "request_hash": ids.digest_in_cid(row.cid).hex() if row.cid else None,
        "title": body["title"],
        "mechanism": body["mechanism"],
        "budget_micro": body["budget_micro"],
        "commit_by": body["commit_by"],
        "reveal_by": body["reveal_by"],
        "deliver_by": body["deliver_by"],
        "rows": body["rows"],
        "created_at": row.created_at,
    }
