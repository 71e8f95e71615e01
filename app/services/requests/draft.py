"""From what a requester fills in to the request that is signed, and the plain words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.app.services.requests.looking import Look
from openstall.app.services.requests.words import as_day, contest_words
from openstall.market.errors import ChainError
from openstall.market.fields import DAY_S, BlobRef, body_as_dict
from openstall.market.money import format_amount
from openstall.market.orders.agree import ARBITER_FEE_BPS, ARBITER_S
from openstall.market.requests.bodies import LEAST_STAGE_S, SHARES, Mechanism, RequestBody, check_request
from openstall.market.requests.demands import Floor
from openstall.market.requests.rows import Commitment
from openstall.market.schema import fit

TO_SIGN_S = 10
"""From the words of a request to its signature: the rows are sealed in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestChain:
    """The requester's wallet and the contracts of the joined chain that hold its money."""

    wallet: str
    chain_id: int
    auction: str
    escrow: str
    contest: str = ""

    def need(self, mechanism: str) -> None:
        """Raises ChainError `no_requests` in a group that was founded before models could be asked for."""
        if not (self.contest if mechanism == "contest" else self.auction and self.escrow):
            raise ChainError(
                "no_requests",
                "This group was founded before models could be asked for, so no request can be paid in it.",
                "Found a new group, or join a younger one.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a requester decides beside the table; money in micro-credits, times in seconds from now on.

    An empty list of evaluators is the requester itself, but not in a contest. There `bid_s` is the time to
    enter, `reveal_s` that to judge, `review_s` that to hand over, and `tries` are those of practice; nothing
    is delivered later. `weights_bps` are its prizes by rank; none: in proportion to quality.
    """

    title: str
    summary: str
    licence: str
    metric: str
    threshold: str
    floors: tuple[Floor, ...]
    budget_micro: int
    deposit_micro: int
    bid_s: int = 3 * DAY_S
    reveal_s: int = DAY_S
    deliver_s: int = 14 * DAY_S
    evaluate_s: int = DAY_S
    review_s: int = 3 * DAY_S
    arbiter: str = ""
    tries: int = 3
    evaluators: tuple[str, ...] = ()
    quorum: int = 0
    """How many must agree; more than half where it is 0."""
    mechanism: Mechanism = "second_price"
    weights_bps: tuple[int, ...] = ()

    @property
    def contest(self) -> bool:
        """Whether everybody builds, and the best are paid."""
        return self.mechanism == "contest"


def write_body(
    terms: Terms,
    found: Look,
    commitment: Commitment,
    chain: RequestChain,
    *,
    target: str,
    training: tuple[BlobRef, str] | None,
    now: int,
) -> RequestBody:
    """The request as it is signed.

    Raises:
        InvalidRecord: the terms make no sense together.
    """
    evaluators = sorted(terms.evaluators or (chain.wallet,), key=_as_number)
    # The least time for bids counts from the signature.
    late = LEAST_STAGE_S <= terms.bid_s < LEAST_STAGE_S + TO_SIGN_S
    bid_by = now + (LEAST_STAGE_S + TO_SIGN_S if late else terms.bid_s)
    judge_by = bid_by + terms.reveal_s
    body = RequestBody(
        title=terms.title.strip(),
        summary=terms.summary,
        task="regression" if found.task == "regression" else "classification",
        features=list(found.features),
        classes=sorted(found.classes),
        target=target,
        rows=commitment.rows,
        rows_root=commitment.root,
        training=training[0] if training else None,
        training_key_sha256=training[1] if training else "",
        metric=terms.metric,  # type: ignore[arg-type]  # `fit` looks
        threshold=terms.threshold,
        floors=list(terms.floors),
        licence=terms.licence,
        framework="onnx",
        mechanism=terms.mechanism,
        budget_micro=terms.budget_micro,
        deposit_micro=terms.deposit_micro,
        commit_by=bid_by,
        reveal_by=judge_by,
        deliver_by=judge_by if terms.contest else judge_by + terms.deliver_s,
        evaluate_s=terms.evaluate_s,
        review_s=terms.review_s,
        arbiter=terms.arbiter,
        arbiter_s=ARBITER_S,
        arbiter_fee_bps=ARBITER_FEE_BPS,
        tries=terms.tries,
        evaluators=evaluators,
        quorum=terms.quorum or len(evaluators) // 2 + 1,
        weights_bps=list(terms.weights_bps),
        wallet=chain.wallet,
        chain_id=chain.chain_id,
        auction="" if terms.contest else chain.auction,
        escrow="" if terms.contest else chain.escrow,
        contest=chain.contest if terms.contest else "",
    )
    checked = fit(body_as_dict(body), RequestBody, "request")
    check_request(checked, issued=now)
    return checked


def summary_of(body: RequestBody, *, training: bool = False) -> list[dict[str, str]]:
    """What will be signed, line by line, for somebody who runs a shop.

    `training`: there is training data that was not encrypted yet, so that the body does not name it.
    """
    contest = body.mechanism == "contest"
    what = (
        f"say which of {len(body.classes)} classes of “{body.target}” a row is"
        if body.task == "classification"
        else f"estimate “{body.target}” of a row"
    )
    mine = [one.lower() for one in body.evaluators] == [body.wallet.lower()]
    several = "evaluator" if len(body.evaluators) == 1 else "evaluators"
    judges = "you alone" if mine else f"{body.quorum} of {len(body.evaluators)} {several} must agree"
    lines = {
        "You ask for": f"a model ({body.framework.upper()}, licence {body.licence}) to {what} "
        f"from {len(body.features)} columns.",
        "It passes if": _demands_words(body),
        "Measured on": f"{body.rows} sealed rows of yours. Only their number and a seal are published; "
        "no developer sees them.",
        "Measured by": judges + ".",
        "Training data": _training_words(body, there=training or body.training is not None),
    }
    lines |= contest_words(body) if contest else _auction_words(body)
    return [{"what": what_, "words": words} for what_, words in lines.items()]


def _auction_words(body: RequestBody) -> dict[str, str]:
    return {
        "Budget": f"{format_amount(body.budget_micro)} credits at most. The lowest bid wins and is paid the "
        "second lowest, or the budget if it is the only one.",
        "Bids": f"sealed until {as_day(body.commit_by)}, opened until {as_day(body.reveal_by)}; each puts "
        f"down {format_amount(body.deposit_micro)} credits.",
        "Delivery": f"until {as_day(body.deliver_by)}, in {body.tries} tries at most. If no model passes, "
        "your money comes back.",
        "Dispute": f"arbiter {body.arbiter}"
        if body.arbiter
        else "no arbiter is named. Once a model has passed, even a key that opens nothing is paid for.",
    }


def _training_words(body: RequestBody, *, there: bool) -> str:
    if not there:
        return "none: developers bring their own."
    if body.mechanism == "contest":
        return "encrypted, but everybody of the group who asks gets its key: all of them build at once."
    return "encrypted; its key goes to the winner alone."


def as_floor(name: str, limit: str, group: str) -> Floor:
    """A floor that was typed. Raises InvalidRecord."""
    return fit({"name": name, "limit": limit, "group": group}, Floor, "floor")


def _demands_words(body: RequestBody) -> str:
    way = "at least" if body.metric in SHARES else "at most"
    demands = [f"{body.metric} is {way} {body.threshold}"]
    for floor in body.floors:
        words: dict[str, Any] = {
            "robustness": f"a share of {floor.limit} of its answers stays when the inputs change a little",
            "fairness": f"groups of “{floor.group}” differ by {floor.limit} at most",
            "latency": f"95 of 100 answers take {floor.limit} ms at most",
            "size": f"its file has {_grouped(floor.limit)} bytes at most",
        }
        demands.append(words[floor.name])
    return "; ".join(demands) + "."


def _grouped(number: str) -> str:
    whole, point, rest = number.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _as_number(wallet: str) -> int:
    try:
        return int(wallet, 16)
    except ValueError:
        return 0  # the schema refuses it
