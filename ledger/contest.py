"""Client of `Contest`: entries, the ranking that evaluators sign, prizes against keys, the contest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eth_hash.auto import keccak

from openstall.ledger.abi import Event, codec
from openstall.ledger.chain import Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import MAX_SEALED_KEY_BYTES
from openstall.ledger.typed_data import Domain, address_word, digest, word
from openstall.ledger.wallet import Wallet, recover_signer
from openstall.market.errors import IdentityError, InvalidOrder

ContestState = Literal["none", "open", "judged", "void", "closed"]
EntryState = Literal["none", "over", "barred", "entered"]
_STATES: tuple[ContestState, ...] = ("none", "open", "judged", "void", "closed")
_MARKS: dict[bytes, EntryState] = {word(0): "none", word(1): "over", word(2): "barred"}
_RANKING = keccak(b"Ranking(bytes32 id,bytes32 root,uint128 total)")
_SHEET = keccak(b"Sheet(bytes32 id,bytes32 sheetHash)")
_DOMAIN_NAME = "Openstall Contest"
_OPEN_GAS, _JUDGE_GAS = 1_500_000, 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestTerms:
    """What a requester offers; `weights_bps` are the shares of the places, none: in proportion to quality."""

    pool_micro: int
    deposit_micro: int
    entry_by: int
    judge_by: int
    review_s: int
    quorum: int
    evaluators: tuple[str, ...]
    weights_bps: tuple[int, ...]

    @property
    def ordered(self) -> tuple[str, ...]:
        """The evaluators as the contract keeps them: lower case, ascending."""
        return tuple(sorted(evaluator.lower() for evaluator in self.evaluators))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestOnChain:
    """A contest; `total_micro` is what its ranking gives, `since` when its state began."""

    contest_id: bytes
    state: ContestState
    requester: str
    token: str
    pool_micro: int
    deposit_micro: int
    entry_by: int
    judge_by: int
    review_s: int
    quorum: int
    evaluators: tuple[str, ...]
    entries: int
    root: bytes
    total_micro: int
    claimed_micro: int
    since: int

    @property
    def claim_by(self) -> int | None:
        """Until when winners may hand over their models; None before the ranking."""
        return self.since + self.review_s if self.state == "judged" else None

    @property
    def deadline_at(self) -> int | None:
        """After this second anyone may close it; None in a final state."""
        return {
            "open": self.judge_by + self.review_s,
            "judged": self.since + 2 * self.review_s,
        }.get(self.state)

    def matches(self, *, requester: str, terms: ContestTerms, token: str) -> bool:
        """Whether the chain holds what the request says (the weights are the evaluators' matter)."""
        return (
            (self.requester, self.token) == (requester.lower(), token.lower())
            and (self.pool_micro, self.deposit_micro) == (terms.pool_micro, terms.deposit_micro)
            and (self.entry_by, self.judge_by) == (terms.entry_by, terms.judge_by)
            and (self.review_s, self.quorum) == (terms.review_s, terms.quorum)
            and self.evaluators == terms.ordered
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySeen:
    """An entry as the chain's log shows it."""

    entrant: str
    model_hash: bytes
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prize:
    """A prize that was taken, with the sealed key that was handed over for it."""

    entrant: str
    amount_micro: int
    sealed_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What the evaluators sign: a tree over every entrant's prize, and the sum of the prizes."""

    contest_id: bytes
    prizes: tuple[tuple[str, int], ...]
    root: bytes
    total_micro: int
    proofs: Mapping[str, tuple[bytes, ...]]


def contest_id(requester: str, request_hash: bytes) -> bytes:
    """The contest's name on chain: bound to its requester, so that nobody else can occupy it.

    Raises:
        InvalidOrder: a malformed address or hash.
    """
    if len(request_hash) != 32:
        raise InvalidOrder("bad_request_hash", "The hash of the request must have 32 bytes.")
    return bytes(keccak(address_word(requester) + request_hash))


def ranking(found_id: bytes, prizes: Mapping[str, int]) -> Ranking:
    """The tree over `prizes` (micro-credits by entrant, 0 for those who only get their deposit back).

    Pairs are hashed in order of size and an odd node moves up, as OpenZeppelin's proofs expect.

    Raises:
        InvalidOrder: nobody is in it, or an amount cannot be one.
    """
    if not prizes or any(not 0 <= amount < 2**128 for amount in prizes.values()):
        raise InvalidOrder("bad_ranking", "The ranking is malformed.")
    amounts = {entrant.lower(): amount for entrant, amount in prizes.items()}
    leaves = {entrant: _leaf(found_id, entrant, amount) for entrant, amount in amounts.items()}
    proofs: dict[str, list[bytes]] = {entrant: [] for entrant in amounts}
    level: list[tuple[bytes, tuple[str, ...]]] = sorted(
        (leaf, (entrant,)) for entrant, leaf in leaves.items()
    )
    while len(level) > 1:
        above: list[tuple[bytes, tuple[str, ...]]] = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            for node, other in ((left, right), (right, left)):
                for entrant in node[1]:
                    proofs[entrant].append(other[0])
            pair = min(left[0], right[0]) + max(left[0], right[0])
            above.append((bytes(keccak(pair)), left[1] + right[1]))
        level = above + (level[-1:] if len(level) % 2 else [])
    return Ranking(
        contest_id=found_id,
        prizes=tuple(sorted(amounts.items())),
        root=level[0][0],
        total_micro=sum(amounts.values()),
        proofs={entrant: tuple(proof) for entrant, proof in proofs.items()},
    )


class ContestClient:
    """Requests and readings on the contests of one chain. Thread-safe.

    Every method raises ChainError `no_requests` on a chain that was made without the contract.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("Contest")

    def open(
        self, wallet: Wallet, request_hash: bytes, terms: ContestTerms, *, pay_by: int | None = None
    ) -> TxRequest:
        """The requester opens, and pays the whole pool in with an allowance signed for exactly it."""
        packed = (
            self._chain.params.credit,
            terms.pool_micro,
            terms.deposit_micro,
            terms.entry_by,
            terms.judge_by,
            terms.review_s,
            terms.quorum,
            terms.ordered,
            terms.weights_bps,
        )
        permit = self._permit(wallet, terms.pool_micro, pay_by)
        return self._request("open", _OPEN_GAS, "open the contest", request_hash, packed, permit)

    def enter(
        self,
        wallet: Wallet,
        found_id: bytes,
        model_hash: bytes,
        *,
        deposit_micro: int,
        pay_by: int | None = None,
    ) -> TxRequest:
        """Enter a model, with the deposit."""
        permit = self._permit(wallet, deposit_micro, pay_by)
        return self._request("enter", 300_000, "enter the contest", found_id, model_hash, permit)

    def judge(self, found: Ranking, signatures: Sequence[tuple[int, bytes]]) -> TxRequest:
        """Bring the signatures, each with its signer's place among the evaluators."""
        ordered = sorted(signatures)
        places, signed = [place for place, _ in ordered], [signature for _, signature in ordered]
        args = (found.contest_id, found.root, found.total_micro, places, signed)
        return self._request("judge", _JUDGE_GAS, "bring the ranking", *args)

    def claim(self, found: Ranking, entrant: str, sealed_key: bytes) -> TxRequest:
        """Hand the sealed key over and take the prize and the deposit (without a prize: no key).

        Raises:
            InvalidOrder: not in the ranking, or the key is missing or too large.
        """
        amount, proof = self._place(found, entrant)
        if len(sealed_key) > MAX_SEALED_KEY_BYTES or (amount and not sealed_key):
            raise InvalidOrder("bad_delivery", "The sealed key is empty or too large.")
        return self._request("claim", 400_000, "claim the prize", found.contest_id, amount, proof, sealed_key)

    def forfeit(self, found: Ranking, entrant: str) -> TxRequest:
        """Show that a winner did not hand its model over.

        Raises:
            InvalidOrder: not in the ranking.
        """
        amount, proof = self._place(found, entrant)
        return self._request(
            "forfeit", 300_000, "have the deposit forfeited", found.contest_id, entrant, amount, proof
        )

    def close(self, found_id: bytes) -> TxRequest:
        """Give the requester what was not claimed."""
        return self._request("close", 200_000, "close the contest", found_id)

    def withdraw(self, found_id: bytes, entrant: str) -> TxRequest:
        """Send a deposit back to its entrant once the contest is over."""
        return self._request("withdraw", 200_000, "take the deposit back", found_id, entrant)

    def sign(self, wallet: Wallet, found: Ranking) -> bytes:
        """An evaluator's signature on a ranking."""
        return wallet.sign_digest(self.digest(found))

    def signer(self, found: Ranking, signature: bytes) -> str:
        """The wallet that signed a ranking, lower case.

        Raises:
            InvalidOrder: not a signature.
        """
        return _signer(self.digest(found), signature)

    def sign_sheet(self, wallet: Wallet, found_id: bytes, sheet_hash: bytes) -> bytes:
        """An evaluator's signature on its statements about all entries; no contract reads it."""
        return wallet.sign_digest(digest(self._domain(), _SHEET, found_id, sheet_hash))

    def sheet_signer(self, found_id: bytes, sheet_hash: bytes, signature: bytes) -> str:
        """The wallet that signed a sheet, lower case.

        Raises:
            InvalidOrder: not a signature.
        """
        return _signer(digest(self._domain(), _SHEET, found_id, sheet_hash), signature)

    def digest(self, found: Ranking) -> bytes:
        """The EIP-712 digest of a ranking.

        Raises:
            InvalidOrder: a field cannot be one.
        """
        if len(found.contest_id) != 32 or len(found.root) != 32 or not 0 <= found.total_micro < 2**128:
            raise InvalidOrder("bad_ranking", "The ranking is malformed.")
        return digest(self._domain(), _RANKING, found.contest_id, found.root, word(found.total_micro))

    def contest(self, found_id: bytes) -> ContestOnChain:
        """The contest as the chain has it; state `none` when it was never opened."""
        values = self._chain.view_struct("Contest", "competitions", found_id)
        return ContestOnChain(
            contest_id=found_id,
            state=_STATES[values["state"]],
            requester=str(values["requester"]).lower(),
            token=str(values["token"]).lower(),
            pool_micro=values["pool"],
            deposit_micro=values["deposit"],
            entry_by=values["entryBy"],
            judge_by=values["judgeBy"],
            review_s=values["reviewS"],
            quorum=values["quorum"],
            evaluators=tuple(str(evaluator).lower() for evaluator in values["evaluators"]),
            entries=values["entries"],
            root=values["root"],
            total_micro=values["total"],
            claimed_micro=values["claimed"],
            since=values["since"],
        )

    def entry_state(self, found_id: bytes, entrant: str) -> EntryState:
        """How far an entry is; `barred` for evaluators, who cannot enter."""
        mark = bytes(self._chain.view("Contest", "entries", found_id, entrant)[0])
        return _MARKS.get(mark, "entered")

    def entries(self, found_id: bytes, *, from_block: int = 0) -> list[EntrySeen]:
        """All entries in the order in which they were made."""
        return [
            EntrySeen(
                entrant=str(event.args["entrant"]).lower(),
                model_hash=event.args["modelHash"],
                block_number=event.block_number,
            )
            for event in self._events("Entered", found_id, from_block)
        ]

    def prizes(self, found_id: bytes, *, from_block: int = 0) -> list[Prize]:
        """The prizes that were taken, with the keys that were handed over, oldest first."""
        return [
            Prize(
                entrant=str(event.args["entrant"]).lower(),
                amount_micro=event.args["amount"],
                sealed_key=event.args["sealedKey"],
            )
            for event in self._events("Claimed", found_id, from_block)
        ]

    def _place(self, found: Ranking, entrant: str) -> tuple[int, tuple[bytes, ...]]:
        amounts = dict(found.prizes)
        if entrant.lower() not in amounts:
            raise InvalidOrder("not_in_ranking", "That wallet is not in the ranking.")
        return amounts[entrant.lower()], found.proofs[entrant.lower()]

    def _domain(self) -> Domain:
        return Domain(
            name=_DOMAIN_NAME,
            chain_id=self._chain.params.chain_id,
            contract=self._chain.contract("Contest"),
        )

    def _events(self, name: str, found_id: bytes, from_block: int) -> list[Event]:
        topics: list[Any] = [self._abi.topic(name), "0x" + found_id.hex()]
        head = self._chain.head().number
        return self._chain.events("Contest", topics, from_block=from_block, to_block=head)

    def _permit(self, wallet: Wallet, amount_micro: int, pay_by: int | None) -> tuple[int, int, bytes, bytes]:
        contract = self._chain.contract("Contest")
        return CreditClient(self._chain).sign_permit(wallet, contract, amount_micro, pay_by=pay_by)

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.contract("Contest"), data=data, gas=gas, what=what)


def _leaf(found_id: bytes, entrant: str, amount: int) -> bytes:
    """Hashed twice, so that no inner node can pass for a leaf."""
    return bytes(keccak(keccak(found_id + address_word(entrant) + word(amount))))


def _signer(signed: bytes, signature: bytes) -> str:
    try:
        return recover_signer(signed, signature).lower()
    except IdentityError as error:
        raise InvalidOrder("bad_signature", "The evaluator's signature is malformed.") from error
