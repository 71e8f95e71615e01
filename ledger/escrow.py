"""Client of `OrderEscrow`: requests for each step of a sale, and the order as the chain sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eth_hash.auto import keccak

from openstall.ledger.abi import codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.typed_data import address_word
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidOrder

NO_ADDRESS = "0x" + "00" * 20
MAX_SEALED_KEY_BYTES = 256
EscrowState = Literal["none", "funded", "delivered", "disputed", "completed", "refunded", "ruled"]
_STATES: tuple[EscrowState, ...] = (
    "none",
    "funded",
    "delivered",
    "disputed",
    "completed",
    "refunded",
    "ruled",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowTerms:
    """What buyer and seller agreed on; times are Unix seconds (`_by`) or seconds (`_s`).

    `arbiter` is empty when there is none: then there is no dispute, and the review time only
    delays the seller's pay.
    """

    seller: str
    arbiter: str
    amount_micro: int
    deliver_by: int
    review_s: int
    arbiter_s: int
    arbiter_fee_bps: int
    silent_buyer_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowOrder:
    """An order on chain; `since` is when its state began, by the chain's clock."""

    key: bytes
    state: EscrowState
    buyer: str
    token: str
    terms: EscrowTerms
    since: int

    @property
    def deadline_at(self) -> int | None:
        """After this second anyone may take the order's timed way out; None in a final state."""
        return {
            "funded": self.terms.deliver_by,
            "delivered": self.since + self.terms.review_s,
            "disputed": self.since + self.terms.arbiter_s,
        }.get(self.state)

    def matches(self, *, buyer: str, terms: EscrowTerms, token: str) -> bool:
        """Whether the chain holds exactly what was signed."""
        return self.buyer == buyer.lower() and self.token == token.lower() and self.terms == _lower(terms)


def escrow_key(buyer: str, order_hash: bytes) -> bytes:
    """The order's name on chain: bound to its buyer, so that nobody else can occupy it.

    Raises:
        InvalidOrder: a malformed address or hash.
    """
    if len(order_hash) != 32:
        raise InvalidOrder("bad_order_hash", "The order hash must have 32 bytes.")
    return bytes(keccak(address_word(buyer) + order_hash))


class EscrowClient:
    """Requests and readings on the escrow of one chain. Thread-safe."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("OrderEscrow")

    def fund(
        self, wallet: Wallet, order_hash: bytes, terms: EscrowTerms, *, pay_by: int | None = None
    ) -> TxRequest:
        """Pay in, in one transaction, with an allowance that the wallet signs for exactly this amount.

        After `pay_by` (Unix seconds) the allowance is void, so a late payment fails instead of landing.
        """
        token = self._chain.params.credit
        permit = CreditClient(self._chain).sign_permit(
            wallet, self._chain.params.escrow, terms.amount_micro, pay_by=pay_by
        )
        packed = _pack(terms, token)
        return self._request("fundWithPermit", 400_000, "pay into escrow", order_hash, packed, permit)

    def deliver(self, key: bytes, sealed_key: bytes) -> TxRequest:
        """Hand the sealed key over through the chain.

        Raises:
            InvalidOrder: empty or above 256 bytes.
        """
        if not 0 < len(sealed_key) <= MAX_SEALED_KEY_BYTES:
            raise InvalidOrder("bad_delivery", "The sealed key is empty or too large.")
        return self._request("deliver", 120_000, "deliver", key, sealed_key)

    def complete(self, key: bytes) -> TxRequest:
        """The buyer accepts: the seller is paid."""
        return self._request("complete", 180_000, "accept", key)

    def claim(self, key: bytes) -> TxRequest:
        """Pay the seller once the review time is over."""
        return self._request("claim", 180_000, "claim the payment", key)

    def refund(self, key: bytes) -> TxRequest:
        """Give the buyer its money back after the delivery deadline."""
        return self._request("refund", 180_000, "refund", key)

    def cancel(self, key: bytes) -> TxRequest:
        """The seller gives all the money back."""
        return self._request("cancel", 180_000, "cancel", key)

    def dispute(self, key: bytes, evidence_hash: bytes) -> TxRequest:
        """The buyer calls the arbiter."""
        return self._request("dispute", 100_000, "open a dispute", key, evidence_hash)

    def rule(self, key: bytes, buyer_bps: int) -> TxRequest:
        """The arbiter splits the money; `buyer_bps` of 10,000 go back to the buyer after the fee."""
        if not 0 <= buyer_bps <= 10_000:
            raise InvalidOrder("bad_share", "A share lies between 0 and 10000 hundredths of a percent.")
        return self._request("rule", 260_000, "rule", key, buyer_bps)

    def settle_silent(self, key: bytes) -> TxRequest:
        """Split the money as agreed for an arbiter who stayed silent."""
        return self._request("settleSilent", 220_000, "settle without the arbiter", key)

    def order(self, buyer: str, order_hash: bytes) -> EscrowOrder:
        """The order of a buyer as the chain has it; state `none` when it was never funded."""
        return self.order_by_key(escrow_key(buyer, order_hash))

    def order_by_key(self, key: bytes) -> EscrowOrder:
        """The order under a key."""
        values = dict(
            zip(self._abi.outputs("orders"), self._chain.view("OrderEscrow", "orders", key), strict=True)
        )
        arbiter = str(values["arbiter"]).lower()
        terms = EscrowTerms(
            seller=str(values["seller"]).lower(),
            arbiter="" if arbiter == NO_ADDRESS else arbiter,
            amount_micro=values["amount"],
            deliver_by=values["deliverBy"],
            review_s=values["reviewS"],
            arbiter_s=values["arbiterS"],
            arbiter_fee_bps=values["arbiterFeeBps"],
            silent_buyer_bps=values["silentBuyerBps"],
        )
        return EscrowOrder(
            key=key,
            state=_STATES[values["state"]],
            buyer=str(values["buyer"]).lower(),
            token=str(values["token"]).lower(),
            terms=terms,
            since=values["since"],
        )

    def delivery(self, key: bytes, *, from_block: int = 0) -> bytes | None:
        """The sealed key that the seller delivered through the chain, or None."""
        topics = [self._abi.topic("Delivered"), "0x" + key.hex()]
        head = self._chain.head().number
        found = self._chain.events("OrderEscrow", topics, from_block=from_block, to_block=head)
        return bytes(found[0].args["sealedKey"]) if found else None

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.params.escrow, data=data, gas=gas, what=what)


def _pack(terms: EscrowTerms, token: str) -> tuple[object, ...]:
    """In the order of the contract's `Terms`."""
    return (
        terms.seller,
        terms.arbiter or NO_ADDRESS,
        token,
        terms.amount_micro,
        terms.deliver_by,
        terms.review_s,
        terms.arbiter_s,
        terms.arbiter_fee_bps,
        terms.silent_buyer_bps,
    )


def _lower(terms: EscrowTerms) -> EscrowTerms:
    return EscrowTerms(
        seller=terms.seller.lower(),
        arbiter=terms.arbiter.lower(),
        amount_micro=terms.amount_micro,
        deliver_by=terms.deliver_by,
        review_s=terms.review_s,
        arbiter_s=terms.arbiter_s,
        arbiter_fee_bps=terms.arbiter_fee_bps,
        silent_buyer_bps=terms.silent_buyer_bps,
    )
