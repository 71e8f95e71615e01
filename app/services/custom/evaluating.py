"""Measuring what was handed in on the buyer's sealed rows, and bringing the verdict to the chain.

Whoever evaluates does so on its own machine: it opens both sides' sealed files, runs the model in a
sandbox from which only rounded figures come out, and signs. Whichever node first holds signatures of a
quorum on one verdict brings them to the chain.
"""

from __future__ import annotations

import base64
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.services.custom import wire
from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.custom.talk import SealedRows, Shown, Talk
from openstall.app.services.orders.blob_access import check_blob
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.sealing import check_key, unseal
from openstall.app.threads import Workers
from openstall.compute_agent.specs import GIB, MIB
from openstall.ledger.model_escrow import ModelEscrowClient, SignedVerdict, Verdict
from openstall.market.errors import InvalidOrder, InvalidRecord, PeerError, StoreError
from openstall.market.requests.assessment import Statement, read_statement, statement_hash
from openstall.market.requests.delivery import Delivery
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

MOST_BYTES = 8 * GIB
MOST_ROWS_BYTES = 256 * MIB
SPARE_BYTES = 64 * MIB
REST_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What an assessor gets: both sides' files, opened, in a folder that is removed afterwards."""

    model: Path
    rows: Path
    salts: bytes
    """The seed of the rows' salts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """Until when the files of an order are left alone, and why."""

    until: int
    error: InvalidOrder


class Assessor(Protocol):
    """Measures a model on rows whose commitment it checks first."""

    async def assess(self, order: OpenOrder, trial: Trial, *, key: bytes, at: int) -> bytes:
        """The statement, canonical; raises InvalidOrder where the rows are not those committed to."""


@dataclass(slots=True, kw_only=True)
class Evaluating:
    """The evaluator's work, and what parties do with verdicts."""

    desk: OrderDesk
    models: ModelDesk
    talk: Talk
    blobs: BlobStore
    transfer: BlobTransfer
    assessor: Assessor
    engine: OrderEngine
    folder: Path
    """For opened models and rows; nothing else lies in it."""
    workers: Workers
    _refused: dict[str, _Rest] = field(default_factory=dict)
    _measuring: trio.Lock = field(default_factory=trio.Lock)
    """One model at a time, however many orders name this evaluator: each may take gigabytes."""

    async def clear(self) -> None:
        """Remove what an evaluation that was killed has left in the clear."""
        await self.workers.work(lambda: shutil.rmtree(self.folder, ignore_errors=True))

    async def step(self, order: OpenOrder) -> None:
        """Measure if this wallet is an evaluator and has not; tell the parties; bring a quorum to the chain.

        Raises:
            PeerError: a party cannot be reached now.
            SandboxError: there is no sandbox to measure in.
            InvalidOrder: what a party gave is not what it had committed to.
        """
        if self._me in _evaluators(order):
            order = await self._measured(order)
            await self._tell(order)
        await self.bring(order)

    async def bring(self, order: OpenOrder) -> None:
        """Bring the verdict to the chain, once enough evaluators have signed the same."""
        attempt = int(order.data["attempt"])
        for passed in (True, False):
            verdicts = [one for one in self._verdicts(order, attempt) if one["passed"] is passed]
            if len(verdicts) >= order.contract.custom.quorum and self._my_turn(order, verdicts):
                signed = [
                    SignedVerdict(
                        place=one["place"],
                        report_hash=bytes.fromhex(one["report_hash"]),
                        signature=bytes.fromhex(one["signature"]),
                    )
                    for one in verdicts
                ]
                await self.models.assess(order, attempt, passed=passed, verdicts=signed)
                return

    def _my_turn(self, order: OpenOrder, verdicts: list[dict[str, Any]]) -> bool:
        """One after the other, so that not all of them pay for the same: whoever measured is first."""
        wait_s = {"evaluator": 0, "buyer": 0 if self._me in _evaluators(order) else 5}.get(order.role, 12)
        return self.desk.now() >= max(int(one["at"]) for one in verdicts) + wait_s

    async def take(self, order: OpenOrder, ask: wire.Ask) -> None:
        """A verdict from an evaluator: checked, and kept with its statement.

        Raises:
            InvalidOrder: it is not about this model, contradicts itself, or is not an evaluator's.
        """
        if order.state != "submitted" or ask.attempt != int(order.data["attempt"]):
            raise InvalidOrder("not_now", "No verdict is wanted now.", "")
        try:
            raw = base64.b64decode(ask.statement, validate=True)
            signature = bytes.fromhex(ask.signature)
            statement = read_statement(raw)
        except (ValueError, InvalidRecord) as error:
            raise InvalidOrder("bad_statement", f"The verdict is no assessment: {error}") from error
        self._check(order, statement)
        verdict = self._verdict(order, raw, passed=statement.predicate.passed)
        signer = await self.workers.chain(self._signer, verdict, signature)
        if signer not in _evaluators(order) or signer != statement.predicate.evaluator.lower():
            raise InvalidOrder("not_an_evaluator", "The verdict is not signed by an evaluator of this order.")
        if _entry(ask.attempt, signer) in order.data:
            return  # its first word counts: told again and again, it would keep the others' from the chain
        await self._keep(order, signer, raw, signature, passed=statement.predicate.passed)
        self.engine.wake(order.order_id)

    async def _measured(self, order: OpenOrder) -> OpenOrder:
        """The order with this node's own verdict on the present try in its books."""
        attempt = int(order.data["attempt"])
        if _entry(attempt, self._me) in order.data:
            return order
        self.desk.progress(order.order_id, "Fetching model and rows", 0, 2, "files")
        shown = await self.talk.delivery(order)
        check_key(shown.key, shown.delivery.key_sha256)
        rows = await self.talk.sealed_rows(order)
        self._check_room(shown.delivery, rows)
        for peer, blob in (
            (order.contract.order.seller, shown.delivery.blob),
            (order.contract.order.buyer, rows.blob),
        ):
            if not self.blobs.have(blob.cid):
                await self.transfer.fetch(blob.cid, [peer], expected_size_max=blob.size)
            check_blob(self.blobs.info(blob.cid), blob)
        async with self._measuring:
            raw = await self._measure_or_rest(order, shown, rows)
        statement = read_statement(raw)
        # The buyer has another source for what passed, should the developer go away.
        self.talk.grant(shown.delivery.blob.cid, order.contract.order.buyer)
        verdict = self._verdict(order, raw, passed=statement.predicate.passed)
        signature = await self.workers.chain(
            ModelEscrowClient(self.models.chain).sign, self.models.wallet, verdict
        )
        await self._keep(order, self._me, raw, signature, passed=statement.predicate.passed)
        return await self.desk.load(order.order_id)

    async def _measure_or_rest(self, order: OpenOrder, shown: Shown, rows: SealedRows) -> bytes:
        """Files that were not what was committed to are not opened again at once: they may be large."""
        known = self._refused.get(order.order_id)
        if known is not None and self.desk.now() < known.until:
            raise known.error
        try:
            return await self._measure(order, shown, rows)
        except InvalidOrder as error:
            self._refused[order.order_id] = _Rest(until=self.desk.now() + REST_S, error=error)
            raise

    async def _measure(self, order: OpenOrder, shown: Shown, rows: SealedRows) -> bytes:
        """Open both sides' files, and run the one on the other; nothing in the clear stays."""
        place = self.folder / secrets.token_hex(8)
        files = shown.delivery.files
        try:
            await self.workers.work(lambda: place.mkdir(parents=True, mode=0o700))
            blob_path = self.blobs.path(shown.delivery.blob.cid)
            await trio.to_thread.run_sync(lambda: unseal(blob_path, shown.key, files, place / "package"))
            rows_blob = self.blobs.path(rows.blob.cid)
            await trio.to_thread.run_sync(lambda: unseal(rows_blob, rows.key, [rows.file], place / "rows"))
            self.desk.progress(order.order_id, "Measuring the model in the sandbox", 1, 2, "files")
            trial = Trial(
                model=place / "package" / shown.delivery.model.name,
                rows=place / "rows" / rows.file.name,
                salts=rows.seed,
            )
            return await self.assessor.assess(
                order, trial, key=self.models.key(order.contract), at=self.desk.now()
            )
        finally:
            with trio.CancelScope(shield=True):
                await self.workers.work(lambda: shutil.rmtree(place, ignore_errors=True))

    def _check_room(self, delivery: Delivery, rows: SealedRows) -> None:
        """Strangers say how large their files are: what no evaluation needs is not fetched."""
        opened = sum(entry.size for entry in delivery.files) + rows.file.size
        if max(delivery.blob.size, opened) > MOST_BYTES or rows.blob.size > MOST_ROWS_BYTES:
            raise InvalidOrder(
                "too_large", "The model or the rows are larger than an evaluator takes. Nothing is measured."
            )
        needed = delivery.blob.size + rows.blob.size + opened + SPARE_BYTES
        if shutil.disk_usage(self.folder.parent).free < needed:
            raise StoreError(
                "disk_full",
                f"To measure the model, {needed // MIB + 1} MiB of free disk are needed.",
                "Free some space; it is measured by itself.",
            )

    async def _tell(self, order: OpenOrder) -> None:
        """Give both parties this node's own verdict; who is away gets it later."""
        attempt = int(order.data["attempt"])
        own = order.data[_entry(attempt, self._me)]
        trouble: PeerError | None = None
        for role in ("buyer", "seller"):
            told = f"told {attempt} {role}"
            if role == order.role or order.data.get(told):
                continue
            try:
                await self.talk.verdict(
                    order,
                    getattr(order.contract.order, role),
                    base64.b64decode(own["statement"]),
                    bytes.fromhex(own["signature"]),
                )
            except PeerError as error:
                trouble = error
            else:
                await self.desk.patch(order.order_id, **{told: True})
        if trouble is not None and len(self._verdicts(order, attempt)) < order.contract.custom.quorum:
            raise trouble

    async def _keep(
        self, order: OpenOrder, wallet: str, raw: bytes, signature: bytes, *, passed: bool
    ) -> None:
        entry: dict[str, Any] = {
            "place": _evaluators(order).index(wallet),
            "passed": passed,
            "report_hash": statement_hash(raw),
            "signature": signature.hex(),
            "statement": base64.b64encode(raw).decode(),
            "at": self.desk.now(),
        }
        await self.desk.patch(order.order_id, **{_entry(int(order.data["attempt"]), wallet): entry})

    def _check(self, order: OpenOrder, statement: Statement) -> None:
        """Whether a statement is about this very try of this order, on the rows that were committed to."""
        found, terms = statement.predicate, order.contract.custom
        same = {
            "model": statement.model_sha256 == order.data["model_hash"],
            "try": found.attempt == int(order.data["attempt"]),
            "order": found.key == self.models.key(order.contract).hex()
            and found.request == terms.request_hash.hex(),
            "group": found.network == order.contract.order.network
            and found.chain_id == order.contract.order.chain_id,
            "rows": (found.rows, found.rows_root) == (terms.rows, terms.rows_root),
            "demands": (found.task, found.metric, found.threshold, found.floors)
            == (terms.task, terms.metric, terms.threshold, terms.floors),
        }
        different = [name for name, equal in same.items() if not equal]
        if different:
            raise InvalidOrder("other_assessment", f"The assessment is about another {', '.join(different)}.")

    def _verdict(self, order: OpenOrder, raw: bytes, *, passed: bool) -> Verdict:
        return Verdict(
            key=self.models.key(order.contract),
            model_hash=bytes.fromhex(order.data["model_hash"]),
            attempt=int(order.data["attempt"]),
            passed=passed,
            report_hash=bytes.fromhex(statement_hash(raw)),
        )

    def _signer(self, verdict: Verdict, signature: bytes) -> str:
        return ModelEscrowClient(self.models.chain).signer(verdict, signature)

    @staticmethod
    def _verdicts(order: OpenOrder, attempt: int) -> list[dict[str, Any]]:
        entries = (order.data.get(_entry(attempt, wallet)) for wallet in _evaluators(order))
        return [entry for entry in entries if entry is not None]

    @property
    def _me(self) -> str:
        return self.models.wallet.address.lower()


def _evaluators(order: OpenOrder) -> list[str]:
    return [wallet.lower() for wallet in order.contract.custom.evaluators]


def _entry(attempt: int, wallet: str) -> str:
    """Where the order's private data keeps an evaluator's verdict on a try."""
    return f"verdict {attempt} {wallet}"
