"""A party checks what evaluators reported: it asks for opened rows, and lets the model answer them again.

Whatever comes of it is kept with the order: the words, and a file that proves it to the arbiter.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.checking import Tell
from openstall.app.services.custom.draws import Draws
from openstall.app.services.custom.finding import (
    COMES,
    Finding,
    check_shown,
    conclude,
    next_words,
    nothing_shown,
    unanswered,
)
from openstall.app.services.custom.hand_in import HandIn
from openstall.app.services.custom.judged import (
    Report,
    judges_on_chain,
    replay_as,
    report_of,
    rows_for,
)
from openstall.app.services.custom.opening import Opener
from openstall.app.services.custom.proof import Proof, Proofs, delivery_of
from openstall.app.services.custom.receiving import DELIVERY
from openstall.app.services.custom.talk import Talk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.sealing import unseal
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.market.orders.machine import CUSTOM
from openstall.market.requests.openings import OpenedRow, read_openings, shown_to_developer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.exchange import RefusedByPeer
from openstall.store.library import Library

PATIENCE_S = 900.0
"""How long an evaluator may take to run the model again."""
ASK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one check works with."""

    order: OpenOrder
    count: int
    """How many opened rows of each report this node may see."""
    model: Path | None
    proof: Proof | None
    progress: Tell

    @property
    def counts(self) -> tuple[int, ...]:
        """How many rows there have to be: what a developer was shown and saved are fewer."""
        terms = self.order.contract.custom
        fewer = shown_to_developer(terms.rows, len(terms.evaluators))
        return (self.count,) if self.proof is None else (self.count, fewer)


class Player(Protocol):
    """Lets a model answer opened rows here."""

    async def replay(self, order: OpenOrder, model: Path, opened: list[OpenedRow]) -> list[int]:
        """The rows (by their index) whose answers are others; SandboxError."""


