from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from openstall.market import canonical
from openstall.market.errors import InvalidOrder
from openstall.market.fields import body_as_dict
from openstall.market.orders.documents import (
    MAX_SPAN_S,
    ComputeTerms,
    Contract,
    Order,
    SaleTerms,
    check_signature,
    read_contract,
    sign_contract,
    write_contract,
)
from openstall.market.records import SignedRecord
from openstall.market.requests.bodies import MOST_COLUMNS
from openstall.market.requests.terms import custom_terms, request_in

NOW = 1_790_000_000
Plain = dict[str, Any]
BLOB = {"cid": "b" + "a" * 58, "size": 1, "sha256": "ab" * 32}


def refused(plain: Plain) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read_contract(canonical.encode(plain))
    return caught.value.code


@pytest.mark.parametrize(("kind", "schema"), [("sale", SaleTerms), ("compute", ComputeTerms)])
def test_an_order_is_named_by_the_hash_of_its_words(
    order: Callable[..., Plain], kind: str, schema: type
) -> None:
    raw = canonical.encode(order(kind))
    contract = read_contract(raw)
    assert contract.order_id == hashlib.sha256(raw).hexdigest()
    assert contract.order_hash == hashlib.sha256(raw).digest()
    assert contract.raw == raw
    assert isinstance(contract.sale if kind == "sale" else contract.compute, schema)


def test_an_order_without_an_arbiter(contract: Callable[..., Contract]) -> None:
    assert contract("sale", {"arbiter": ""}).sale.arbiter == ""


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("bad_schema", {"v": 2}),
        ("bad_schema", {"kind": "gift"}),
        ("bad_schema", {"kind": "sale\n"}),
        ("bad_schema", {"kind": "compute"}),
        ("bad_schema", {"network": ""}),
        ("bad_schema", {"network": "x" * 81}),
        ("bad_schema", {"network": "a\nb"}),
        ("bad_schema", {"chain_id": 0}),
        ("bad_schema", {"chain_id": "4242"}),
        ("bad_schema", {"nonce": "0" * 31}),
        ("bad_schema", {"nonce": "0" * 32 + "\n"}),
        ("bad_schema", {"created": -1}),
        ("bad_schema", {"created": 2**40 + 1}),
        ("bad_schema", {"terms": []}),
        ("bad_schema", {"extra": 1}),
        ("bad_schema", {"buyer_wallet": "0x" + "0" * 40}),
        ("bad_schema", {"buyer_wallet": ""}),
        ("bad_peer_id", {"buyer": "x" * 50}),
        ("weak_key", {"seller": "12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw"}),
        ("same_party", {"buyer_wallet": "0x" + "A1" * 20}),
        ("same_party", {"buyer_wallet": "0x" + "C3" * 20}),
        ("party_is_contract", {"buyer_wallet": "0x" + "E5" * 20}),
        ("bad_times", {"created": NOW + 900}),
        ("too_long", {"created": NOW + 4500 - MAX_SPAN_S - 1}),
    ],
)
def test_hostile_orders(order: Callable[..., Plain], code: str, change: Plain) -> None:
    assert refused(order() | change) == code


@pytest.mark.parametrize(
    ("kind", "code", "terms"),
    [
        ("sale", "bad_schema", {"price_micro": 0}),
        ("sale", "bad_schema", {"price_micro": 10**15 + 1}),
        ("sale", "bad_schema", {"price_micro": True}),
        ("sale", "bad_schema", {"arbiter_fee_bps": 1001}),
        ("sale", "bad_schema", {"silent_buyer_bps": 10_001}),
        ("sale", "bad_schema", {"review_s": 59}),
        ("sale", "bad_schema", {"review_s": 91 * 86_400}),
        ("sale", "bad_schema", {"arbiter_s": 0}),
        ("sale", "bad_schema", {"files": []}),
        ("sale", "bad_schema", {"extra": 1}),
        ("sale", "bad_schema", {"arbiter": "0x" + "0" * 40}),
        (
            "sale",
            "duplicate_file",
            {"files": [{"name": n, "size": 1, "sha256": "ab" * 32} for n in ("a", "A")]},
        ),
        ("sale", "bad_text", {"title": "free \u202elom"}),
        ("sale", "weak_key", {"box_key": "00" * 32}),
        ("sale", "weak_key", {"box_key": "01" + "00" * 31}),
        ("sale", "bad_times", {"fund_by": NOW}),
        ("sale", "bad_times", {"deliver_by": NOW + 900}),
        ("sale", "too_long", {"deliver_by": NOW + MAX_SPAN_S + 1}),
        ("sale", "bad_schema", {"deliver_by": 2**53 - 1}),
        ("compute", "bad_schema", {"job_kind": "shell"}),
        ("compute", "bad_schema", {"inputs": []}),
        ("compute", "bad_schema", {"inputs": [{"name": f"f{n}", "blob": BLOB} for n in range(17)]}),
        ("compute", "duplicate_file", {"inputs": [{"name": n, "blob": BLOB} for n in ("x.csv", "X.csv")]}),
        ("compute", "bad_schema", {"inputs": [{"name": "../../x", "blob": BLOB}]}),
        ("compute", "bad_schema", {"price_per_s_micro": 0}),
        ("compute", "bad_schema", {"priority_per_s_micro": -1}),
        ("compute", "bad_priority", {"priority_per_s_micro": 1_000}),
        ("compute", "bad_schema", {"cap_micro": 0}),
        ("compute", "cap_too_low", {"cap_micro": 999}),
        ("compute", "cap_too_high", {"cap_micro": 600_001}),
        ("compute", "bad_schema", {"max_s": 8 * 86_400}),
        ("compute", "bad_schema", {"withdraw_delay_s": 59}),
        ("compute", "bad_schema", {"withdraw_delay_s": 31 * 86_400}),
        ("compute", "bad_schema", {"params": []}),
        ("compute", "bad_text", {"params": {"label": "diag\x00nosis"}}),
        ("compute", "bad_text", {"params": {"deep": [{"in\u202eside": 1}]}}),
        ("compute", "party_is_contract", {"channel": "0x" + "A1" * 20}),
        ("compute", "bad_times", {"start_by": NOW + 900}),
        ("compute", "bad_times", {"settle_by": NOW + 1500 + 600}),
        ("compute", "too_long", {"settle_by": NOW + MAX_SPAN_S + 1}),
    ],
)
def test_hostile_terms(order: Callable[..., Plain], kind: str, code: str, terms: Plain) -> None:
    assert refused(order(kind, terms)) == code


