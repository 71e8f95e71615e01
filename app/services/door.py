"""The catalogue's door: every record from anybody is checked here before it is stored.

Beyond form, clock and signature (`market.records`), a record must fit the group's chain: a listing that
names another escrow could take a buyer's money where no rule of ours holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from openstall.app.clock import Clock
from openstall.ledger import binding
from openstall.ledger.chain import ChainParams
from openstall.market.contradictions import is_proof, parse_proof
from openstall.market.errors import IdentityError, InvalidRecord
from openstall.market.fields import Body
from openstall.market.records import (
    Binding,
    Capacity,
    Listing,
    Offer,
    Peer,
    SignedRecord,
    Tombstone,
    parse_record,
)
from openstall.market.requests.bodies import DeveloperBody, RequestBody
from openstall.store.contradictions import proof_row
from openstall.store.live_tree import LiveTree
from openstall.store.records import NewRecord, Outcome, Records, Taken

REFUSALS = (Outcome.QUOTA, Outcome.PEER_QUOTA, Outcome.NO_ROOM)

PEER_KEY = "self"
"""The one key of `peer` and `developer` records: a peer has one description of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What became of a batch."""

    outcomes: list[str | InvalidRecord]
    """Each one's address or why it was refused, in order."""
    new: list[SignedRecord]
    """Those that are new and live."""
    contradicted: list[str]
    """Authors of whom it is now known that they contradicted themselves."""


class Door:
    """Checks and stores for one group; also what the peers' sync reads. Blocks; thread-safe."""

    def __init__(
        self,
        *,
        records: Records,
        params: ChainParams,
        network: str,
        clock: Clock,
        fetched: Callable[[str], None] = lambda _cid: None,
    ) -> None:
        """`fetched` hears of each record that a peer was given."""
        self._fetched = fetched
        self._records = records
        self._params = params
        self._network = network
        self._clock = clock

    def admit(self, raws: Sequence[bytes], *, brought_by: str = "") -> Admitted:
        """Check and store what a peer has brought, or we ourselves: records, and proofs of contradiction."""
        outcomes: list[str | InvalidRecord] = []
        good: dict[int, SignedRecord] = {}
        contradicted: list[str] = []
        for place, raw in enumerate(raws):
            try:
                if is_proof(raw):
                    outcomes.append(self._admit_proof(raw, contradicted))
                else:
                    signed = good[place] = self.check(raw)
                    outcomes.append(signed.cid)
            except InvalidRecord as error:
                outcomes.append(error)
        taken = self.take(list(good.values()), brought_by=brought_by)
        for place, outcome in zip(good, taken.outcomes, strict=True):
            if outcome in REFUSALS:
                outcomes[place] = refusal(outcome)
        new = [one for one, what in zip(good.values(), taken.outcomes, strict=True) if what is Outcome.NEW]
        return Admitted(outcomes=outcomes, new=new, contradicted=[*contradicted, *taken.contradicted])

    def _admit_proof(self, raw: bytes, contradicted: list[str]) -> str:
        now = self._clock.now()
        proof = parse_proof(raw, network=self._network, now=now)
        if self._records.take_proof(self._network, proof_row(proof, now=now)):
            contradicted.append(proof.author)
        return proof.cid

    def check(self, raw: bytes) -> SignedRecord:
        """Everything that can be checked of a record by itself.

        Raises:
            InvalidRecord: with the code of the first check that failed.
        """
        signed = parse_record(raw, network=self._network, now=self._clock.now())
        match signed.body:
            case Listing():
                self._fits_chain(signed.body.chain_id, signed.body.escrow, self._params.escrow)
            case Offer():
                self._fits_chain(signed.body.chain_id, signed.body.channel, self._params.channel)
            case Capacity():
                self._fits_chain(signed.body.chain_id, "", "")
            case RequestBody():
                self._check_request(signed.body)
            case DeveloperBody():
                self._fits_chain(signed.body.chain_id, "", "")
                if signed.record.key != PEER_KEY:
                    raise InvalidRecord("bad_key", f"A developer has one card, under the key “{PEER_KEY}”.")
            case Peer():
                self._fits_chain(signed.body.chain_id, "", "")
                self._check_peer(signed, signed.body)
        return signed

    def take(self, signed: Sequence[SignedRecord], *, brought_by: str = "") -> Taken:
        """Store checked records in one transaction."""
        rows = [new_record(one) for one in signed]
        return self._records.take(rows, now=self._clock.now(), brought_by=brought_by)

    # What peers read

    def lacking(self, cids: Sequence[str]) -> Sequence[str]:
        """Which of these are neither held nor were removed for want of room."""
        return self._records.lacking(cids, now=self._clock.now())

    def bodies(self, cids: Sequence[str]) -> Mapping[str, bytes]:
        """The wire bytes of records and proofs."""
        found = self._records.raws(cids)
        for cid in found:
            self._fetched(cid)
        return found

    def root(self) -> bytes:
        """The digest of everything that is live."""
        return self._tree().root()

    def branches(self) -> bytes:
        """The digests of the branches."""
        return self._tree().branches()

    def leaves(self, branch: int) -> bytes:
        """The digests of a branch's leaves."""
        return self._tree().leaves(branch)

    def cids(self, first: int, last: int, *, after: str, limit: int) -> Sequence[str]:
        """The live addresses in a run of leaves."""
        return self._records.cids_between(
            self._network, first, last, after=after, limit=limit, now=self._clock.now()
        )

    def gaps(self) -> Sequence[str]:
        """What others name as their predecessors and is not held."""
        return self._records.gaps(self._network)

    def _tree(self) -> LiveTree:
        return self._records.tree(self._network, now=self._clock.now())

    def _fits_chain(self, chain_id: int, contract: str, expected: str) -> None:
        if chain_id != self._params.chain_id or contract.lower() != expected.lower():
            raise InvalidRecord("other_chain", "The record names another chain or contract than the group's.")

    def _check_request(self, body: RequestBody) -> None:
        """A deposit goes to no contract but the group's own."""
        params = self._params
        houses = ((body.auction, params.auction), (body.escrow, params.model_escrow))
        for named, ours in ((body.contest, params.contest),) if body.contest else houses:
            self._fits_chain(body.chain_id, named, ours)

    def _check_peer(self, signed: SignedRecord, body: Peer) -> None:
        if signed.record.key != PEER_KEY:
            raise InvalidRecord("bad_key", f"A peer describes itself under the key “{PEER_KEY}”.")
        try:
            binding.verify_binding(
                as_ledger_binding(body, signed.record.author),
                chain_id=self._params.chain_id,
                now=self._clock.now(),
            )
        except IdentityError as error:
            raise InvalidRecord("bad_binding", error.message) from error


