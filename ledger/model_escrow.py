"""Client of `ModelEscrow`: the steps of a model made to order, evaluators' verdicts, the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from eth_hash.auto import keccak

from openstall.ledger.abi import codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import MAX_SEALED_KEY_BYTES, NO_ADDRESS
from openstall.ledger.typed_data import Domain, address_word, digest, word
from openstall.ledger.wallet import Wallet, recover_signer
from openstall.market.errors import IdentityError, InvalidOrder

MAX_EVALUATORS, MAX_TRIES, MAX_FEE_BPS = 16, 16, 1_000
MIN_WINDOW_S, MAX_WINDOW_S, MAX_DELIVERY_S = 60, 90 * 86_400, 365 * 86_400
ModelState = Literal[
    "none",
    "funded",
    "submitted",
    "passed",
    "failed",
    "handed_over",
    "disputed",
    "completed",
    "refunded",
    "ruled",
]
STATES: tuple[ModelState, ...] = (
    "none",
    "funded",
    "submitted",
    "passed",
    "failed",
    "handed_over",
    "disputed",
    "completed",
    "refunded",
    "ruled",
)
ENDED: frozenset[ModelState] = frozenset({"none", "completed", "refunded", "ruled"})
"""No money lies in an order that is in one of these."""
_ASSESSMENT = keccak(
    b"Assessment(bytes32 key,bytes32 modelHash,uint8 attempt,bool passed,bytes32 reportHash)"
)
_DOMAIN_NAME = "Openstall ModelEscrow"
_FUND_GAS, _ASSESS_GAS = 1_500_000, 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRules:
    """What a requester lays down before anybody bids; times are Unix seconds (`_by`) or seconds (`_s`).

    `arbiter` is empty when there is none. `evaluators` are wallets, in any order.
    """

    arbiter: str
    deliver_by: int
    evaluate_s: int
    review_s: int
    arbiter_s: int
    arbiter_fee_bps: int
    tries: int
    quorum: int
    evaluators: tuple[str, ...]

    @property
    def ordered(self) -> ModelRules:
        """As the contracts keep them: lower case, evaluators ascending."""
        evaluators = tuple(sorted(evaluator.lower() for evaluator in self.evaluators))
        return replace(self, arbiter=self.arbiter.lower(), evaluators=evaluators)

    def packed(self) -> tuple[Any, ...]:
        """In the order of the contract's `ModelRules`."""
        rules = self.ordered
        return (
            rules.arbiter or NO_ADDRESS,
            rules.deliver_by,
            rules.evaluate_s,
            rules.review_s,
            rules.arbiter_s,
            rules.arbiter_fee_bps,
            rules.tries,
            rules.quorum,
            rules.evaluators,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTerms:
    """The rules of the request with what its auction found."""

    seller: str
    amount_micro: int
    rules: ModelRules


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """An order on chain; `since` is when its state began, `model_hash` all zero before the first try."""

    key: bytes
    state: ModelState
    buyer: str
    token: str
    terms: ModelTerms
    since: int
    attempt: int
    model_hash: bytes

    @property
    def deadline_at(self) -> int | None:
        """After this second anyone may take the order's timed way out; None in a final state."""
        rules, reviewed = self.terms.rules, self.since + self.terms.rules.review_s
        can_try = self.attempt < rules.tries
        return {
            "funded": rules.deliver_by,
            "submitted": reviewed + rules.evaluate_s,
            "passed": reviewed,
            "failed": max(reviewed, rules.deliver_by) if can_try else reviewed,
            "handed_over": reviewed,
            "disputed": self.since + rules.arbiter_s,
        }.get(self.state)

    def matches(self, *, buyer: str, terms: ModelTerms, token: str) -> bool:
        """Whether the chain holds exactly what the request and its auction say."""
        wanted = replace(terms, seller=terms.seller.lower(), rules=terms.rules.ordered)
        return (self.buyer, self.token, self.terms) == (buyer.lower(), token.lower(), wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an evaluator signs: its report on this try of this order says passed, or not."""

    key: bytes
    model_hash: bytes
    attempt: int
    passed: bool
    report_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVerdict:
    """A signature with its signer's place among the evaluators (ascending) and the hash of its report."""

    place: int
    report_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """A verdict that the chain has taken, with the reports behind it by their evaluators' places."""

    attempt: int
    passed: bool
    reports: tuple[tuple[int, bytes], ...]
    block_number: int
    tx_hash: str


def model_order_key(*, payer: str, buyer: str, request_hash: bytes) -> bytes:
    """The order's name on chain. It bears who paid (the auction, or the buyer), so nobody else can occupy it.

    Raises:
        InvalidOrder: a malformed address or hash.
    """
    if len(request_hash) != 32:
        raise InvalidOrder("bad_request_hash", "The hash of the request must have 32 bytes.")
    return bytes(keccak(address_word(payer) + address_word(buyer) + request_hash))


class ModelEscrowClient:
    """Requests and readings on the model escrow of one chain. Thread-safe.

    Every method raises ChainError `no_requests` on a chain that was made without the contract.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("ModelEscrow")

    def fund(
        self, wallet: Wallet, request_hash: bytes, terms: ModelTerms, *, pay_by: int | None = None
    ) -> TxRequest:
        """The buyer pays in without an auction, with an allowance signed for exactly this amount."""
        contract, token = self._chain.contract("ModelEscrow"), self._chain.params.credit
        permit = CreditClient(self._chain).sign_permit(wallet, contract, terms.amount_micro, pay_by=pay_by)
        packed = (terms.seller, token, terms.amount_micro, terms.rules.packed())
        return self._request("fundWithPermit", _FUND_GAS, "pay for the model", request_hash, packed, permit)

    def submit(self, key: bytes, model_hash: bytes) -> TxRequest:
        """The seller says which model it delivers."""
        return self._request("submit", 150_000, "deliver the model", key, model_hash)

    def assess(self, key: bytes, *, passed: bool, verdicts: Sequence[SignedVerdict]) -> TxRequest:
        """Bring the evaluators' signatures on one verdict."""
        ordered = sorted(verdicts, key=lambda one: one.place)
        args = (
            [one.place for one in ordered],
            [one.report_hash for one in ordered],
            [one.signature for one in ordered],
        )
        return self._request("assess", _ASSESS_GAS, "bring the verdict", key, passed, *args)

    def hand_over(self, key: bytes, sealed_key: bytes) -> TxRequest:
        """Hand the sealed key over through the chain.

        Raises:
            InvalidOrder: empty or above 256 bytes.
        """
        if not 0 < len(sealed_key) <= MAX_SEALED_KEY_BYTES:
            raise InvalidOrder("bad_delivery", "The sealed key is empty or too large.")
        return self._request("handOver", 120_000, "hand over the key", key, sealed_key)

    def complete(self, key: bytes) -> TxRequest:
        """The buyer accepts: the seller is paid."""
        return self._request("complete", 200_000, "accept", key)

    def claim(self, key: bytes) -> TxRequest:
        """Pay the seller once the review time is over."""
        return self._request("claim", 200_000, "claim the payment", key)

    def refund(self, key: bytes) -> TxRequest:
        """Give the buyer its money back after the state's deadline."""
        return self._request("refund", 200_000, "refund", key)

    def cancel(self, key: bytes) -> TxRequest:
        """The seller gives all the money back."""
        return self._request("cancel", 200_000, "cancel", key)

    def dispute(self, key: bytes, evidence_hash: bytes) -> TxRequest:
        """Call the arbiter: the buyer over a hand-over, the seller over a failure, either over silence."""
        return self._request("dispute", 120_000, "open a dispute", key, evidence_hash)

    def rule(self, key: bytes, buyer_bps: int) -> TxRequest:
        """The arbiter splits the money; `buyer_bps` of 10,000 go back to the buyer after the fee."""
        if not 0 <= buyer_bps <= 10_000:
            raise InvalidOrder("bad_share", "A share lies between 0 and 10000 hundredths of a percent.")
        return self._request("rule", 280_000, "rule", key, buyer_bps)

    def settle_silent(self, key: bytes) -> TxRequest:
        """Halve the money when the arbiter stayed silent."""
        return self._request("settleSilent", 240_000, "settle without the arbiter", key)

    def sign(self, wallet: Wallet, verdict: Verdict) -> bytes:
        """An evaluator's signature on its verdict."""
        return wallet.sign_digest(self.digest(verdict))

    def signer(self, verdict: Verdict, signature: bytes) -> str:
        """The wallet that signed a verdict, lower case.

        Raises:
            InvalidOrder: not a signature.
        """
        try:
            return recover_signer(self.digest(verdict), signature).lower()
        except IdentityError as error:
            raise InvalidOrder("bad_signature", "The evaluator's signature is malformed.") from error

    def digest(self, verdict: Verdict) -> bytes:
        """The EIP-712 digest of a verdict.

        Raises:
            InvalidOrder: a field cannot be one.
        """
        hashes = (verdict.key, verdict.model_hash, verdict.report_hash)
        if any(len(value) != 32 for value in hashes) or not 0 < verdict.attempt <= MAX_TRIES:
            raise InvalidOrder("bad_verdict", "The verdict is malformed.")
        domain = Domain(
            name=_DOMAIN_NAME,
            chain_id=self._chain.params.chain_id,
            contract=self._chain.contract("ModelEscrow"),
        )
        members = (verdict.key, verdict.model_hash, word(verdict.attempt), word(verdict.passed))
        return digest(domain, _ASSESSMENT, *members, verdict.report_hash)

    def order(self, *, payer: str, buyer: str, request_hash: bytes) -> ModelOrder:
        """The order of a request as the chain has it; state `none` when it was never paid for."""
        return self.order_by_key(model_order_key(payer=payer, buyer=buyer, request_hash=request_hash))

    def order_by_key(self, key: bytes) -> ModelOrder:
        """The order under a key."""
        values = self._chain.view_struct("ModelEscrow", "orders", key)
        arbiter = str(values["arbiter"]).lower()
        rules = ModelRules(
            arbiter="" if arbiter == NO_ADDRESS else arbiter,
            deliver_by=values["deliverBy"],
            evaluate_s=values["evaluateS"],
            review_s=values["reviewS"],
            arbiter_s=values["arbiterS"],
            arbiter_fee_bps=values["arbiterFeeBps"],
            tries=values["tries"],
            quorum=values["quorum"],
            evaluators=tuple(str(evaluator).lower() for evaluator in values["evaluators"]),
        )
        seller = str(values["seller"]).lower()
        return ModelOrder(
            key=key,
            state=STATES[values["state"]],
            buyer=str(values["buyer"]).lower(),
            token=str(values["token"]).lower(),
            terms=ModelTerms(seller=seller, amount_micro=values["amount"], rules=rules),
            since=values["since"],
            attempt=values["attempt"],
            model_hash=values["modelHash"],
        )

    def handed_over(self, key: bytes, *, from_block: int = 0) -> list[bytes]:
        """The sealed keys that the seller handed over, oldest first (more than one only after a dispute)."""
        return [bytes(event.args["sealedKey"]) for event in self._events("HandedOver", key, from_block)]

    def assessments(self, key: bytes, *, from_block: int = 0) -> list[Assessed]:
        """The verdicts that the chain has taken, oldest first."""
        return [
            Assessed(
                attempt=event.args["attempt"],
                passed=event.args["passed"],
                reports=tuple(zip(event.args["places"], event.args["reportHashes"], strict=True)),
                block_number=event.block_number,
                tx_hash=event.tx_hash,
            )
            for event in self._events("Assessed", key, from_block)
        ]

    def _events(self, name: str, key: bytes, from_block: int) -> list[Any]:
        topics = [self._abi.topic(name), "0x" + key.hex()]
        head = self._chain.head().number
        return self._chain.events("ModelEscrow", topics, from_block=from_block, to_block=head)

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.contract("ModelEscrow"), data=data, gas=gas, what=what)