@dataclass(slots=True, kw_only=True)
class Replaying:
    """What the user of a party does about a verdict that it doubts."""

    desk: OrderDesk
    talk: Talk
    catalogue: Catalogue
    opener: Opener
    draws: Draws
    player: Callable[[], Player]
    hand_in: HandIn
    blobs: BlobStore
    library: Library
    proofs: Proofs
    wallet: str
    folder: Path
    """For an opened model; it is removed afterwards."""
    workers: Workers

    async def replay(
        self, order_id: str, progress: Tell, *, given: Path | None = None, model: Path | None = None
    ) -> dict[str, Any]:
        """Check each report on the newest verdict again; what was found, and what can be done.

        Args:
            given: the proof that another party has saved, in the place of asking the evaluators.
            model: the model, where this home does not hold it; its hash is checked.

        Raises:
            Conflict: this node may see no row of the order now.
            InvalidOrder: what was given is of another order or model.
        """
        order = await self.desk.load(order_id)
        count = self._count(order)
        proof = None if given is None else await self.workers.work(self.proofs.read, given)
        wallets = judges_on_chain(order)
        if proof is not None:
            wallets = [wallet for wallet in wallets if wallet == proof.evaluator]
            proof.check(order)
        found: dict[str, Finding] = {}
        async with self._model(order, model, proof) as played:
            look = _Look(order=order, count=count, model=played, proof=proof, progress=progress)
            for wallet in wallets:
                found[wallet] = await self._check(look, wallet)
        return await self._tell(order, found)

    async def _check(self, look: _Look, wallet: str) -> Finding:
        """What comes of one report."""
        order, terms = look.order, look.order.contract.custom
        report = report_of(order, wallet)
        if report is None and look.proof is not None:
            report = look.proof.report(order)
        if report is None:
            return unanswered("Its signed report has not reached this computer.")
        if not report.statement.predicate.outputs_root:
            return Finding("nothing_to_open", "The model could not be measured, so no row can be opened.")
        try:
            raw = look.proof.openings if look.proof is not None else await self._rows(look, wallet)
            block = await self.draws.block_hash(order)
            opened = check_shown(raw, report, block, look.counts, terms)
        except OpenstallError as error:
            return nothing_shown(error)
        wrong = None
        if look.model is not None:
            look.progress(f"Letting the model answer {len(opened)} rows again on this computer")
            wrong = await self.player().replay(order, look.model, opened)
        path = await self._save(order, report, raw)
        return conclude(opened, report, terms, wrong).with_proof(path)

    async def _rows(self, look: _Look, wallet: str) -> bytes:
        """The opened rows of one report; who shows them runs the model again first.

        Raises:
            PeerError: its evaluator cannot be reached, or refuses for good.
            SandboxError: this node is the evaluator, and cannot show its own.
        """
        order = look.order
        look.progress("Waiting for the evaluator to open rows")
        until = trio.current_time() + PATIENCE_S
        while True:
            try:
                if wallet == self.wallet.lower():
                    return await self.opener.show(order, look.count)
                peer_id = await self.catalogue.peer_of(wallet)
                if peer_id is None:
                    raise PeerError("unknown_peer", "Its evaluator is in no catalogue here.")
                return await self.talk.openings(order, peer_id)
            except (Conflict, RefusedByPeer) as error:
                if error.code not in COMES or trio.current_time() > until:
                    raise
                if error.code == "no_block_yet":
                    await self.draws.hasten(order)
            await trio.sleep(ASK_AGAIN_S)

    @asynccontextmanager
    async def _model(
        self, order: OpenOrder, given: Path | None, proof: Proof | None
    ) -> AsyncIterator[Path | None]:
        """The model that was measured, where this home holds it."""
        if given is not None:
            if proof is None:
                raise Conflict("no_proof", "A model is checked together with the proof that names it.")
            await self.workers.work(proof.check_model, order, given)
            yield given
        elif order.role == "buyer" and order.data.get("verified") is True:
            package = await self.workers.store(self.library.find, order.order_id)
            name = delivery_of(order, order.data[DELIVERY]["doc"]).model.name
            yield None if package is None else Path(package.path) / name
        elif order.role == "seller":
            attempt = int(order.data["attempt"])
            delivery = self.hand_in.waiting(order, attempt)
            if delivery is None or not self.blobs.have(delivery.blob.cid):
                yield None
                return
            place = self.folder / f"replay-{secrets.token_hex(6)}"
            blob, key = self.blobs.path(delivery.blob.cid), self.hand_in.key(order, attempt)
            try:
                await self.workers.work(lambda: unseal(blob, key, delivery.files, place))
                yield place / delivery.model.name
            finally:
                with trio.CancelScope(shield=True):
                    await self.workers.work(lambda: shutil.rmtree(place, ignore_errors=True))
        else:
            yield None

    async def _save(self, order: OpenOrder, report: Report, raw: bytes) -> str:
        delivery = order.data.get(DELIVERY, {}).get("doc")
        if order.role == "seller":
            waiting = self.hand_in.waiting(order, int(order.data["attempt"]))
            delivery = waiting.as_dict() if waiting is not None else None
        openings = read_openings(raw)
        path = await self.workers.work(lambda: self.proofs.write(order, report, openings, delivery))
        return str(path)

    async def _tell(self, order: OpenOrder, found: dict[str, Finding]) -> dict[str, Any]:
        attempt, at = int(order.data["attempt"]), self.desk.now()
        kept = {wallet: finding.as_dict(at) for wallet, finding in found.items()}
        await self.desk.patch(
            order.order_id, **{replay_as(attempt, wallet): entry for wallet, entry in kept.items()}
        )
        checks = [{"evaluator": wallet, "attempt": attempt, **entry} for wallet, entry in kept.items()]
        doubted = any(finding.is_doubt for finding in found.values())
        return {
            "order_id": order.order_id,
            "checks": checks,
            "confirmed": all(finding.outcome == "as_reported" for finding in found.values()),
            "doubted": doubted,
            "what_next": next_words(order, self.desk.now()) if doubted else "",
        }

    def _count(self, order: OpenOrder) -> int:
        """How many rows of each report this node may see.

        Raises:
            Conflict: none, with the reason.
        """
        if order.kind != "custom" or not judges_on_chain(order):
            raise Conflict("no_verdict", "There is no verdict on the chain that could be checked.")
        if order.state in CUSTOM.final:
            raise Conflict(
                "too_late",
                "The order is final: its evaluators have removed what they had measured.",
                "",
            )
        count = rows_for(order, order.role, self.desk.now())
        if not count:
            raise Conflict(
                "no_rows_for_you",
                "A developer is shown rows only of a model that missed, once no other can be handed in.",
                "Nothing, if yours passed; while a try is left, hand in another model.",
            )
        return count