def refusal(outcome: Outcome) -> InvalidRecord:
    """Why a good record was not stored."""
    words = {
        Outcome.QUOTA: "Its author has published as many records of this kind as a catalogue holds.",
        Outcome.PEER_QUOTA: "The peer that sent it has sent as many records of strangers as one peer may.",
        Outcome.NO_ROOM: "The room for the catalogue on this computer is used up.",
    }
    return InvalidRecord(str(outcome), words[outcome])


def as_ledger_binding(body: Peer, peer_id: str) -> binding.Binding:
    """The binding inside a peer record in the form that the ledger checks."""
    return binding.Binding(
        wallet=body.wallet,
        peer_id=peer_id,
        nonce=body.binding.nonce,
        expires=body.binding.expires,
        chain_id=body.chain_id,
        wallet_sig=body.binding.wallet_signature,
        peer_sig=body.binding.peer_signature,
    )


def as_record_binding(made: binding.Binding) -> Binding:
    """The ledger's binding in the form of a peer record."""
    return Binding(
        nonce=made.nonce,
        expires=made.expires,
        wallet_signature=made.wallet_sig,
        peer_signature=made.peer_sig,
    )


def new_record(signed: SignedRecord) -> NewRecord:
    """The row of a checked record, with the words to find it by."""
    record = signed.record
    title, words = found_by(signed.body)
    target = None
    if isinstance(signed.body, Tombstone):
        target = (signed.body.target_type, signed.body.target_key)
    return NewRecord(
        cid=signed.cid,
        network=record.network,
        type=record.type,
        author=record.author,
        key=record.key,
        seq=record.seq,
        issued=record.issued,
        expires=record.expires,
        raw=signed.raw,
        prev=record.prev,
        title=title,
        words=f"{words} {record.author}",
        target=target,
    )


def found_by(body: Body) -> tuple[str, str]:
    """Title and further words of a record, for the full-text index."""
    match body:
        case Listing():
            card = body.card
            texts = [
                body.summary,
                body.licence,
                body.format,
                card.intended_use,
                card.training_data,
                card.limits,
            ]
            texts += [f"{metric.name} {metric.data}" for metric in card.metrics]
            texts += [file.name for file in body.files]
            return body.title, " ".join(texts)
        case Offer():
            return body.title, " ".join([body.cpu, *body.kinds, *(gpu.name for gpu in body.gpus)])
        case Capacity():
            return f"Capacity of {', '.join(work.device for work in body.works)}", body.runtime
        case RequestBody() | DeveloperBody():
            return body.title, _words_of_order(body)
        case Peer():
            return body.name, body.wallet
    return "", ""


def _words_of_order(body: RequestBody | DeveloperBody) -> str:
    if isinstance(body, DeveloperBody):
        return " ".join([body.skills, *body.tasks])
    texts = [body.summary, body.task, body.metric, body.licence, body.target]
    return " ".join([*texts, *body.classes, *body.features, *body.evaluators])
