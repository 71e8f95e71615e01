"""Client of `ProviderBond`: the steps, the sentence that oracles sign, the bond as the chain has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eth_hash.auto import keccak

from openstall.ledger.abi import codec
from openstall.ledger.chain import MAX_LOG_RANGE, Chain, TxRequest
from openstall.ledger.credit import CreditClient
from openstall.ledger.escrow import NO_ADDRESS
from openstall.ledger.typed_data import Domain, address_word, digest, word
from openstall.ledger.wallet import Wallet, recover_signer
from openstall.market.errors import IdentityError, InvalidOrder

SINK = "0x000000000000000000000000000000000000dead"
"""Beneficiary where no buyer was wronged: no key opens this address, so nobody gains by a verdict."""
MAX_ORACLES = 16
MIN_DELAY_S, MAX_DELAY_S = 60, 90 * 86_400
_SLASH = keccak(b"Slash(bytes32 bondId,bytes32 caseHash,address beneficiary,uint128 amount)")
_DOMAIN_NAME = "Openstall ProviderBond"
_POST_GAS, _SLASH_GAS = 900_000, 600_000
BondState = Literal["none", "posted", "leaving", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BondTerms:
    """What a provider posts; `oracles` are wallets, in any order. `salt` has 32 bytes of the provider's."""

    provider: str
    amount_micro: int
    oracles: tuple[str, ...]
    quorum: int
    unlock_delay_s: int
    salt: bytes

    @property
    def ordered(self) -> tuple[str, ...]:
        """The oracles as the contract keeps them: lower case, ascending."""
        return tuple(sorted(oracle.lower() for oracle in self.oracles))


