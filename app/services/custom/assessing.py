"""An evaluator's own measurement: rows as committed to, the model in the sandbox, a statement of it."""

from __future__ import annotations

import csv
import secrets
from dataclasses import dataclass
from pathlib import Path

from openstall.app.services.custom.evaluating import Trial
from openstall.app.services.keys import answers_seed
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.sealed import SealedEvaluation, statement_of
from openstall.app.threads import Workers
from openstall.compute_agent.assess_specs import AssessParams
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.orders.documents import CustomTerms
from openstall.market.requests import rows
from openstall.market.requests.bodies import RequestBody, columns_of


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
        params = AssessParams(
            task=terms.task,
            features=tuple(terms.features),
            target=terms.target,
            classes=tuple(terms.classes),
            metric=terms.metric,
            threshold=terms.threshold,
            floors=tuple(terms.floors),
            seed=secrets.randbelow(2**31),
            salt_seed=answers_seed(self.seed, f"{order.order_id}/{attempt}").hex(),
        )
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


def check_rows(path: Path, seed: bytes, terms: CustomTerms | RequestBody) -> None:
    """Whether a table is the one that the buyer committed to. Blocks on the disk.

    Raises:
        InvalidOrder: `wrong_rows`.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, strict=True))
    try:
        if not lines or tuple(lines[0]) != columns_of(terms):
            raise _wrong()
        rows.check_rows(lines[1:], seed, rows.Commitment(root=terms.rows_root, rows=terms.rows))
    except InvalidRecord as error:
        raise _wrong() from error


def _wrong() -> InvalidOrder:
    return InvalidOrder(
        "wrong_rows", "The rows that the buyer gave are not those it committed to. Nothing is measured."
    )
