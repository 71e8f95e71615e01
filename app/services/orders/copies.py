"""Whether an arbiter or evaluator takes up the copy of an order that somebody brings."""

from __future__ import annotations

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.desk import OrderDesk
from openstall.market.errors import Refused
from openstall.market.orders.documents import Contract, check_signature
from openstall.market.requests.terms import check_award

MOST_OF_A_BUYER = 10
"""Open orders of one buyer that an evaluator takes up."""


async def check(
    contract: Contract,
    *,
    role: str,
    buyer_signature: str,
    seller_signature: str,
    catalogue: Catalogue,
    now: int,
) -> None:
    """Whether those who must have signed a copy did, and whether it may name the money that it names.

    A model made to order is paid under the hash of its request, so every term has to follow from that
    request: a verdict counts for the money, and nobody who brings a copy may choose the rows or the
    threshold that it is about. The bid binds the developer: its judges need no signature of it. An arbiter
    that has lost the request takes what both have signed, so that a requester cannot shake it off.

    Raises:
        InvalidOrder: a signature is missing or wrong, or a term differs from the request.
        Refused: `request_unknown`, this peer has not seen the request.
    """
    check_signature(contract, "buyer", buyer_signature)
    if contract.order.kind != "custom" or seller_signature:
        check_signature(contract, "seller", seller_signature)
    if contract.order.kind != "custom":
        return
    record = await catalogue.held(contract.custom.request)
    if record is None and role == "arbiter" and seller_signature:
        return
    if record is None:
        raise Refused("request_unknown", "This peer has not seen that request (yet).", "Ask again later.")
    wallet, price_micro = contract.order.seller_wallet, contract.custom.price_micro
    check_award(contract, record, wallet=wallet, price_micro=price_micro, now=now)


async def refuse_crowd(contract: Contract, desk: OrderDesk) -> None:
    """An evaluator works for nothing: no buyer has it measure for more than a few orders at a time.

    Raises:
        Refused: `busy`, and it may be asked again.
    """
    if await desk.count_open(contract.order.buyer) >= MOST_OF_A_BUYER:
        raise Refused(
            "busy", "This peer evaluates for many orders of this buyer already.", "Ask again later."
        )


async def refuse_twins(contract: Contract, desk: OrderDesk, *, both_signed: bool) -> None:
    """One price is worth one order: a buyer could else fill its judges' books with others for it.

    What both signed is taken beside what the buyer alone did.

    Raises:
        Refused: `other_order`.
    """
    if contract.order.kind != "custom":
        return
    known = await desk.for_request(contract.custom.request)
    if any(order.seller_signature or not both_signed for order in known):
        raise Refused("other_order", "This peer holds another order for that request.")