@pytest.mark.parametrize(
    ("code", "terms"),
    [
        ("bad_evaluators", {"evaluators": ["0x" + "0c" * 20, "0x" + "0b" * 20], "quorum": 1}),
        ("bad_evaluators", {"evaluators": ["0x" + "0b" * 20, "0x" + "0B" * 20], "quorum": 1}),
        ("bad_evaluators", {"evaluators": ["0x" + "0b" * 20], "quorum": 2}),
        ("bad_evaluators", {"evaluators": ["seller"], "quorum": 1}),
        ("bad_cid", {"request": "b" + "a" * 58}),
    ],
)
def test_evaluators_of_a_model_made_to_order(order: Callable[..., Plain], code: str, terms: Plain) -> None:
    honest = order("custom", {"evaluators": ["0x" + "0b" * 20, "0x" + "0c" * 20], "quorum": 2})
    assert read_contract(canonical.encode(honest)).order.seller_wallet == honest["seller_wallet"]
    if terms.get("evaluators") == ["seller"]:
        terms = {**terms, "evaluators": [honest["seller_wallet"].lower()]}
    assert refused(order("custom", terms)) == code


def test_a_peer_cannot_trade_with_itself(order: Callable[..., Plain], peers: dict[str, str]) -> None:
    assert refused(order(buyer=peers["seller"])) == "same_party"


def test_parameters_are_bounded_in_depth_and_size(order: Callable[..., Plain]) -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    raw = canonical.encode(order("compute", {"params": {"a": 1}}))
    nested = raw.replace(b'"a":1', b'"a":' + b"[" * 20 + b"1" + b"]" * 20)
    wide = canonical.encode(order("compute", {"params": {f"k{n:06d}": "x" for n in range(6000)}}))
    for hostile, code in [(nested, "too_deep"), (wide, "too_large")]:
        with pytest.raises(InvalidOrder) as caught:
            read_contract(hostile)
        assert caught.value.code == code


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{}", b'{"v":1,"v":1}', b'{"v":NaN}', b"[" * 60_000])
def test_bytes_that_are_no_order(raw: bytes) -> None:
    with pytest.raises(InvalidOrder):
        read_contract(raw)


def test_each_party_signs_for_itself_only(contract: Callable[..., Contract], seeds: dict[str, bytes]) -> None:
    sale = contract("sale")
    by = {name: sign_contract(sale, seed) for name, seed in seeds.items()}
    check_signature(sale, "buyer", by["buyer"])
    check_signature(sale, "seller", by["seller"])
    for party, signature in [
        ("buyer", by["seller"]),
        ("seller", by["buyer"]),
        ("buyer", by["stranger"]),
        ("seller", ""),
    ]:
        with pytest.raises(InvalidOrder) as caught:
            check_signature(sale, party, signature)
        assert caught.value.code == "bad_signature"
        assert party in caught.value.message


def test_a_signature_does_not_move_to_another_order(
    contract: Callable[..., Contract], seeds: dict[str, bytes]
) -> None:
    signature = sign_contract(contract("sale"), seeds["buyer"])
    others = [
        contract("sale", nonce="f" * 32),
        contract("sale", {"price_micro": 12_500_001}),
        contract("sale", network="openstall-test-2"),
        contract("compute"),
    ]
    for other in others:
        with pytest.raises(InvalidOrder):
            check_signature(other, "buyer", signature)


def test_parties_swapped(
    contract: Callable[..., Contract], seeds: dict[str, bytes], peers: dict[str, str]
) -> None:
    honest = contract("sale")
    swapped = contract("sale", buyer=peers["seller"], seller=peers["buyer"])
    assert swapped.order_id != honest.order_id
    with pytest.raises(InvalidOrder):
        check_signature(swapped, "seller", sign_contract(honest, seeds["buyer"]))


def test_every_request_can_become_an_order(
    signed: Callable[..., SignedRecord], order: Callable[..., Plain]
) -> None:
    """The budget is paid in before anybody knows the winner: no request may be too wide for its order."""
    wide = {
        "title": "t" * 120,
        "summary": "",
        "features": [f"{n:055x}" for n in range(MOST_COLUMNS)],
        "training": None,
        "training_key_sha256": "",
    }
    record = signed("request", wide)
    assert len(record.raw) > 60_000
    terms = custom_terms(record, price_micro=1, box_key=order("custom")["terms"]["box_key"])
    document = order("custom") | {"created": request_in(record).reveal_by, "terms": body_as_dict(terms)}
    assert write_contract(msgspec.convert(document, Order)).custom == terms
