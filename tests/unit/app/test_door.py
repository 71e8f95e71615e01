"""The catalogue's door: what strangers send is stored only if every check passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openstall.app.services.door import PEER_KEY, Door, as_record_binding
from openstall.ledger.binding import make_binding
from openstall.ledger.chain import ChainParams
from openstall.ledger.keys import PeerSeed
from openstall.ledger.wallet import Wallet
from openstall.market.errors import InvalidRecord
from openstall.market.fields import body_as_dict
from openstall.market.records import Peer, Record, SignedRecord, sign_record
from openstall.store.database import Store
from openstall.store.records import Records
from openstall.store.search import Search

NOW = 1_800_000_000
NETWORK = "group-7-abc"
PARAMS = ChainParams(
    chain_id=7,
    genesis_hash="0x" + "11" * 32,
    name="Test",
    credit="0x" + "01" * 20,
    escrow="0x" + "02" * 20,
    channel="0x" + "03" * 20,
    kind="group",
    auction="0x" + "0a" * 20,
    model_escrow="0x" + "0b" * 20,
    contest="0x" + "0c" * 20,
)
SEED = PeerSeed(b"\x05" * 32)
WALLET = Wallet(b"\x06" * 32)


class Noon:
    def now(self) -> int:
        return NOW


def offer(**changes: Any) -> dict[str, Any]:
    body = {
        "title": "Quiet machine",
        "kinds": ["infer"],
        "cpu": "Zen",
        "threads": 2,
        "memory_bytes": 2**31,
        "disk_bytes": 2**30,
        "gpus": [],
        "price_per_s_micro": 10_000,
        "max_s": 600,
        "withdraw_delay_s": 3600,
        "wallet": WALLET.address,
        "chain_id": 7,
        "channel": PARAMS.channel,
    }
    return {**body, **changes}


def signed(type_: str, body: dict[str, Any], *, key: str = "k", seq: int = 1, **changes: Any) -> SignedRecord:
    fields: dict[str, Any] = {
        "type": type_,
        "network": NETWORK,
        "author": SEED.peer_id,
        "key": key,
        "seq": seq,
        "prev": "",
        "issued": NOW,
        "expires": NOW + 1000,
        "body": body,
    }
    return sign_record(Record(**{**fields, **changes}), SEED.secret)


def peer(**changes: Any) -> dict[str, Any]:
    made = make_binding(WALLET, SEED.secret, peer_id=SEED.peer_id, nonce=1, expires=NOW + 1000, chain_id=7)
    fields: dict[str, Any] = {"name": "Ann", "wallet": WALLET.address, "chain_id": 7, "addrs": []}
    return body_as_dict(Peer(**{**fields, "binding": as_record_binding(made), **changes}))


@pytest.fixture
def books(tmp_path: Path) -> Any:
    store = Store(tmp_path / "s.sqlite")
    yield Records(store), Search(store)
    store.close()


@pytest.fixture
def door(books: Any) -> Door:
    return Door(records=books[0], params=PARAMS, network=NETWORK, clock=Noon())


def refusal(door: Door, raw: bytes) -> str:
    admitted = door.admit([raw])
    assert admitted.new == []
    outcome = admitted.outcomes[0]
    assert isinstance(outcome, InvalidRecord), outcome
    return outcome.code


def test_good_records_are_stored_and_found(door: Door, books: Any) -> None:
    found = [signed("offer", offer()), signed("peer", peer(), key=PEER_KEY, seq=2)]
    admitted = door.admit([one.raw for one in found])
    assert admitted.outcomes == [one.cid for one in found]
    assert [one.record.type for one in admitted.new] == ["offer", "peer"]
    assert [row.cid for row in books[1].find(NETWORK, now=NOW, query="quiet").items] == [found[0].cid]
    assert door.bodies([found[0].cid]) == {found[0].cid: found[0].raw}


def test_replay_changes_nothing(door: Door) -> None:
    record = signed("offer", offer())
    door.admit([record.raw])
    admitted = door.admit([record.raw, record.raw])
    assert (admitted.outcomes, admitted.new) == ([record.cid, record.cid], [])


def test_one_bad_record_does_not_stop_the_batch(door: Door) -> None:
    good = signed("offer", offer())
    admitted = door.admit([b"junk", good.raw, b"{}"])
    assert [isinstance(one, InvalidRecord) for one in admitted.outcomes] == [True, False, True]
    assert [one.cid for one in admitted.new] == [good.cid]


def test_listing_or_offer_of_another_contract_is_refused(door: Door) -> None:
    assert refusal(door, signed("offer", offer(channel="0x" + "09" * 20)).raw) == "other_chain"
    assert refusal(door, signed("offer", offer(chain_id=8)).raw) == "other_chain"


def test_peer_record_needs_both_halves_of_the_binding(door: Door) -> None:
    theirs = Wallet(b"\x08" * 32)
    stolen = peer(wallet=theirs.address)
    assert refusal(door, signed("peer", stolen, key=PEER_KEY).raw) == "bad_binding"
    assert refusal(door, signed("peer", peer(), key="other").raw) == "bad_key"
    elsewhere = make_binding(WALLET, SEED.secret, peer_id=SEED.peer_id, nonce=1, expires=NOW + 10, chain_id=8)
    body = peer(binding=as_record_binding(elsewhere))
    assert refusal(door, signed("peer", body, key=PEER_KEY).raw) == "bad_binding"


def test_forged_changed_and_foreign_records(door: Door) -> None:
    record = signed("offer", offer())
    value = json.loads(record.raw)
    value["record"]["body"]["price_per_s_micro"] = 1
    changed = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    assert refusal(door, changed) == "bad_signature"
    assert refusal(door, signed("offer", offer(), network="group-8").raw) == "other_network"
    assert refusal(door, signed("offer", offer(), issued=NOW + 3600, expires=NOW + 7200).raw) == "future"
    assert refusal(door, signed("offer", offer(), issued=NOW - 50, expires=NOW - 1).raw) == "expired"
    assert refusal(door, b"x" * 70_000) == "too_large"
    assert refusal(door, b'{"record":{},"record":{},"sig":""}') == "duplicate_key"
    assert refusal(door, b'{"record":NaN,"sig":""}') in ("float", "not_json")


def request(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "title": "Which wine is it?",
        "summary": "Cultivars of Piedmont.",
        "task": "classification",
        "features": ["alcohol"],
        "classes": ["barolo", "grignolino"],
        "target": "cultivar",
        "rows": 60,
        "rows_root": "ab" * 32,
        "training": None,
        "training_key_sha256": "",
        "metric": "accuracy",
        "threshold": "0.9",
        "floors": [],
        "licence": "MIT",
        "framework": "onnx",
        "mechanism": "second_price",
        "budget_micro": 50_000_000,
        "deposit_micro": 1_000_000,
        "commit_by": NOW + 3_600,
        "reveal_by": NOW + 7_200,
        "deliver_by": NOW + 86_400,
        "evaluate_s": 3_600,
        "review_s": 3_600,
        "arbiter": "",
        "arbiter_s": 3_600,
        "arbiter_fee_bps": 200,
        "tries": 3,
        "evaluators": [WALLET.address],
        "quorum": 1,
        "weights_bps": [],
        "wallet": WALLET.address,
        "chain_id": 7,
        "auction": PARAMS.auction,
        "escrow": PARAMS.model_escrow,
        "contest": "",
    }
    return {**body, **changes}


def developer(**changes: Any) -> dict[str, Any]:
    body = {
        "title": "Models of wine",
        "skills": "Chemistry.",
        "tasks": ["classification"],
        "places": 2,
        "wallet": WALLET.address,
        "chain_id": 7,
    }
    return {**body, **changes}


def test_a_request_of_another_contract_is_refused(door: Door) -> None:
    """A deposit for it would go where no rule of ours holds."""
    other = "0x" + "09" * 20
    contest: dict[str, Any] = {"mechanism": "contest", "auction": "", "escrow": "", "weights_bps": [10_000]}
    contest |= {"deliver_by": NOW + 7_200, "arbiter": "", "evaluators": ["0x" + "0b" * 20], "quorum": 1}
    assert refusal(door, signed("request", request(auction=other)).raw) == "other_chain"
    assert refusal(door, signed("request", request(escrow=other)).raw) == "other_chain"
    assert refusal(door, signed("request", request(chain_id=8)).raw) == "other_chain"
    assert refusal(door, signed("request", request(**contest, contest=other)).raw) == "other_chain"
    outcomes = door.admit([signed("request", request(**contest, contest=PARAMS.contest)).raw]).outcomes
    assert isinstance(outcomes[0], str)


def test_a_group_without_the_contracts_takes_no_requests(books: Any) -> None:
    old = replace(PARAMS, auction="", model_escrow="", contest="")
    door = Door(records=books[0], params=old, network=NETWORK, clock=Noon())
    assert refusal(door, signed("request", request()).raw) == "other_chain"


def test_a_developer_has_one_card_on_this_chain(door: Door) -> None:
    assert refusal(door, signed("developer", developer(), key="second").raw) == "bad_key"
    assert refusal(door, signed("developer", developer(chain_id=8), key=PEER_KEY).raw) == "other_chain"


def test_requests_and_developers_are_found_by_their_words(door: Door, books: Any) -> None:
    wanted, card = signed("request", request()), signed("developer", developer(), key=PEER_KEY, seq=2)
    door.admit([wanted.raw, card.raw])

    def found(words: str) -> list[str]:
        return [row.cid for row in books[1].find(NETWORK, now=NOW, query=words).items]

    assert found("piedmont") == found("grignolino") == [wanted.cid]
    assert found("chemistry") == [card.cid]
    assert len(found("wine")) == 2
