"""What an auction must be before anybody's money goes into it: the checks of a bidder."""

from __future__ import annotations

from openstall.app.services.custom.model_desk import rules_of
from openstall.app.services.orders.placing import Party
from openstall.ledger.auction import AuctionOnChain, AuctionTerms
from openstall.ledger.chain import ChainParams
from openstall.ledger.model_escrow import model_order_key
from openstall.market import ids
from openstall.market.errors import Conflict, Refused
from openstall.market.money import format_amount
from openstall.market.records import SignedRecord
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.terms import request_in


def check_bid(record: SignedRecord, amount_micro: int, *, me: Party, params: ChainParams, now: int) -> None:
    """Whether this peer can bid that much for a request now.

    Raises:
        Refused: it is the peer's own, asks for its judgement, is no auction of this group, or the bid
            does not fit.
        Conflict: `too_late`.
    """
    body, wallet = request_in(record), me.wallet.lower()
    if record.record.author == me.peer_id or body.wallet.lower() == wallet:
        raise Refused("own_request", "This is your own request.", "")
    if wallet in (body.arbiter.lower(), *(evaluator.lower() for evaluator in body.evaluators)):
        raise Refused("own_judgement", "You are named to judge this request, so you cannot bid for it.", "")
    if body.mechanism == "contest":
        raise Refused(
            "no_auction", "This request is a contest: it takes models, no bids.", "openstall contest enter"
        )
    named = (body.mechanism, body.chain_id, body.auction.lower(), body.escrow.lower())
    if named != ("second_price", params.chain_id, params.auction.lower(), params.model_escrow.lower()):
        raise Refused(
            "other_auction", "This request is not auctioned by this group's contracts. Do not bid.", ""
        )
    if not 0 < amount_micro <= body.budget_micro:
        raise Refused(
            "bad_bid", f"A bid lies above 0 and at most at {format_amount(body.budget_micro)} credits."
        )
    if now > body.commit_by:
        raise Conflict("too_late", "The time for bids is over.")


def check_auction(auction: AuctionOnChain, body: RequestBody, params: ChainParams) -> None:
    """Whether the chain holds the auction that a request describes, so that the money is there.

    Raises:
        Refused: `no_auction`.
    """
    if auction.state != "open" or not auction.matches(
        requester=body.wallet,
        terms=auction_terms(body),
        token=params.credit,
        escrow=params.model_escrow,
    ):
        raise Refused(
            "no_auction",
            "The chain does not hold the auction that this request describes. Nothing was sent.",
            "Wait a minute; if it stays so, do not bid.",
        )


def auction_terms(body: RequestBody) -> AuctionTerms:
    """The auction that a request describes."""
    return AuctionTerms(
        budget_micro=body.budget_micro,
        deposit_micro=body.deposit_micro,
        commit_by=body.commit_by,
        reveal_by=body.reveal_by,
        rules=rules_of(body),
    )


def escrow_key(record: SignedRecord, params: ChainParams) -> bytes:
    """The name of the order that follows from a request's auction, in the escrow."""
    named = ids.digest_in_cid(record.cid)
    return model_order_key(payer=params.auction, buyer=request_in(record).wallet, request_hash=named)
