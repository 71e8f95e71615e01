"""Why a contract refuses a step, in the words of the market."""

from __future__ import annotations

from openstall.ledger.abi import codec
from openstall.ledger.contracts.compiled import NAMES
from openstall.ledger.transport import RpcRefusal
from openstall.market.errors import ChainError

_REASONS = {
    "BadTerms": "the terms are outside what the contract accepts",
    "WrongState": "the order has moved on",
    "NotYours": "this step belongs to the other party",
    "TooEarly": "its time has not come yet",
    "TooLate": "its time has passed",
    "BadDelivery": "what is handed over is empty or too large",
    "FeeOnTransfer": "this currency takes a fee on every transfer",
    "NothingToCollect": "there is nothing to collect",
    "AlreadyOpen": "this channel was opened before",
    "NotOpen": "the channel is closed",
    "AboveDeposit": "the voucher is above the deposit",
    "NoTriesLeft": "the seller has used all its tries",
    "NotABidder": "requester, arbiter and evaluators cannot bid",
    "AlreadyBid": "this wallet has bid already",
    "BadBid": "the bid is above the budget, or this is not what was committed to",
    "BadEscrow": "the escrow of the auction did not take the price",
    "NotAnEntrant": "requester and evaluators cannot enter",
    "AlreadyEntered": "this wallet has entered already",
    "NotInRanking": "the signed ranking says something else",
    "AbovePool": "that is more than the prizes are worth",
    "BadSignature": "the voucher was not signed by the payer",
    "AlreadyPosted": "this bond was posted before",
    "NotPosted": "the bond is closed, or was never posted",
    "AboveBond": "that is more than is left of the bond",
    "NotSigned": "too few of those who were named have signed this",
    "BadBeneficiary": "the money of a bond cannot go to one of its own parties",
    "NothingNew": "this was done before",
    "AlreadyClaimed": "this wallet has had its first credits",
    "ERC20InsufficientBalance": "the balance is too low",
    "ERC20InsufficientAllowance": "the payment was not authorised by its owner",
    "ERC2612InvalidSigner": "the payment was not authorised by its owner",
}


def refused(what: str, error: RpcRefusal) -> ChainError:
    """The refusal of a step (`pay into escrow`, `refund`, …), with the contract's own reason."""
    names = (codec(name).error_name(error.data) for name in NAMES)
    found = next((name for name in names if name), "")
    reason = _REASONS.get(found, error.message)
    return ChainError("contract_refuses", f"“{what}” is not possible: {reason}.", "No money has moved.")


def without_contract(name: str) -> ChainError:
    """The chain was made before there was a contract of that name."""
    if name == "ProviderBond":
        return ChainError(
            "no_bonds",
            "This group was founded before there were bonds, so its providers cannot post one.",
            "Everything else works as before; a new group has them.",
        )
    return ChainError(
        "no_requests",
        "This group was founded before models could be asked for, so nobody can open a request in it.",
        "Everything else works as before; a new group has them.",
    )
