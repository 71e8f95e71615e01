"""What is said in public about a wanted model: the request, and the card of a developer who builds models."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta

from openstall.market.errors import InvalidRecord
from openstall.market.fields import (
    DAY_S,
    Address,
    AddressOrNone,
    BlobRef,
    Body,
    Price,
    Sha256,
    Text,
    Time,
    Window,
    check_parties,
)
from openstall.market.money import ALL_BPS
from openstall.market.requests.demands import LEAST_ROWS, Floor, Limit, MetricName, Task, check_demands

MOST_SEALED_ROWS: Final = 100_000
MOST_COLUMNS: Final = 1_024
MOST_CLASSES: Final = 256
MOST_EVALUATORS: Final = 16
MOST_TRIES: Final = 16
MOST_PLACES: Final = 1_000
SHARES: Final = frozenset({"accuracy", "macro_f1", "auc"})
"""Metrics between 0 and 1 of which more is better."""
LEAST_STAGE_S: Final = 60
MOST_SPAN_S: Final = 360 * DAY_S
"""From the date of a request to its last delivery; the escrow refuses more than 365 days ahead."""

Mechanism = Literal["second_price", "second_score", "contest"]
Column = Annotated[str, Meta(min_length=1, max_length=120)]
Sha256OrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
Bps = Annotated[int, Meta(ge=1, le=ALL_BPS)]
Title = Annotated[str, Meta(min_length=3, max_length=120)]


class RequestBody(Body, frozen=True, kw_only=True):
    """A wanted model: what it must do, how that is measured, what is paid, and until when each stage lasts.

    In a contest `commit_by` ends the entries and `reveal_by` the judging; there is no delivery after it, and
    `tries` are those for practice. Without `weights_bps` the pool is shared in proportion to quality.
    """

    title: Title
    summary: Text
    task: Task
    features: Annotated[list[Column], Meta(min_length=1, max_length=MOST_COLUMNS)]
    classes: Annotated[list[Column], Meta(max_length=MOST_CLASSES)]
    target: Column
    rows: Annotated[int, Meta(ge=LEAST_ROWS, le=MOST_SEALED_ROWS)]
    rows_root: Sha256
    training: BlobRef | None
    """Encrypted; its key is for the winner alone, in a contest for the whole group."""
    training_key_sha256: Sha256OrNone
    metric: MetricName
    threshold: Limit
    floors: Annotated[list[Floor], Meta(max_length=4)]
    licence: Annotated[str, Meta(min_length=1, max_length=100)]
    framework: Literal["onnx"]
    mechanism: Mechanism
    budget_micro: Price
    deposit_micro: Price
    commit_by: Time
    reveal_by: Time
    deliver_by: Time
    evaluate_s: Window
    review_s: Window
    arbiter: AddressOrNone
    arbiter_s: Window
    arbiter_fee_bps: Annotated[int, Meta(ge=0, le=1_000)]
    tries: Annotated[int, Meta(ge=1, le=MOST_TRIES)]
    evaluators: Annotated[list[Address], Meta(min_length=1, max_length=MOST_EVALUATORS)]
    quorum: Annotated[int, Meta(ge=1, le=MOST_EVALUATORS)]
    weights_bps: Annotated[list[Bps], Meta(max_length=32)]
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]
    auction: AddressOrNone
    escrow: AddressOrNone
    contest: AddressOrNone


class DeveloperBody(Body, frozen=True, kw_only=True):
    """Who builds models to order: what it knows, in its own words, and how many orders it takes now."""

    title: Title
    skills: Text
    tasks: Annotated[list[Task], Meta(min_length=1, max_length=2)]
    places: Annotated[int, Meta(ge=0, le=MOST_PLACES)]
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]


class Columns(Protocol):
    """What names the columns of sealed rows: a request, and the order that follows from it."""

    @property
    def features(self) -> list[str]:
        """The columns that a model is given."""

    @property
    def target(self) -> str:
        """The column of the right answers."""

    @property
    def floors(self) -> list[Floor]:
        """Those for fairness name a column of groups."""


def columns_of(request: Columns) -> tuple[str, ...]:
    """The columns of a sealed row, in the order of its cells: features, target, then groups of fairness."""
    named = (*request.features, request.target, *(floor.group for floor in request.floors if floor.group))
    return tuple(dict.fromkeys(named))


def check_request(request: RequestBody, *, issued: int) -> None:
    """Whether a request makes sense as a whole.

    Raises:
        InvalidRecord: `bad_figures`, `bad_columns`, `bad_training`, `bad_times`, `bad_money`,
            `bad_evaluators`, `bad_mechanism`, `same_party` or `party_is_contract`.
    """
    check_demands(request.task, request.metric, request.threshold, request.floors)
    _check_columns(request)
    if (request.training is None) != (request.training_key_sha256 == ""):
        raise InvalidRecord(
            "bad_training", "Training data has the hash of its key beside it, and only it has."
        )
    _check_times(request, issued)
    if request.deposit_micro > request.budget_micro:
        raise InvalidRecord("bad_money", "The deposit for a bid is more than the whole budget.")
    _check_evaluators(request)
    _check_mechanism(request)


def check_developer(developer: DeveloperBody) -> None:
    """Raises InvalidRecord `duplicate_task`."""
    if len(set(developer.tasks)) != len(developer.tasks):
        raise InvalidRecord("duplicate_task", "The developer names one task twice.")


def _check_columns(request: RequestBody) -> None:
    if len({*request.features, request.target}) != len(request.features) + 1:
        raise InvalidRecord("bad_columns", "The request names one column twice.")
    if len(set(request.classes)) != len(request.classes):
        raise InvalidRecord("bad_columns", "The request names one class twice.")
    if request.task == "classification" and len(request.classes) < 2:
        raise InvalidRecord("bad_columns", "A classification has two classes at least.")
    if request.task == "regression" and request.classes:
        raise InvalidRecord("bad_columns", "A regression has no classes.")
    if any(floor.group == request.target for floor in request.floors):
        raise InvalidRecord("bad_columns", "The groups of fairness cannot be the answers themselves.")


def _check_times(request: RequestBody, issued: int) -> None:
    stages = [issued, request.commit_by, request.reveal_by]
    if request.mechanism != "contest":
        stages.append(request.deliver_by)
    elif request.deliver_by != request.reveal_by:
        raise InvalidRecord("bad_times", "In a contest nothing is delivered after the judging.")
    pairs = pairwise(stages)
    if any(later - earlier < LEAST_STAGE_S for earlier, later in pairs):
        raise InvalidRecord(
            "bad_times", "Bids, their opening and the delivery follow each other, a minute apart at least."
        )
    if request.deliver_by - issued > MOST_SPAN_S:
        raise InvalidRecord("bad_times", "The delivery lies more than 360 days ahead.")


def _check_evaluators(request: RequestBody) -> None:
    order = [int(wallet, 16) for wallet in request.evaluators]
    if any(later <= earlier for earlier, later in pairwise(order)):
        raise InvalidRecord("bad_evaluators", "The evaluators are not in ascending order, each once.")
    if request.quorum > len(order):
        raise InvalidRecord("bad_evaluators", "More evaluators must agree than there are.")
    if 2 * request.quorum <= len(order):
        raise InvalidRecord("bad_evaluators", "More than half of the evaluators must agree.")
    houses = [one for one in (request.auction, request.escrow, request.contest) if one]
    for house in houses:
        check_parties(house, request.wallet, request.arbiter)
        if int(house, 16) in order:
            raise InvalidRecord("party_is_contract", "A contract cannot be an evaluator.")
    if request.arbiter and int(request.arbiter, 16) in order:
        raise InvalidRecord("same_party", "The arbiter would judge its own evaluation.")


def _check_mechanism(request: RequestBody) -> None:
    houses = (bool(request.auction), bool(request.escrow), bool(request.contest))
    if houses != ((False, False, True) if request.mechanism == "contest" else (True, True, False)):
        raise InvalidRecord("bad_mechanism", "The request names other contracts than its mechanism needs.")
    if request.mechanism != "contest":
        if request.weights_bps:
            raise InvalidRecord("bad_mechanism", "Only a contest shares its prize by weights.")
        if request.auction.lower() == request.escrow.lower():
            raise InvalidRecord("bad_mechanism", "Auction and escrow are two contracts.")
    else:
        _check_contest(request)


def _check_contest(request: RequestBody) -> None:
    if request.arbiter:
        raise InvalidRecord("bad_mechanism", "A contest has no arbiter: its evaluators alone decide.")
    if request.wallet.lower() in (wallet.lower() for wallet in request.evaluators):
        raise InvalidRecord(
            "bad_evaluators",
            "Whoever asks cannot measure its own contest: it would hold every model for nothing.",
            "Name others as evaluators.",
        )
    weights = request.weights_bps
    if not weights and request.metric not in SHARES:
        raise InvalidRecord(
            "bad_mechanism",
            "Only accuracy, macro_f1 and auc are shares of 1, so only they can share a pool.",
            "Give prizes by rank.",
        )
    if weights and (sum(weights) != ALL_BPS or list(weights) != sorted(weights, reverse=True)):
        raise InvalidRecord("bad_mechanism", "The prizes add up to 10,000, and a worse place has no more.")