@dataclass(frozen=True, slots=True, kw_only=True)
class BondOnChain:
    """A bond; `unlock_at` is 0 until the provider announces that it leaves, then Unix seconds."""

    bond_id: bytes
    state: BondState
    provider: str
    token: str
    quorum: int
    unlock_delay_s: int
    unlock_at: int
    left_micro: int
    oracles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slashed:
    """A case for which a bond has paid; `provider` in lower case, `at` the time of its block."""

    bond_id: bytes
    case_hash: bytes
    provider: str
    amount_micro: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What an oracle signs: this case costs this bond that much, for that beneficiary."""

    bond_id: bytes
    case_hash: bytes
    beneficiary: str
    amount_micro: int


class BondClient:
    """Requests and readings on the bonds of one chain. Thread-safe.

    Every method raises ChainError `no_bonds` on a chain that was made without the contract.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._abi = codec("ProviderBond")

    def bond_id(self, terms: BondTerms) -> bytes:
        """The bond's identity; it commits to every term but the amount."""
        oracles = terms.ordered
        packed = [word(32), word(len(oracles)), *(address_word(oracle) for oracle in oracles)]
        members = (
            word(self._chain.params.chain_id),
            address_word(self._chain.contract("ProviderBond")),
            address_word(terms.provider),
            address_word(self._chain.params.credit),
            keccak(b"".join(packed)),
            word(terms.quorum),
            word(terms.unlock_delay_s),
            terms.salt,
        )
        return bytes(keccak(b"".join(members)))

    def post(self, wallet: Wallet, terms: BondTerms) -> TxRequest:
        """Pay in, in one transaction, with an allowance signed for exactly this amount.

        Raises:
            InvalidOrder: the wallet is not the provider's.
        """
        if wallet.address.lower() != terms.provider.lower():
            raise InvalidOrder("wrong_signer", "A bond is posted from the provider's own wallet.")
        contract, token = self._chain.contract("ProviderBond"), self._chain.params.credit
        permit = CreditClient(self._chain).sign_permit(wallet, contract, terms.amount_micro)
        args = (token, terms.amount_micro, terms.ordered, terms.quorum, terms.unlock_delay_s, terms.salt)
        return self._request("post", _POST_GAS, "post a bond", *args, permit)

    def announce(self, bond_id: bytes) -> TxRequest:
        """The provider announces that it takes the bond back."""
        return self._request("announce", 100_000, "announce that the bond is taken back", bond_id)

    def withdraw(self, bond_id: bytes) -> TxRequest:
        """What is left goes back to the provider, after the announced date."""
        return self._request("withdraw", 200_000, "take the bond back", bond_id)

    def slash(self, sentence: Sentence, signatures: Sequence[tuple[int, bytes]]) -> TxRequest:
        """Bring the signatures, each with its signer's place among the oracles."""
        ordered = sorted(signatures)
        places, signed = [place for place, _ in ordered], [signature for _, signature in ordered]
        fields = (sentence.bond_id, sentence.case_hash, sentence.beneficiary, sentence.amount_micro)
        return self._request("slash", _SLASH_GAS, "make a bond pay", *fields, places, signed)

    def sign(self, wallet: Wallet, sentence: Sentence) -> bytes:
        """An oracle's signature on a sentence."""
        return wallet.sign_digest(self.digest(sentence))

    def signer(self, sentence: Sentence, signature: bytes) -> str:
        """The wallet that signed a sentence, lower case.

        Raises:
            InvalidOrder: not a signature.
        """
        try:
            return recover_signer(self.digest(sentence), signature).lower()
        except IdentityError as error:
            raise InvalidOrder("bad_signature", "The oracle's signature is malformed.") from error

    def digest(self, sentence: Sentence) -> bytes:
        """The EIP-712 digest of a sentence.

        Raises:
            InvalidOrder: a field cannot be one.
        """
        if len(sentence.bond_id) != 32 or len(sentence.case_hash) != 32:
            raise InvalidOrder("bad_case", "The case or the bond is malformed.")
        if not 0 < sentence.amount_micro < 2**128:
            raise InvalidOrder("bad_amount", "The amount of the case is malformed.")
        domain = Domain(
            name=_DOMAIN_NAME,
            chain_id=self._chain.params.chain_id,
            contract=self._chain.contract("ProviderBond"),
        )
        members = (sentence.bond_id, sentence.case_hash, address_word(sentence.beneficiary))
        return digest(domain, _SLASH, *members, word(sentence.amount_micro))

    def bond(self, bond_id: bytes) -> BondOnChain:
        """The bond as the chain has it; state `none` when it was never posted."""
        seen = self._chain.view("ProviderBond", "bonds", bond_id)
        values = dict(zip(self._abi.outputs("bonds"), seen, strict=True))
        provider = str(values["provider"]).lower()
        state: BondState = "leaving" if values["unlockAt"] else "posted"
        if values["closed"]:
            state = "closed"
        if provider == NO_ADDRESS:
            state = "none"
        return BondOnChain(
            bond_id=bond_id,
            state=state,
            provider=provider,
            token=str(values["token"]).lower(),
            quorum=values["quorum"],
            unlock_delay_s=values["unlockDelayS"],
            unlock_at=values["unlockAt"],
            left_micro=values["left"],
            oracles=tuple(str(oracle).lower() for oracle in values["oracles"]),
        )

    def settled(self, bond_id: bytes, case_hash: bytes) -> bool:
        """Whether a case was paid already."""
        return bool(self._chain.view("ProviderBond", "settled", bond_id, case_hash)[0])

    def paid_micro(self, bond_id: bytes, case_hash: bytes) -> int:
        """What a bond has paid for a case that is `settled`, which it pays once; 0 where the logs lack it.

        The newest blocks are looked at first: a case is settled not long before somebody asks.
        """
        topics = [self._abi.topic("Slashed"), "0x" + bond_id.hex()]
        for last in range(self._chain.head().number, -1, -MAX_LOG_RANGE):
            first = max(0, last - MAX_LOG_RANGE + 1)
            for event in self._chain.events("ProviderBond", topics, from_block=first, to_block=last):
                if event.args["caseHash"] == case_hash:
                    return int(event.args["amount"])
        return 0

    def slashed(self, from_block: int, to_block: int) -> list[Slashed]:
        """All cases that bonds have paid for in `[from_block, to_block]`, oldest first."""
        events = self._chain.events("ProviderBond", [], from_block=from_block, to_block=to_block)
        return [
            Slashed(
                bond_id=event.args["bondId"],
                case_hash=event.args["caseHash"],
                provider=str(event.args["provider"]).lower(),
                amount_micro=event.args["amount"],
                at=self._chain.block(event.block_number).timestamp,
            )
            for event in events
            if event.name == "Slashed"
        ]

    def _request(self, function: str, gas: int, what: str, *args: object) -> TxRequest:
        data = self._abi.call_data(function, *args)
        return TxRequest(to=self._chain.contract("ProviderBond"), data=data, gas=gas, what=what)
