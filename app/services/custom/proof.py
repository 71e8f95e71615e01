"""A file that proves what was found of a report: the signed statement, the opened rows, what was handed in.

Nothing in it has to be believed. Whoever reads it checks the signature against the chain, the rows against
what was committed to, and a model that comes with it against what was handed in.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openstall.app.services.custom.judged import Report, evaluators_of, judged_as
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.sealing import describe
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Address, Body, Sha256
from openstall.market.requests.assessment import read_statement, statement_hash
from openstall.market.requests.delivery import Delivery, read_delivery
from openstall.market.requests.openings import MAX_OPENINGS, Openings, write_openings
from openstall.market.schema import fit

MAX_BYTES: Final = MAX_OPENINGS + 256 * 1024


class _File(Body, frozen=True, kw_only=True):
    order_id: Sha256
    attempt: Annotated[int, Meta(ge=1, le=16)]
    evaluator: Address
    statement: Annotated[str, Meta(max_length=32 * 1024)]
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]
    openings: Openings
    delivery: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Such a file, read; `check` says whether it belongs to an order."""

    file: _File

    @property
    def evaluator(self) -> str:
        """Whose report it is about."""
        return self.file.evaluator.lower()

    @property
    def openings(self) -> bytes:
        """The opened rows, in canonical form."""
        return write_openings(self.file.openings)

    def check(self, order: OpenOrder) -> None:
        """Whether it is about the newest verdict of this order.

        Raises:
            InvalidOrder: `other_proof`.
        """
        attempt = int(order.data["attempt"])
        if (self.file.order_id, self.file.attempt) != (order.order_id, attempt):
            raise _other("it is about another order or try")
        if self.evaluator not in evaluators_of(order):
            raise _other("it is about somebody who is no evaluator of this order")
        self.report(order)

    def report(self, order: OpenOrder) -> Report:
        """The statement in it, if the chain names it: then its evaluator has signed it.

        Raises:
            InvalidOrder: `other_proof`.
        """
        try:
            raw = base64.b64decode(self.file.statement, validate=True)
            statement = read_statement(raw)
        except (ValueError, InvalidRecord) as error:
            raise _other(f"its statement is none: {error}") from error
        place = str(evaluators_of(order).index(self.evaluator))
        judged = order.data[judged_as(int(order.data["attempt"]))]
        if judged["reports"].get(place) != statement_hash(raw):
            raise _other("the chain names another report of that evaluator")
        return Report(evaluator=self.evaluator, raw=raw, signature=self.file.signature, statement=statement)

    def check_model(self, order: OpenOrder, path: Path) -> None:
        """Whether a file is the model that was handed in. Blocks on the disk.

        Raises:
            InvalidOrder: `other_proof`.
        """
        if self.file.delivery is None:
            raise _other("it does not say what was handed in, so no model can be compared with it")
        found, wanted = describe(path), delivery_of(order, self.file.delivery).model
        if (found.size, found.sha256) != (wanted.size, wanted.sha256):
            raise _other("the model is not the one that was handed in")


def delivery_of(order: OpenOrder, document: dict[str, Any]) -> Delivery:
    """The document of what was handed in, if the chain names it.

    Raises:
        InvalidOrder: it is another.
    """
    terms = order.contract.custom
    return read_delivery(document, request=terms.request, model_hash=bytes.fromhex(order.data["model_hash"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """The folder of such files. Blocks on the disk."""

    folder: Path

    def write(
        self, order: OpenOrder, report: Report, openings: Openings, delivery: dict[str, Any] | None
    ) -> Path:
        """Save what was found of one report; its place."""
        attempt = int(order.data["attempt"])
        file = _File(
            order_id=order.order_id,
            attempt=attempt,
            evaluator=report.evaluator,
            statement=base64.b64encode(report.raw).decode(),
            signature=report.signature,
            openings=openings,
            delivery=delivery,
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{order.order_id[:16]}-try-{attempt}-{report.evaluator[:10]}.json"
        path.write_bytes(canonical.encode(msgspec.to_builtins(file)))
        return path

    @staticmethod
    def read(path: Path) -> Proof:
        """A file that somebody gave.

        Raises:
            InvalidOrder: it is no proof.
        """
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            return Proof(file=fit(canonical.decode(raw, max_bytes=MAX_BYTES), _File, "proof"))
        except OSError as error:
            raise InvalidOrder("bad_proof", f"The proof cannot be read: {error.strerror}.") from error
        except InvalidRecord as error:
            raise InvalidOrder("bad_proof", f"The file is no proof: {error.message}") from error


def _other(why: str) -> InvalidOrder:
    return InvalidOrder("other_proof", f"The proof does not belong here: {why}.")
