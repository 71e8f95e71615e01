"""Measuring what was handed in on the buyer's sealed rows, and bringing the verdict to the chain.

Whoever evaluates does so on its own machine: it opens both sides' sealed files, runs the model in a
sandbox from which only rounded figures come out, and signs. Whichever node first holds signatures of a
quorum on one verdict brings them to the chain.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom import wire
from openstall.app.services.custom.judged import evaluators_of, is_wanted_late, verdict_as
from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.custom.talk import Talk
from openstall.app.services.custom.trials import SealedTrial, Trial, Trials, kept_as
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.sealed import BROKEN_OFF
from openstall.app.services.sealing import check_key
from openstall.app.threads import Workers
from openstall.ledger.model_escrow import ModelEscrowClient, SignedVerdict, Verdict
from openstall.market.errors import InvalidOrder, InvalidRecord, OpenstallError, PeerError, SandboxError
from openstall.market.requests.assessment import Statement, read_statement, statement_hash
from openstall.market.requests.openings import OpenedRow, Sealed

REST_S = 600
TELL_AGAIN_S = 15.0
"""An arbiter who is away is looked for no more often than this."""
LATER = frozenset({"passed", "failed", "delivered", "disputed"})
"""The states in which somebody who was away still gets a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """Until when the files of an order are left alone, and why."""

    until: int
    error: OpenstallError


class Assessor(Protocol):
    """Measures a model on rows whose commitment it checks first."""

    async def assess(self, order: OpenOrder, trial: Trial, *, key: bytes, at: int) -> bytes:
        """The statement, canonical; raises InvalidOrder where the rows are not those committed to."""

    async def reopen(
        self, order: OpenOrder, trial: Trial, statement: Statement, wanted: list[int]
    ) -> list[Sealed]:
        """See `Reopener`."""

    async def replay(self, order: OpenOrder, model: Path, opened: list[OpenedRow]) -> list[int]:
        """See `Player`."""


