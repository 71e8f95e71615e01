"""What those who take part in a contest ask of one another.

Protocol `/openstall/contest/1`: one canonical JSON request of at most 64 KiB, answered by one of at most
3 MiB. Who asks is known by its peer id, which its `peer` record binds to a wallet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from openstall.app.services.custom.wire import DeliveryAnswer, RowsAnswer, TrainingAnswer
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Cid, Sha256, Time
from openstall.market.requests.bodies import MOST_EVALUATORS
from openstall.market.schema import fit

PROTOCOL = "/openstall/contest/1"
MAX_ASK = 64 * 1024
MAX_ANSWER = 3 * 1024 * 1024
MOST_ON_BOARD = 256
T = TypeVar("T", bound=Body)

WalletOrNone = Annotated[str, Meta(pattern=r"^(0x[0-9a-f]{40})?\Z")]
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]
Share = Annotated[str, Meta(pattern=r"^(0\.[0-9]{2}|1\.00)?\Z")]


class Ask(Body, frozen=True, kw_only=True):
    """A request about one contest.

    `delivery`: what `wallet` entered, of the entrant or of an evaluator; `rows`: evaluator of the requester;
    `training`: anybody of the requester; `sheet`: the sheet of the evaluator `wallet`, or the best supported
    one where it is empty; `practice`: a developer has `delivery` measured, which `key` opens; `board`:
    anybody of the evaluator who keeps it.
    """

    do: Literal["delivery", "rows", "training", "sheet", "practice", "board"]
    request: Cid
    wallet: WalletOrNone = ""
    delivery: dict[str, Any] | None = None
    key: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""


class Signed(Body, frozen=True, kw_only=True):
    """An evaluator's signature on the prizes, with its place among the evaluators."""

    place: Annotated[int, Meta(ge=0, lt=MOST_EVALUATORS)]
    signature: Signature


class SheetAnswer(Body, frozen=True, kw_only=True):
    """A sheet, its author's signature on it, and the signatures on the prizes that follow from it."""

    sheet: dict[str, Any]
    signature: Signature
    signed: Annotated[list[Signed], Meta(max_length=MOST_EVALUATORS)]


class BoardLine(Body, frozen=True, kw_only=True):
    """What is told of one developer's practice; `figure` is empty until one try was measured."""

    developer: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{40}\Z")]
    figure: Share
    tries_used: Annotated[int, Meta(ge=0, le=16)]
    waiting: bool
    at: Time


class BoardAnswer(Body, frozen=True, kw_only=True):
    """The public board of practice."""

    lines: Annotated[list[BoardLine], Meta(max_length=MOST_ON_BOARD)]


class PracticeAnswer(Body, frozen=True, kw_only=True):
    """The try was taken in; its outcome will be on the board."""

    model_sha256: Sha256


def write(message: Body) -> bytes:
    """The canonical bytes of a message."""
    return canonical.encode(msgspec.to_builtins(message))


def read_ask(raw: bytes) -> Ask:
    """A request from anybody. Raises InvalidOrder with a stable code."""
    return _read(raw, Ask, MAX_ASK)


def read_delivery(raw: bytes) -> DeliveryAnswer:
    """The answer to `delivery`; raises InvalidOrder."""
    return _read(raw, DeliveryAnswer, MAX_ANSWER)


def read_rows(raw: bytes) -> RowsAnswer:
    """The answer to `rows`; raises InvalidOrder."""
    return _read(raw, RowsAnswer, MAX_ANSWER)


def read_training(raw: bytes) -> TrainingAnswer:
    """The answer to `training`; raises InvalidOrder."""
    return _read(raw, TrainingAnswer, MAX_ANSWER)


def read_sheet(raw: bytes) -> SheetAnswer:
    """The answer to `sheet`; raises InvalidOrder."""
    return _read(raw, SheetAnswer, MAX_ANSWER)


def read_board(raw: bytes) -> BoardAnswer:
    """The answer to `board`; raises InvalidOrder."""
    return _read(raw, BoardAnswer, MAX_ANSWER)


def read_practice(raw: bytes) -> PracticeAnswer:
    """The answer to `practice`; raises InvalidOrder."""
    return _read(raw, PracticeAnswer, MAX_ANSWER)


def _read(raw: bytes, schema: type[T], most: int) -> T:
    try:
        return fit(canonical.decode(raw, max_bytes=most), schema, "message")
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
