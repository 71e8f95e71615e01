"""Requests of this node: a table becomes sealed rows and a signed record, whose auction is then opened."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from openstall.app.operations import Progress
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.assessing import root_of_rows, write_rows
from openstall.app.services.custom.auctions import AuctionService
from openstall.app.services.custom.tables import Examples, read_examples, threshold_warnings
from openstall.app.services.custom.talk import SealedRows, SealedTraining
from openstall.app.services.keys import rows_key, rows_seed, training_key
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.placing import Party
from openstall.app.services.sealing import describe, seal
from openstall.app.threads import Workers
from openstall.ledger.chain import Chain
from openstall.market.errors import InvalidRecord, NotFound, Refused
from openstall.market.fields import BlobRef, FileEntry, body_as_dict
from openstall.market.money import format_amount
from openstall.market.orders.agree import ARBITER_FEE_BPS, ARBITER_S
from openstall.market.records import SignedRecord
from openstall.market.requests.bodies import METRICS_OF, RequestBody, check_request
from openstall.market.requests.demands import Floor
from openstall.p2p.blobs import BlobStore
from openstall.store.auctions import Auctions
from openstall.store.settings import Settings

LIFE_AFTER_S = 30 * 86_400
_SECRETS = "request."
ROWS_FILE = "rows.csv"
DEPOSIT_PART = 20
"""The deposit of a bid is a twentieth of the budget where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a person fills in; amounts in micro-credits, times in seconds from now or of each step."""

    rows: Path
    target: str
    title: str
    summary: str
    metric: str
    threshold: str
    budget_micro: int
    task: str = ""
    floors: tuple[Floor, ...] = ()
    training: Path | None = None
    licence: str = "LicenseRef-Openstall-Commissioned"
    deposit_micro: int = 0
    bids_s: int = 2 * 86_400
    opening_s: int = 12 * 3600
    deliver_s: int = 14 * 86_400
    evaluate_s: int = 86_400
    review_s: int = 2 * 86_400
    arbiter: str = ""
    tries: int = 2
    evaluators: tuple[str, ...] = ()
    """Wallets; this node's own where none is named."""
    quorum: int = 0
    """How many must agree; more than half where nobody says otherwise."""