@dataclass(slots=True, kw_only=True)
class Evaluating:
    """The evaluator's work, and what parties do with verdicts."""

    desk: OrderDesk
    models: ModelDesk
    talk: Talk
    trials: Trials
    catalogue: Catalogue
    assessor: Assessor
    engine: OrderEngine
    workers: Workers
    _refused: dict[str, _Rest] = field(default_factory=dict)
    _looked_for: dict[str, float] = field(default_factory=dict)

    async def clear(self) -> None:
        """Remove what an evaluation that was killed has left in the clear."""
        await self.trials.clear()

    async def step(self, order: OpenOrder) -> None:
        """Measure if this wallet is an evaluator and has not; tell the parties; bring a quorum to the chain.

        Raises:
            PeerError: a party cannot be reached now.
            SandboxError: there is no sandbox to measure in.
            InvalidOrder: what a party gave is not what it had committed to.
        """
        if self._me in evaluators_of(order):
            order = await self._measured(order)
            await self._tell(order, ("buyer", "seller"))
        await self.bring(order)
        if self._me in evaluators_of(order):
            await self._tell(order, ("arbiter",))

    async def bring(self, order: OpenOrder) -> None:
        """Bring the verdict to the chain, once enough evaluators have signed the same."""
        attempt = int(order.data["attempt"])
        for passed in (True, False):
            verdicts = [one for one in self._verdicts(order, attempt) if one["passed"] is passed]
            if len(verdicts) >= self._quorum(order) and self._my_turn(order, verdicts):
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
        wait_s = {"evaluator": 0, "buyer": 0 if self._me in evaluators_of(order) else 5}.get(order.role, 12)
        return self.desk.now() >= max(int(one["at"]) for one in verdicts) + wait_s

    async def take(self, order: OpenOrder, ask: wire.Ask) -> None:
        """A verdict from an evaluator: checked, and kept with its statement.

        Raises:
            InvalidOrder: it is not about this model, contradicts itself, or is not an evaluator's.
        """
        if order.state not in {"submitted", *LATER} or ask.attempt != int(order.data["attempt"]):
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
        if signer not in evaluators_of(order) or signer != statement.predicate.evaluator.lower():
            raise InvalidOrder("not_an_evaluator", "The verdict is not signed by an evaluator of this order.")
        if order.state != "submitted":
            self._check_late(order, signer, raw)
        elif verdict_as(ask.attempt, signer) in order.data:
            return  # its first word counts: told again and again, it would keep the others' from the chain
        await self._keep(order, signer, raw, signature, passed=statement.predicate.passed)
        self.engine.wake(order.order_id)

    async def _measured(self, order: OpenOrder) -> OpenOrder:
        """The order with this node's own verdict on the present try in its books."""
        attempt = int(order.data["attempt"])
        if verdict_as(attempt, self._me) in order.data:
            return order
        self.desk.progress(order.order_id, "Fetching model and rows", 0, 2, "files")
        shown = await self.talk.delivery(order)
        check_key(shown.key, shown.delivery.key_sha256)
        sealed = SealedTrial(shown=shown, rows=await self.talk.sealed_rows(order))
        await self.trials.fetch(order, sealed)
        raw = await self._measure_or_rest(order, sealed)
        statement = read_statement(raw)
        # The buyer has another source for what passed, should the developer go away.
        self.talk.grant(shown.delivery.blob.cid, order.contract.order.buyer)
        verdict = self._verdict(order, raw, passed=statement.predicate.passed)
        signature = await self.workers.chain(
            ModelEscrowClient(self.models.chain).sign, self.models.wallet, verdict
        )
        kept = {kept_as(attempt): self.trials.keep(order.order_id, attempt, sealed)}
        await self._keep(order, self._me, raw, signature, passed=statement.predicate.passed, kept=kept)
        return await self.desk.load(order.order_id)

    async def _measure_or_rest(self, order: OpenOrder, sealed: SealedTrial) -> bytes:
        """What did not open, or broke its run off, is not tried again at once: it may take long."""
        known = self._refused.get(order.order_id)
        if known is not None and self.desk.now() < known.until:
            raise known.error
        try:
            async with self.trials.opened(sealed) as trial:
                self.desk.progress(order.order_id, "Measuring the model in the sandbox", 1, 2, "files")
                return await self.assessor.assess(
                    order, trial, key=self.models.key(order.contract), at=self.desk.now()
                )
        except (InvalidOrder, InvalidRecord, SandboxError) as error:
            if not isinstance(error, InvalidOrder) and error.code not in BROKEN_OFF:
                raise
            self._refused[order.order_id] = _Rest(until=self.desk.now() + REST_S, error=error)
            raise

    async def tell_late(self, order: OpenOrder) -> None:
        """After the verdict: give this node's own to who was away, if it counts."""
        attempt = int(order.data.get("attempt", 0))
        own = order.data.get(verdict_as(attempt, self._me))
        if own is not None and order.state in LATER and is_wanted_late(order, attempt, own):
            await self._tell(order, ("buyer", "seller", "arbiter"))

    async def _tell(self, order: OpenOrder, roles: Sequence[str]) -> None:
        """Give others this node's own verdict; who is away gets it later.

        Raises:
            PeerError: a party cannot be reached, and the verdict does not get on the chain without it.
        """
        attempt = int(order.data["attempt"])
        own = order.data[verdict_as(attempt, self._me)]
        trouble: PeerError | None = None
        for role in roles:
            told = f"told {attempt} {role}"
            if role == order.role or order.data.get(told):
                continue
            peer_id = await self._to_tell(order, role)
            if peer_id is None:
                continue
            statement, signature = base64.b64decode(own["statement"]), bytes.fromhex(own["signature"])
            try:
                await self.talk.verdict(order, peer_id, statement, signature)
            except PeerError as error:
                trouble = error
            else:
                await self.desk.patch(order.order_id, **{told: True})
        waits = order.state == "submitted" and len(self._verdicts(order, attempt)) < self._quorum(order)
        if trouble is not None and waits and "arbiter" not in roles:
            raise trouble

    async def _to_tell(self, order: OpenOrder, role: str) -> str | None:
        """The peer in that role; None where there is none, or it was away a moment ago."""
        if order.state == "submitted" and role != "arbiter":
            return str(getattr(order.contract.order, role))
        place, now = f"{order.order_id} {role}", trio.current_time()
        if now < self._looked_for.get(place, -math.inf) + TELL_AGAIN_S:
            return None
        self._looked_for[place] = now
        if role != "arbiter":
            return str(getattr(order.contract.order, role))
        arbiter = order.contract.arbiter
        return await self.catalogue.peer_of(arbiter) if arbiter else None

    @staticmethod
    def _quorum(order: OpenOrder) -> int:
        return order.contract.custom.quorum

    async def _keep(
        self,
        order: OpenOrder,
        wallet: str,
        raw: bytes,
        signature: bytes,
        *,
        passed: bool,
        kept: dict[str, Any] | None = None,
    ) -> None:
        entry: dict[str, Any] = {
            "place": evaluators_of(order).index(wallet),
            "passed": passed,
            "report_hash": statement_hash(raw),
            "signature": signature.hex(),
            "statement": base64.b64encode(raw).decode(),
            "at": self.desk.now(),
        }
        name = verdict_as(int(order.data["attempt"]), wallet)
        await self.desk.patch(order.order_id, **{name: entry}, **(kept or {}))

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

    @staticmethod
    def _check_late(order: OpenOrder, signer: str, raw: bytes) -> None:
        """After the verdict only a report that counts is taken, once, by who was away before."""
        attempt = int(order.data["attempt"])
        entry = {"place": evaluators_of(order).index(signer), "report_hash": statement_hash(raw)}
        if verdict_as(attempt, signer) in order.data or not is_wanted_late(order, attempt, entry):
            raise InvalidOrder("not_now", "No verdict is wanted now.", "")

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
        entries = (order.data.get(verdict_as(attempt, wallet)) for wallet in evaluators_of(order))
        return [entry for entry in entries if entry is not None]

    @property
    def _me(self) -> str:
        return self.models.wallet.address.lower()
