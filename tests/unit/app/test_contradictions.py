"""An author who says two things is caught by whoever sees both, and everybody can check it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.app.services.door import Door
from openstall.ledger.chain import ChainParams
from openstall.ledger.keys import PeerSeed
from openstall.market import contradictions
from openstall.market.errors import InvalidRecord
from openstall.market.records import MAX_LIFE_S, Record, SignedRecord, sign_record
from openstall.store.contradictions import Proofs
from openstall.store.database import Store
from openstall.store.records import Outcome, Records

NOW = 1_800_000_000
NETWORK = "group-7-abc"
CHAIN = ChainParams(
    chain_id=7,
    genesis_hash="0x" + "11" * 32,
    name="Test",
    credit="0x" + "01" * 20,
    escrow="0x" + "02" * 20,
    channel="0x" + "03" * 20,
    kind="group",
)
EVE, ANN = PeerSeed(b"\x05" * 32), PeerSeed(b"\x06" * 32)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> int:
        return self.time


def signed(seq: int, *, by: PeerSeed = EVE, key: str = "k", prev: str = "", **changes: Any) -> SignedRecord:
    body = {"target_type": "listing", "target_key": key}
    fields: dict[str, Any] = {
        "type": "tombstone", "network": NETWORK, "author": by.peer_id, "key": key, "seq": seq, "prev": prev,
        "issued": NOW, "expires": NOW + 1000, "body": body,
    }  # fmt: skip
    return sign_record(Record(**{**fields, **changes}), by.secret)


class Peer:
    def __init__(self, path: Path, clock: Clock) -> None:
        self.store = Store(path)
        self.records, self.proofs = Records(self.store), Proofs(self.store)
        self.door = Door(records=self.records, params=CHAIN, network=NETWORK, clock=clock)

    def hears(self, *several: SignedRecord | bytes) -> Any:
        return self.door.admit(
            [one if isinstance(one, bytes) else one.raw for one in several], brought_by="p"
        )

    def known(self) -> list[tuple[str, str]]:
        return [(one.author, one.kind) for one in self.proofs.all(NETWORK, limit=9)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peers(tmp_path: Path, clock: Clock) -> Iterator[list[Peer]]:
    made = [Peer(tmp_path / f"{number}.sqlite", clock) for number in range(2)]
    yield made
    for one in made:
        one.store.close()


FIRST = signed(1)
CONTRADICTING = {
    "same number, same key": (FIRST, signed(1, issued=NOW - 5), contradictions.SAME_SEQ),
    "same number, other key": (FIRST, signed(1, key="other"), contradictions.SAME_SEQ),
    "denied predecessor": (FIRST, signed(2, prev=signed(1, key="x").cid), contradictions.BROKEN_CHAIN),
}


@pytest.mark.parametrize("name", CONTRADICTING)
@pytest.mark.parametrize("order", [1, -1])
def test_two_records_that_cannot_both_be_are_kept_as_a_proof(
    peers: list[Peer], name: str, order: int
) -> None:
    *pair, kind = CONTRADICTING[name]
    admitted = peers[0].hears(*pair[::order])
    assert admitted.contradicted == [EVE.peer_id]
    assert peers[0].known() == [(EVE.peer_id, kind)]
    raw = peers[0].proofs.raw(NETWORK, EVE.peer_id)
    assert raw is not None
    proof = contradictions.parse_proof(raw, network=NETWORK, now=NOW)
    assert {proof.first.raw, proof.second.raw} == {one.raw for one in pair}
    assert peers[0].hears(*pair).contradicted == [], "it is news once"


def test_an_honest_sequence_is_no_contradiction(peers: list[Peer]) -> None:
    chain = [signed(1, key="a")]
    for seq in range(2, 6):
        chain.append(signed(seq, key="ab"[seq % 2], prev=chain[-1].cid))
    assert (
        peers[0].hears(*chain, signed(9, key="z", prev=chain[0].cid), signed(7, key="y")).contradicted == []
    )
    assert peers[0].hears(signed(1, by=ANN)).contradicted == []
    assert peers[0].known() == []


def test_a_proof_travels_to_who_saw_only_one_side(peers: list[Peer]) -> None:
    ann, ben = peers
    ann.hears(FIRST, CONTRADICTING["same number, other key"][1])
    ben.hears(FIRST)
    (name,) = [
        one for one in ben.door.lacking(ann.door.cids(0, 65_535, after="", limit=99)) if "contra" in one
    ]
    admitted = ben.hears(ann.door.bodies([name])[name])
    assert admitted.outcomes == [name] == [contradictions.address_of(EVE.peer_id)]
    assert admitted.contradicted == [EVE.peer_id]
    assert ben.known() == ann.known()
    assert ben.door.lacking([name]) == []


def test_one_of_the_two_wins_and_it_is_the_same_everywhere(peers: list[Peer]) -> None:
    one, other, _ = CONTRADICTING["same number, same key"]
    peers[0].hears(one, other)
    peers[1].hears(other, one)
    assert peers[0].door.root() == peers[1].door.root()
    live = peers[0].door.cids(0, 65_535, after="", limit=9)
    assert sorted(live) == sorted([min(one.cid, other.cid), contradictions.address_of(EVE.peer_id)])


def test_a_proof_outlives_both_records_and_then_goes(peers: list[Peer], clock: Clock) -> None:
    peers[0].hears(FIRST, CONTRADICTING["same number, other key"][1])
    clock.time = NOW + MAX_LIFE_S - 1
    peers[0].records.purge(now=clock.time)
    raw = peers[0].proofs.raw(NETWORK, EVE.peer_id)
    assert raw is not None
    assert peers[1].hears(raw).contradicted == [EVE.peer_id]
    clock.time += 1
    for peer in peers:
        peer.records.purge(now=clock.time)
        assert peer.known() == []
        assert not any(peer.door.root())
    outcome = peers[0].hears(raw).outcomes[0]
    assert isinstance(outcome, InvalidRecord)
    assert outcome.code == "expired"


def pair(*raws: bytes) -> bytes:
    return msgspec.msgpack.encode(list(raws))


def forged() -> bytes:
    return FIRST.raw.replace(b'"seq":1', b'"seq":2')


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x92", "bad_proof"),
        (pair(FIRST.raw), "not_json"),
        (pair(FIRST.raw, FIRST.raw), "no_contradiction"),
        (pair(FIRST.raw, signed(3, key="z").raw), "no_contradiction"),
        (pair(FIRST.raw, signed(2, prev=FIRST.cid).raw), "no_contradiction"),
        (pair(FIRST.raw, signed(1, by=ANN).raw), "no_contradiction"),
        (pair(FIRST.raw, forged()), "bad_signature"),
        (pair(FIRST.raw, signed(1, key="x", network="other").raw), "other_network"),
        (pair(FIRST.raw, signed(1, key="x", issued=NOW + 10**6, expires=NOW + 2 * 10**6).raw), "future"),
        (pair(FIRST.raw, b"junk"), "not_json"),
        (b"\x92\xc5" + len(FIRST.raw).to_bytes(2, "big") + FIRST.raw + b"\xc6" + bytes(4), "bad_proof"),
        (pair(FIRST.raw, bytes(70_000)), "bad_proof"),
        (b"\x92" + bytes(contradictions.MAX_BYTES), "too_large"),
    ],
)  # fmt: skip
def test_what_proves_nothing_is_refused(peers: list[Peer], raw: bytes, code: str) -> None:
    outcome = peers[0].hears(raw).outcomes[0]
    assert isinstance(outcome, InvalidRecord)
    assert outcome.code == code
    assert peers[0].known() == []


@given(st.binary(max_size=300).map(lambda tail: b"\x92" + tail))
def test_any_bytes_are_refused_with_words(raw: bytes) -> None:
    with pytest.raises(InvalidRecord):
        contradictions.parse_proof(raw, network=NETWORK, now=NOW)


@given(st.integers(0, len(FIRST.raw) * 2), st.integers(1, 255))
def test_no_byte_of_a_proof_can_be_changed(place: int, flip: int) -> None:
    raw = bytearray(pair(FIRST.raw, CONTRADICTING["same number, other key"][1].raw))
    raw[place % len(raw)] ^= flip
    with pytest.raises(InvalidRecord):
        contradictions.parse_proof(bytes(raw), network=NETWORK, now=NOW)


def test_a_refused_record_says_why(peers: list[Peer]) -> None:
    peers[0].records._quotas = {"listing": 1}
    outcomes = peers[0].hears(signed(2), signed(1, key="other")).outcomes
    assert outcomes[0] == signed(2).cid
    assert isinstance(outcomes[1], InvalidRecord)
    assert outcomes[1].code == Outcome.QUOTA


def test_the_proof_holds_what_was_signed(peers: list[Peer]) -> None:
    peers[0].hears(FIRST, CONTRADICTING["same number, other key"][1])
    raw = peers[0].proofs.raw(NETWORK, EVE.peer_id)
    assert raw is not None
    assert {json.loads(one)["record"]["key"] for one in msgspec.msgpack.decode(raw)} == {"k", "other"}