@dataclass(slots=True, kw_only=True)
class RequestService:
    """Makes, seals and publishes requests, and keeps what opens them."""

    me: Party
    catalogue: Catalogue
    chain: Chain
    blobs: BlobStore
    settings: Settings
    books: Auctions
    auctions: AuctionService
    folder: Path
    workers: Workers
    now: Callable[[], int]
    """Unix seconds."""

    async def preview(self, draft: Draft) -> dict[str, Any]:
        """What would be signed, in words, with everything that is odd about it. Nothing is kept.

        Raises:
            Refused: the table or a figure cannot be used, with the line and what to do.
        """
        found = await self.workers.work(read_examples, draft.rows, target=draft.target, task=draft.task)
        body = self._body(draft, found, rows_root="0" * 64, training=None)
        return {
            "task": found.task,
            "features": list(found.features),
            "target": found.target,
            "classes": found.counts,
            "rows": len(found.cells),
            "header": found.header,
            "first_rows": found.cells[:8],
            "warnings": [*found.warnings, *threshold_warnings(found, draft.metric, draft.threshold)],
            "summary": summary_words(body, self.me.wallet),
            "evaluators": list(body.evaluators),
            "quorum": body.quorum,
            "deposit_micro": body.deposit_micro,
        }

    async def create(self, draft: Draft, progress: Progress) -> dict[str, Any]:
        """Seal the rows, sign and announce the request, and pay its budget into the auction.

        Raises:
            Refused: the table or a figure cannot be used.
            MoneyError: the wallet holds less than the budget; nothing was announced.
            ChainError: this group was founded before there were requests.
        """
        self.chain.contract("SealedBidAuction")
        found = await self.workers.work(read_examples, draft.rows, target=draft.target, task=draft.task)
        threshold_warnings(found, draft.metric, draft.threshold)
        await self.auctions.check_budget(draft.budget_micro)
        key = secrets.token_hex(8)
        progress("Sealing the rows")
        rows, rows_file, root = await self._seal_rows(found, key)
        training, training_file = None, None
        if draft.training is not None:
            progress("Encrypting the training data")
            examples = await self.workers.work(
                read_examples, draft.training, target=draft.target, task=found.task
            )
            if examples.header != found.header:
                raise Refused(
                    "other_columns",
                    "The training data has other columns than the rows to validate on.",
                    "Use the same columns in the same order.",
                )
            training, training_file = await self._seal(
                examples, "training.csv", training_key(self.me.seed, key)
            )
        body = self._body(draft, found, rows_root=root, training=training)
        kept = {
            "rows": body_as_dict(rows),
            "rows_file": body_as_dict(rows_file),
            "training_file": None if training_file is None else body_as_dict(training_file),
        }
        await self.workers.store(lambda: self.settings.set(_SECRETS + key, kept))
        progress("Announcing the request")
        life = draft.bids_s + draft.opening_s + draft.deliver_s + LIFE_AFTER_S
        record = await self.catalogue.publish("request", key, body_as_dict(body), life_s=life)
        progress("Paying the budget into the auction")
        await self.auctions.open(record)
        return {"cid": record.cid, "key": key}

    async def sealed_rows(self, order: OpenOrder) -> SealedRows:
        """The rows of an order of this node's own request.

        Raises:
            NotFound: this home does not hold them.
        """
        key, kept = await self._kept(order)
        return SealedRows(
            blob=msgspec.convert(kept["rows"], BlobRef),
            file=msgspec.convert(kept["rows_file"], FileEntry),
            key=rows_key(self.me.seed, key),
            seed=rows_seed(self.me.seed, key),
        )

    async def sealed_training(self, order: OpenOrder) -> SealedTraining:
        """The training data of an order of this node's own request.

        Raises:
            NotFound: the request has none, or this home does not hold it.
        """
        key, kept = await self._kept(order)
        body = (await self._record(order)).body
        if not isinstance(body, RequestBody) or body.training is None or kept["training_file"] is None:
            raise NotFound("no_training", "This request comes without training data.")
        return SealedTraining(
            blob=body.training,
            file=msgspec.convert(kept["training_file"], FileEntry),
            key=training_key(self.me.seed, key),
        )

    async def _kept(self, order: OpenOrder) -> tuple[str, dict[str, Any]]:
        key = (await self._record(order)).record.key
        kept = await self.workers.store(lambda: self.settings.get(_SECRETS + key))
        if kept is None:
            raise NotFound("no_rows", "This home does not hold the sealed rows of that request.")
        return key, kept

    async def _record(self, order: OpenOrder) -> SignedRecord:
        row = await self.workers.store(self.books.get, order.contract.custom.request)
        return self.auctions.record(row)

    async def _seal_rows(self, found: Examples, key: str) -> tuple[BlobRef, FileEntry, str]:
        root = await self.workers.work(root_of_rows, found.cells, rows_seed(self.me.seed, key))
        blob, entry = await self._seal(found, ROWS_FILE, rows_key(self.me.seed, key))
        return blob, entry, root

    async def _seal(self, found: Examples, name: str, key: bytes) -> tuple[BlobRef, FileEntry]:
        """Encrypt a table into a blob of this node; nothing readable is left on the disk."""
        place = self.folder / f"request-{secrets.token_hex(8)}"
        try:
            await self.workers.work(lambda: place.mkdir(parents=True, mode=0o700))
            await self.workers.work(write_rows, place / name, found.header, found.cells)
            entry = await self.workers.work(describe, place / name)
            await self.workers.store(lambda: seal([place / name], place / "sealed", key))
            info = await self.blobs.add_file(place / "sealed")
        finally:
            await self.workers.work(lambda: shutil.rmtree(place, ignore_errors=True))
        return BlobRef(cid=info.cid, size=info.size, sha256=info.sha256), entry

    def _body(
        self, draft: Draft, found: Examples, *, rows_root: str, training: BlobRef | None
    ) -> RequestBody:
        """The record's body; raises Refused where a figure makes no sense."""
        now = self.now()
        evaluators = sorted({wallet.lower() for wallet in draft.evaluators or (self.me.wallet,)})
        if draft.metric not in METRICS_OF[found.task]:
            raise Refused(
                "bad_metric",
                f"{draft.metric} does not measure a {found.task}.",
                f"Choose one of {', '.join(sorted(METRICS_OF[found.task]))}.",
            )
        commit_by = now + draft.bids_s
        reveal_by = commit_by + draft.opening_s
        params = self.chain.params
        fields = {
            "title": draft.title.strip(),
            "summary": draft.summary,
            "task": found.task,
            "features": list(found.features),
            "target": found.target,
            "classes": list(found.classes),
            "rows": len(found.cells),
            "rows_root": rows_root,
            "metric": draft.metric,
            "threshold": draft.threshold,
            "floors": [body_as_dict(floor) for floor in draft.floors],
            "licence": draft.licence,
            "mechanism": "second_price",
            "budget_micro": draft.budget_micro,
            "deposit_micro": draft.deposit_micro or max(1, draft.budget_micro // DEPOSIT_PART),
            "commit_by": commit_by,
            "reveal_by": reveal_by,
            "deliver_by": reveal_by + draft.deliver_s,
            "evaluate_s": draft.evaluate_s,
            "review_s": draft.review_s,
            "arbiter": draft.arbiter,
            "arbiter_s": ARBITER_S,
            "arbiter_fee_bps": ARBITER_FEE_BPS,
            "tries": draft.tries,
            "evaluators": evaluators,
            "quorum": draft.quorum or len(evaluators) // 2 + 1,
            "wallet": self.me.wallet,
            "chain_id": self.me.chain_id,
            "auction": params.auction,
            "escrow": params.model_escrow,
        }
        if training is not None:
            fields["training"] = body_as_dict(training)
        try:
            body = msgspec.convert(fields, RequestBody)
            check_request(body)
        except msgspec.ValidationError as error:
            raise Refused("bad_request", f"The request cannot be made like that: {error}.") from error
        except InvalidRecord as error:
            raise Refused(error.code, error.message, error.what_next) from error
        return body


def summary_words(body: RequestBody, own_wallet: str) -> list[str]:
    """What a request binds its author to, in sentences."""
    side = "at least" if body.metric in ("accuracy", "macro_f1", "auc") else "at most"
    own = [wallet.lower() for wallet in body.evaluators] == [own_wallet.lower()]
    judges = (
        "Your own computer measures it, in a sandbox."
        if own
        else f"{body.quorum} of {len(body.evaluators)} evaluators must agree."
    )
    budget, deposit = format_amount(body.budget_micro), format_amount(body.deposit_micro)
    dispute = (
        "Each side may call the arbiter that you named."
        if body.arbiter
        else "There is no arbiter: without a dispute the measurement decides alone."
    )
    return [
        f"You ask for a model that tells “{body.target}” from {len(body.features)} columns.",
        f"It is measured on your {body.rows} rows, which no developer ever sees.",
        f"It must reach {body.metric} of {side} {body.threshold}. {judges}",
        f"{budget} credits are set aside now. Each sealed bid comes with a deposit of {deposit}.",
        "The lowest bid wins and is paid the second lowest. The rest comes back to you at once.",
        "If no model reaches what you ask for in time, all of your money comes back.",
        dispute,
    ]
