"""The order of a model made to order, as it follows from the request and the price its auction found."""

from __future__ import annotations

from openstall.market.errors import InvalidOrder
from openstall.market.orders.documents import Contract, CustomTerms
from openstall.market.records import MAX_CLOCK_SKEW_S, SignedRecord
from openstall.market.requests.bodies import RequestBody


def custom_terms(record: SignedRecord, *, price_micro: int, box_key: str) -> CustomTerms:
    """The terms that both nodes write for a request, its price, and the buyer's box for the key.

    Raises:
        InvalidOrder: the record is no request.
    """
    body = request_in(record)
    return CustomTerms(
        request=record.cid,
        title=body.title,
        task=body.task,
        features=list(body.features),
        target=body.target,
        classes=list(body.classes),
        metric=body.metric,
        threshold=body.threshold,
        floors=list(body.floors),
        rows=body.rows,
        rows_root=body.rows_root,
        box_key=box_key,
        evaluators=list(body.evaluators),
        quorum=body.quorum,
        tries=body.tries,
        price_micro=price_micro,
        escrow=body.escrow,
        arbiter=body.arbiter,
        arbiter_s=body.arbiter_s,
        arbiter_fee_bps=body.arbiter_fee_bps,
        deliver_by=body.deliver_by,
        evaluate_s=body.evaluate_s,
        review_s=body.review_s,
    )


def request_in(record: SignedRecord) -> RequestBody:
    """The request in a record.

    Raises:
        InvalidOrder: it is another kind of record.
    """
    if not isinstance(record.body, RequestBody):
        raise InvalidOrder("not_a_request", "That is not a request for a model.")
    return record.body


def check_award(contract: Contract, record: SignedRecord, *, wallet: str, price_micro: int, now: int) -> None:
    """What a developer checks before it signs: every term follows from the request and the auction it won.

    Args:
        wallet: the developer's own wallet address.
        price_micro: what the auction on the chain says.
        now: Unix seconds.

    Raises:
        InvalidOrder: a term differs.
    """
    order, body, terms = contract.order, request_in(record), contract.custom
    same = {
        "buyer": order.buyer == record.record.author and order.buyer_wallet.lower() == body.wallet.lower(),
        "developer": order.seller_wallet.lower() == wallet.lower(),
        "group": order.network == record.record.network and order.chain_id == body.chain_id,
        "date": order.created <= now + MAX_CLOCK_SKEW_S,
        "terms": terms == custom_terms(record, price_micro=price_micro, box_key=terms.box_key),
    }
    different = [name for name, equal in same.items() if not equal]
    if different:
        raise InvalidOrder(
            "terms_differ", f"The order differs from the request and its auction: {', '.join(different)}."
        )
