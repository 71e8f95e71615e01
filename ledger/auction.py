"""Client of `SealedBidAuction`: opening, sealed bids, their opening, the price, and what the chain says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from eth_abi.abi import encode
from eth_hash.auto import keccak

from openstall.ledger.abi import Event, codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import NO_ADDRESS
from openstall.ledger.model_escrow import ModelRules
from openstall.ledger.typed_data import address_word, word
from openstall.ledger.wallet import Wallet
from openstall.market.errors import ChainError, InvalidOrder

AuctionState = Literal["none", "open", "settled", "void", "awarded", "expired"]
"""As the contract numbers them."""
BidState = Literal["none", "sealed", "opened", "paid_back", "barred"]
_STATES: tuple[AuctionState, ...] = get_args(AuctionState)
_MARKS: dict[bytes, BidState] = {
    word(0): "none",
    word(1): "opened",
    word(2): "paid_back",
    word(3): "barred",
}
_RULES = "(address,uint64,uint32,uint32,uint32,uint16,uint8,uint8,address[])"
_OPEN_GAS, _AWARD_GAS = 1_500_000, 1_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionTerms:
    """What a requester offers; `_by` are Unix seconds."""

    budget_micro: int
    deposit_micro: int
    commit_by: int
    reveal_by: int
    rules: ModelRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """A bid that is not sealed; `salt` has 32 bytes that only its bidder knows until it is opened."""

    bidder: str
    amount_micro: int
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionOnChain:
    """An auction; `winner` is empty and the price the budget as long as no bid was opened."""

    key: bytes
    state: AuctionState
    requester: str
    token: str
    escrow: str
    budget_micro: int
    deposit_micro: int
    commit_by: int
    reveal_by: int
    deliver_by: int
    sealed_bids: int
    winner: str
    best_micro: int
    price_micro: int
    rules_hash: bytes

    @property
    def deadline_at(self) -> int | None:
        """After this second anyone may settle (open) or expire (settled) it; None in a final state."""
        return {"open": self.reveal_by, "settled": self.deliver_by}.get(self.state)

    def matches(self, *, requester: str, terms: AuctionTerms, token: str, escrow: str) -> bool:
        """Whether the chain holds exactly what the request says, in our money and with our escrow."""
        return (
            (self.requester, self.token, self.escrow) == (requester.lower(), token.lower(), escrow.lower())
            and (self.budget_micro, self.deposit_micro) == (terms.budget_micro, terms.deposit_micro)
            and (self.commit_by, self.reveal_by) == (terms.commit_by, terms.reveal_by)
            and self.deliver_by == terms.rules.deliver_by
            and self.rules_hash == rules_hash(terms.rules)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BidSeen:
    """A bid as the chain's log shows it; `amount_micro` is None until it is opened."""

    bidder: str
    commitment: bytes
    amount_micro: int | None
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedAuction:
    """What the chain's log says of an auction's beginning."""

    key: bytes
    requester: str
    request_hash: bytes
    token: str
    escrow: str
    terms: AuctionTerms
    block_number: int


def auction_key(requester: str, request_hash: bytes) -> bytes:
    """The auction's name on chain: bound to its requester, so that nobody else can occupy it.

    Raises:
        InvalidOrder: a malformed address or hash.
    """
    if len(request_hash) != 32:
        raise InvalidOrder("bad_request_hash", "The hash of the request must have 32 bytes.")
    return bytes(keccak(address_word(requester) + request_hash))


def bid_commitment(*, chain_id: int, contract: str, key: bytes, bid: Bid) -> bytes:
    """What a bidder puts on the chain: it binds chain, contract, auction, bidder, amount and salt.

    Raises:
        InvalidOrder: a member is malformed.
    """
    if len(key) != 32 or len(bid.salt) != 32 or not 0 < bid.amount_micro < 2**128:
        raise InvalidOrder("bad_bid", "The bid is malformed.")
    members = (word(chain_id), address_word(contract), key, address_word(bid.bidder))
    return bytes(keccak(b"".join((*members, word(bid.amount_micro), bid.salt))))


def rules_hash(rules: ModelRules) -> bytes:
    """By which an auction keeps the rules that its escrow gets."""
    return bytes(keccak(encode([_RULES], [rules.packed()])))


