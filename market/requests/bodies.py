"""What a request for a model says: what is to be predicted, how it is judged, by whom, and for how much."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from openstall.market import ids
from openstall.market.errors import InvalidRecord
from openstall.market.fields import (
    Address,
    AddressOrNone,
    BlobRef,
    Body,
    ColumnName,
    Price,
    Sha256,
    Text,
    Time,
    Window,
    check_parties,
)
from openstall.market.requests.demands import Floor, Limit, MetricName, Task

MOST_ROWS = 10_000_000
LEAST_ROWS = 10
METRICS_OF = {
    "classification": frozenset({"accuracy", "macro_f1", "auc"}),
    "regression": frozenset({"rmse", "mae"}),
}


class RequestBody(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A wanted model. Its address names auction and escrow on the chain, so its words bind the money."""

    title: Annotated[str, Meta(min_length=3, max_length=120)]
    summary: Text
    task: Task
    features: Annotated[list[ColumnName], Meta(min_length=1, max_length=1000)]
    target: ColumnName
    classes: Annotated[list[ColumnName], Meta(max_length=256)]
    rows: Annotated[int, Meta(ge=LEAST_ROWS, le=MOST_ROWS)]
    rows_root: Sha256
    """Merkle root over the sealed validation rows, each salted."""
    training: BlobRef | None = None
    """Encrypted examples; the key is for the developer who wins."""
    metric: MetricName
    threshold: Limit
    floors: Annotated[list[Floor], Meta(max_length=4)]
    licence: Annotated[str, Meta(min_length=1, max_length=100)]
    mechanism: Annotated[str, Meta(pattern=r"^second_price\Z")]
    budget_micro: Price
    deposit_micro: Price
    commit_by: Time
    reveal_by: Time
    deliver_by: Time
    evaluate_s: Window
    review_s: Window
    arbiter: AddressOrNone
    arbiter_s: Window
    arbiter_fee_bps: Annotated[int, Meta(ge=0, le=1000)]
    tries: Annotated[int, Meta(ge=1, le=16)]
    evaluators: Annotated[list[Address], Meta(min_length=1, max_length=16)]
    """In ascending order, so that none is named twice."""
    quorum: Annotated[int, Meta(ge=1, le=16)]
    wallet: Address
    chain_id: Annotated[int, Meta(ge=1)]
    auction: Address
    escrow: Address


LEAST_WINDOW_S = 60


def check_request(body: RequestBody) -> None:
    """Whether a request makes sense in itself.

    Raises:
        InvalidRecord: with a stable code.
    """
    if not body.commit_by + LEAST_WINDOW_S <= body.reveal_by <= body.deliver_by - LEAST_WINDOW_S:
        raise InvalidRecord("bad_times", "The times of the request are not in order.")
    if body.metric not in METRICS_OF[body.task]:
        raise InvalidRecord("bad_metric", f"{body.metric} does not measure a {body.task}.")
    if (body.task == "classification") != (len(body.classes) >= 2):
        raise InvalidRecord(
            "bad_classes", "A classification names two classes or more, and nothing else any."
        )
    named = [*body.features, body.target]
    if len(set(named)) != len(named) or len(set(body.classes)) != len(body.classes):
        raise InvalidRecord("duplicate_column", "The request names one column or class twice.")
    if len({floor.name for floor in body.floors}) != len(body.floors):
        raise InvalidRecord("duplicate_floor", "The request names one floor twice.")
    evaluators = [wallet.lower() for wallet in body.evaluators]
    if evaluators != sorted(set(evaluators)):
        raise InvalidRecord("bad_evaluators", "The evaluators are not in order.")
    if not len(evaluators) < 2 * body.quorum <= 2 * len(evaluators):
        raise InvalidRecord("bad_quorum", "More than half of the evaluators must agree.")
    check_parties(body.escrow, body.wallet, body.arbiter)
    check_parties(body.auction, body.wallet, body.arbiter)
    if body.arbiter.lower() in evaluators:
        raise InvalidRecord("same_party", "The arbiter cannot be an evaluator.")


def request_hash(cid: str) -> bytes:
    """The 32 bytes that name a request on chain."""
    return ids.digest_in_cid(cid)
