"""An evaluator's own measurement: rows as committed to, the model in the sandbox, a statement of it."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from openstall.app.services.custom.trials import Trial
from openstall.app.services.keys import answers_seed
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.sealed import SealedEvaluation, statement_of
from openstall.app.threads import Workers
from openstall.compute_agent.assess_specs import AssessParams
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.orders.documents import CustomTerms
from openstall.market.requests import rows
from openstall.market.requests.assessment import Statement
from openstall.market.requests.bodies import RequestBody, columns_of
from openstall.market.requests.openings import OpenedRow, Sealed

MOST_RECORD = 4 * 1024 * 1024
"""Characters of one row: a thousand cells of a thousand characters, each of them quoted."""


@dataclass(slots=True, kw_only=True)
class SandboxAssessor:
    """Measures in this node's own sandbox."""

    evaluation: SealedEvaluation
    seed: bytes
    wallet: str
    workers: Workers

    async def assess(self, order: OpenOrder, trial: Trial, *, key: bytes, at: int) -> bytes:
        """See `Assessor.assess`."""
        terms, attempt = order.contract.custom, int(order.data["attempt"])
        await self.workers.work(check_rows, trial.rows, trial.salts, terms)
        params = self._params(order, attempt, seed=secrets.randbelow(2**31))
        found = await self.evaluation.evaluate(trial.model, trial.rows, params, count=terms.rows)
        return statement_of(
            found,
            params,
            network=order.contract.order.network,
            chain_id=order.contract.order.chain_id,
            key=key.hex(),
            request=terms.request_hash.hex(),
            attempt=attempt,
            evaluator=self.wallet.lower(),
            model_sha256=str(order.data["model_hash"]),
            rows=terms.rows,
            rows_root=terms.rows_root,
            at=at,
        )

    async def reopen(
        self, order: OpenOrder, trial: Trial, statement: Statement, wanted: list[int]
    ) -> list[Sealed]:
        """See `Reopener.reopen`."""
        found = statement.predicate
        params = self._params(order, found.attempt, seed=found.seed)
        return await self.evaluation.open(
            trial.model, trial.rows, params, wanted, outputs_root=found.outputs_root
        )

    async def replay(self, order: OpenOrder, model: Path, opened: list[OpenedRow]) -> list[int]:
        """See `Player.replay`."""
        terms = order.contract.custom
        params = self._params(order, 0, seed=0)
        return await self.evaluation.replay(model, columns_of(terms), opened, params)

    def _params(self, order: OpenOrder, attempt: int, *, seed: int) -> AssessParams:
        """The same again gives the same answers under the same salts."""
        salt_seed = answers_seed(self.seed, f"{order.order_id}/{attempt}")
        return assess_params(order.contract.custom, seed=seed, salt_seed=salt_seed)


def assess_params(terms: CustomTerms | RequestBody, *, seed: int, salt_seed: bytes) -> AssessParams:
    """What the sandbox is told to measure."""
    return AssessParams(
        task=terms.task,
        features=tuple(terms.features),
        target=terms.target,
        classes=tuple(terms.classes),
        metric=terms.metric,
        threshold=terms.threshold,
        floors=tuple(terms.floors),
        seed=seed,
        salt_seed=salt_seed.hex(),
    )


def check_rows(path: Path, seed: bytes, terms: CustomTerms | RequestBody) -> None:
    """Whether a table is the one that the buyer committed to. Blocks on the disk.

    Raises:
        InvalidOrder: `wrong_rows`.
    """
    columns = columns_of(terms)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = _Lines(file)
            records = (lines.end_record(cells) for cells in csv.reader(lines, strict=True))
            if tuple(next(records, ())) != columns:
                raise _wrong()
            rows.check_rows(_rows(records, len(columns), terms.rows), seed, _commitment(terms))
    except (InvalidRecord, csv.Error, UnicodeError) as error:
        raise _wrong() from error


@dataclass(slots=True)
class _Lines:
    """The lines of a table from anybody: no record is longer than any row of a request can be."""

    file: TextIO
    left: int = MOST_RECORD

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(self.left + 1):
            self.left -= len(line)
            if self.left < 0:
                raise _wrong()
            yield line

    def end_record(self, cells: list[str]) -> list[str]:
        """The next record may be as long again."""
        self.left = MOST_RECORD
        return cells


def _rows(records: Iterator[list[str]], columns: int, most: int) -> Iterator[list[str]]:
    """One after the other, so that a table takes no memory; too many of them are not even looked at."""
    for number, cells in enumerate(records, 1):
        if number > most or len(cells) != columns:
            raise _wrong()
        yield cells


def _commitment(terms: CustomTerms | RequestBody) -> rows.Commitment:
    return rows.Commitment(root=terms.rows_root, rows=terms.rows)


def _wrong() -> InvalidOrder:
    return InvalidOrder(
        "wrong_rows", "The rows are not those that were committed to. Nothing is measured on them."
    )