class AuctionClient:
    """Requests and readings on the auctions of one chain. Thread-safe.

    Every method raises ChainError `no_requests` on a chain that was made without the contract.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("SealedBidAuction")

    def open(
        self, wallet: Wallet, request_hash: bytes, terms: AuctionTerms, *, pay_by: int | None = None
    ) -> TxRequest:
        """The requester opens, and pays its whole budget in with an allowance signed for exactly it."""
        token, rules = self._chain.params.credit, terms.rules.packed()
        escrow = self._chain.contract("ModelEscrow")
        money, times = (terms.budget_micro, terms.deposit_micro), (terms.commit_by, terms.reveal_by)
        packed = (token, escrow, *money, *times, rules)
        permit = self._permit(wallet, terms.budget_micro, pay_by)
        return self._request("open", _OPEN_GAS, "open the auction", request_hash, packed, permit)

    def commit(
        self, wallet: Wallet, key: bytes, bid: Bid, *, deposit_micro: int, pay_by: int | None = None
    ) -> TxRequest:
        """A sealed bid with its deposit.

        Raises:
            InvalidOrder: the bid is another's, or malformed.
        """
        if wallet.address.lower() != bid.bidder.lower():
            raise InvalidOrder("wrong_signer", "A bid is made from the bidder's own wallet.")
        commitment = self.commitment(key, bid)
        permit = self._permit(wallet, deposit_micro, pay_by)
        return self._request("commit", 300_000, "bid", key, commitment, permit)

    def reveal(self, key: bytes, bid: Bid) -> TxRequest:
        """Open a bid, one's own or another's; its deposit goes back with it."""
        return self._request("reveal", 300_000, "open the bid", key, bid.bidder, bid.amount_micro, bid.salt)

    def settle(self, key: bytes) -> TxRequest:
        """End the auction once the time for opening bids is over."""
        return self._request("settle", 200_000, "settle the auction", key)

    def award(self, requester: str, request_hash: bytes, rules: ModelRules) -> TxRequest:
        """Pay the price into the escrow, and the rest of the budget back."""
        args = (requester, request_hash, rules.packed())
        return self._request("award", _AWARD_GAS, "award the order", *args)

    def expire(self, key: bytes) -> TxRequest:
        """Give the budget back where nobody awarded in time."""
        return self._request("expire", 200_000, "give the budget back", key)

    def withdraw(self, key: bytes, bidder: str) -> TxRequest:
        """Send a deposit back to its bidder, where no bid was opened."""
        return self._request("withdraw", 200_000, "take the deposit back", key, bidder)

    def commitment(self, key: bytes, bid: Bid) -> bytes:
        """The commitment to a bid in this chain's contract."""
        contract = self._chain.contract("SealedBidAuction")
        return bid_commitment(chain_id=self._chain.params.chain_id, contract=contract, key=key, bid=bid)

    def auction(self, key: bytes) -> AuctionOnChain:
        """The auction as the chain has it; state `none` when it was never opened."""
        values = self._chain.view_struct("SealedBidAuction", "auctions", key)
        winner = str(values["winner"]).lower()
        return AuctionOnChain(
            key=key,
            state=_STATES[values["state"]],
            requester=str(values["requester"]).lower(),
            token=str(values["token"]).lower(),
            escrow=str(values["escrow"]).lower(),
            budget_micro=values["budget"],
            deposit_micro=values["deposit"],
            commit_by=values["commitBy"],
            reveal_by=values["revealBy"],
            deliver_by=values["deliverBy"],
            sealed_bids=values["sealedBids"],
            winner="" if winner == NO_ADDRESS else winner,
            best_micro=values["best"],
            price_micro=values["second"],
            rules_hash=values["rulesHash"],
        )

    def bid_state(self, key: bytes, bidder: str) -> BidState:
        """How far a bid is; `barred` for the arbiter and the evaluators, who cannot bid."""
        mark = bytes(self._chain.view("SealedBidAuction", "bids", key, bidder)[0])
        return _MARKS.get(mark, "sealed")

    def bids(self, key: bytes, *, from_block: int = 0) -> list[BidSeen]:
        """All bids of an auction in the order in which they were made."""
        amounts = {
            str(event.args["bidder"]).lower(): int(event.args["amount"])
            for event in self._events("Revealed", key, from_block)
        }
        return [
            BidSeen(
                bidder=str(event.args["bidder"]).lower(),
                commitment=event.args["commitment"],
                amount_micro=amounts.get(str(event.args["bidder"]).lower()),
                block_number=event.block_number,
            )
            for event in self._events("Committed", key, from_block)
        ]

    def opened(self, key: bytes, *, from_block: int = 0) -> OpenedAuction:
        """How an auction was opened, with the rules that `award` needs.

        Raises:
            ChainError: `no_auction`, it was never opened.
        """
        found = self._events("Opened", key, from_block)
        if not found:
            raise ChainError("no_auction", "There is no such auction on this chain.")
        args = found[0].args
        token, escrow, budget, deposit, commit_by, reveal_by, rules = args["terms"]
        terms = AuctionTerms(
            budget_micro=budget,
            deposit_micro=deposit,
            commit_by=commit_by,
            reveal_by=reveal_by,
            rules=_rules_of(rules),
        )
        return OpenedAuction(
            key=key,
            requester=str(args["requester"]).lower(),
            request_hash=args["requestHash"],
            token=str(token).lower(),
            escrow=str(escrow).lower(),
            terms=terms,
            block_number=found[0].block_number,
        )

    def _events(self, name: str, key: bytes, from_block: int) -> list[Event]:
        topics: list[Any] = [self._abi.topic(name), "0x" + key.hex()]
        head = self._chain.head().number
        return self._chain.events("SealedBidAuction", topics, from_block=from_block, to_block=head)

    def _permit(self, wallet: Wallet, amount_micro: int, pay_by: int | None) -> tuple[int, int, bytes, bytes]:
        contract = self._chain.contract("SealedBidAuction")
        return CreditClient(self._chain).sign_permit(wallet, contract, amount_micro, pay_by=pay_by)

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.contract("SealedBidAuction"), data=data, gas=gas, what=what)


def _rules_of(packed: tuple[Any, ...]) -> ModelRules:
    arbiter, deliver_by, evaluate_s, review_s, arbiter_s, fee_bps, tries, quorum, evaluators = packed
    return ModelRules(
        arbiter="" if arbiter == NO_ADDRESS else str(arbiter).lower(),
        deliver_by=deliver_by,
        evaluate_s=evaluate_s,
        review_s=review_s,
        arbiter_s=arbiter_s,
        arbiter_fee_bps=fee_bps,
        tries=tries,
        quorum=quorum,
        evaluators=tuple(str(evaluator).lower() for evaluator in evaluators),
    )
