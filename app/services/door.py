"""The catalogue's door: every record from anybody is checked here before it is stored.

Beyond form, clock and signature (`market.records`), a record must fit the group's chain: a listing that
names another escrow could take a buyer's money where no rule of ours holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from openstall.app.clock import Clock
from openstall.ledger import binding
from openstall.ledger.chain import ChainParams
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
from openstall.store.records import NewRecord, Outcome, Records

PEER_KEY = "self"
"""The one key of `peer` and `developer` records: a peer has one description of each."""


class Door:
    """Checks and stores for one group; also what the peers' sync reads. Blocks; thread-safe."""

    def __init__(self, *, records: Records, params: ChainParams, network: str, clock: Clock) -> None:
        self._records = records
        self._params = params
        self._network = network
        self._clock = clock

    def admit(self, raws: Sequence[bytes]) -> tuple[list[str | InvalidRecord], list[SignedRecord]]:
        """Each record's cid or why it was refused, in order; and those that are new and live."""
        outcomes: list[str | InvalidRecord] = []
        good: list[SignedRecord] = []
        for raw in raws:
            try:
                signed = self.check(raw)
            except InvalidRecord as error:
                outcomes.append(error)
            else:
                outcomes.append(signed.cid)
                good.append(signed)
        kept = self.store(good) if good else []
        new = [one for one, what in zip(good, kept, strict=True) if what is Outcome.NEW]
        return outcomes, new

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

    def store(self, signed: Sequence[SignedRecord]) -> list[Outcome]:
        """Store checked records in one transaction."""
        return self._records.add_many([new_record(one) for one in signed], now=self._clock.now())

    # What the sync reads

    def have(self, cid: str) -> bool:
        """Whether the record is held, live or superseded."""
        return self._records.have(cid)

    def get(self, cid: str) -> bytes | None:
        """The wire bytes of a record."""
        return self._records.raw(cid)

    def digest_buckets(self) -> Sequence[bytes]:
        """256 digests of the live records."""
        return self._records.digest_buckets(self._network, now=self._clock.now())

    def cids_in_bucket(self, bucket: int) -> Sequence[str]:
        """The live records of one bucket."""
        return self._records.cids_in_bucket(self._network, bucket, now=self._clock.now())

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
