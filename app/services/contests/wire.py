"""What those who take part in a contest ask of one another.

Protocol `/openstall/contest/1`: one canonical JSON request of at most 64 KiB, answered by one of at most
3 MiB. `delivery`, `rows` and `training` are answered as in an order; see `custom/wire.py`. Who asks is known
by its peer id, which its `peer` record binds to a wallet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from openstall.market.fields import Body, Cid, Sha256, Time
from openstall.market.requests.bodies import MOST_EVALUATORS

PROTOCOL = "/openstall/contest/1"
MAX_ASK = 64 * 1024
MAX_ANSWER = 3 * 1024 * 1024
MOST_ON_BOARD = 256

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
