from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openstall.market.errors import InvalidOrder
from openstall.market.orders.agree import check_proposal, is_patient
from openstall.market.orders.documents import Contract
from openstall.market.records import SignedRecord

NOW = 1_790_000_000
Signed = Callable[..., SignedRecord]
Deal = Callable[..., Contract]


@pytest.fixture
def proposal(signed: Signed, contract: Deal) -> Callable[..., tuple[Contract, SignedRecord]]:
    """A contract that fits the seller's own record, with changes to its terms."""

    def make(
        kind: str = "sale", terms: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[Contract, SignedRecord]:
        record = signed("listing" if kind == "sale" else "offer")
        named = {"listing" if kind == "sale" else "offer": record.cid}
        return contract(kind, named | (terms or {}), **changes), record

    return make


@pytest.mark.parametrize("kind", ["sale", "compute"])
def test_what_the_seller_signs(proposal: Callable[..., Any], wallets: dict[str, str], kind: str) -> None:
    check_proposal(*proposal(kind), wallet=wallets["seller"].upper().replace("X", "x"), now=NOW)


@pytest.mark.parametrize(
    ("kind", "differs", "terms"),
    [
        ("sale", "price", {"price_micro": 12_499_999}),
        ("sale", "title", {"title": "Another model"}),
        ("sale", "listing", {"listing": "b" + "c" * 58}),
        ("sale", "files", {"files": [{"name": "model.onnx", "size": 4097, "sha256": "ab" * 32}]}),
        ("sale", "package", {"key_sha256": "cd" * 32}),
        ("sale", "package", {"blob": {"cid": "b" + "a" * 58, "size": 4201, "sha256": "ab" * 32}}),
        ("sale", "escrow", {"escrow": "0x" + "f6" * 20}),
        ("sale", "arbiter", {"arbiter": "0x" + "f6" * 20}),
        ("sale", "arbiter", {"arbiter": ""}),
        ("sale", "arbiter's terms", {"arbiter_s": 86_400}),
        ("sale", "arbiter's terms", {"arbiter_fee_bps": 1000}),
        ("sale", "arbiter's terms", {"silent_buyer_bps": 0}),
        ("sale", "review time", {"review_s": 30 * 86_400}),
        ("sale", "time to pay", {"fund_by": NOW + 8 * 86_400, "deliver_by": NOW + 9 * 86_400}),
        ("sale", "delivery time", {"deliver_by": NOW + 901}),
        ("compute", "price", {"price_per_s_micro": 999, "cap_micro": 999}),
        ("compute", "price", {"price_per_s_micro": 1_500}),
        ("compute", "price", {"priority_per_s_micro": 500}),
        ("compute", "price", {"price_per_s_micro": 1_499, "priority_per_s_micro": 500}),
        ("compute", "offer", {"offer": "b" + "c" * 58}),
        ("compute", "longest time", {"max_s": 3601, "settle_by": NOW + 10_000}),
        ("compute", "channel", {"channel": "0x" + "f6" * 20}),
        ("compute", "withdrawal delay", {"withdraw_delay_s": 599}),
        (
            "compute",
            "time to pay",
            {"fund_by": NOW + 90_000, "start_by": NOW + 99_000, "settle_by": NOW + 110_000},
        ),
        ("compute", "time to start", {"start_by": NOW + 901}),
        ("compute", "time to start", {"start_by": NOW + 10_000, "settle_by": NOW + 20_000}),
        (
            "compute",
            "size of the inputs",
            {
                "inputs": [
                    {"name": name, "blob": {"cid": "b" + "a" * 58, "size": 2**27 + 1, "sha256": "ab" * 32}}
                    for name in ("one.csv", "two.csv")
                ]
            },
        ),
        ("compute", "time to settle", {"settle_by": NOW + 1500 + 601}),
    ],
)
def test_terms_that_differ_from_what_is_on_sale(
    proposal: Callable[..., Any], wallets: dict[str, str], kind: str, differs: str, terms: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(*proposal(kind, terms), wallet=wallets["seller"], now=NOW)
    assert caught.value.code == "terms_differ"
    assert differs in caught.value.message


@pytest.mark.parametrize(
    ("kind", "rented", "fits"),
    [
        ("train", (0, 0), True),
        ("train", (1, 8), True),
        ("train", (1, 1), True),
        ("train", (2, 8), False),  # one is on offer
        ("train", (1, 9), False),  # of eight
        ("train", (1, 0), False),
        ("train", (0, 8), False),
        ("infer", (1, 8), False),  # runs on the processor
    ],
)
def test_a_job_rents_the_graphics_cards_that_are_on_offer(
    proposal: Callable[..., Any], wallets: dict[str, str], kind: str, rented: tuple[int, int], fits: bool
) -> None:
    deal, _record = proposal("compute")
    named = {"gpus": rented[0], "gpu_memory_bytes": rented[1] * 2**30}
    limits = deal.order.terms["limits"] | {name: value for name, value in named.items() if value}
    deal, record = proposal("compute", {"limits": limits, "job_kind": kind})
    if fits:
        check_proposal(deal, record, wallet=wallets["seller"], now=NOW)
        return
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(deal, record, wallet=wallets["seller"], now=NOW)
    assert "graphics" in caught.value.message


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("memory_bytes", 2**40),
        ("disk_bytes", 2**40),
        ("threads", 9),
        ("processes", 65),
        ("log_bytes", 2**30),
        ("memory_bytes", 0),
        ("disk_bytes", 1),
        ("processes", 1),
        ("log_bytes", 0),
    ],
)
def test_a_job_may_not_ask_for_more_than_is_offered_nor_for_less_than_it_needs(
    proposal: Callable[..., Any], wallets: dict[str, str], limit: str, value: int
) -> None:
    limits = {"memory_bytes": 2**30, "disk_bytes": 2**28, "threads": 2, "processes": 64, "log_bytes": 2**20}
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(
            *proposal("compute", {"limits": limits | {limit: value}}), wallet=wallets["seller"], now=NOW
        )
    assert caught.value.code == "terms_differ"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("clock", {"created": NOW - 7 * 86_400 - 601}),
        ("clock", {"created": NOW + 601}),
        ("terms_differ", {"chain_id": 1}),
        ("other_network", {"network": "openstall-test-2"}),
    ],
)
def test_orders_from_elsewhere(
    proposal: Callable[..., Any], wallets: dict[str, str], code: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(*proposal("sale", **changes), wallet=wallets["seller"], now=NOW)
    assert caught.value.code == code


def test_an_order_for_another_seller(
    proposal: Callable[..., Any], wallets: dict[str, str], peers: dict[str, str]
) -> None:
    for deal, wallet in [
        (proposal("sale"), "0x" + "99" * 20),
        (proposal("sale", seller=peers["stranger"]), wallets["seller"]),
    ]:
        with pytest.raises(InvalidOrder) as caught:
            check_proposal(*deal, wallet=wallet, now=NOW)
        assert caught.value.code == "not_my_order"


def test_a_record_that_has_expired_binds_nobody(
    contract: Deal, signed: Signed, wallets: dict[str, str]
) -> None:
    old = signed(issued=NOW - 5000, expires=NOW)
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(contract("sale", {"listing": old.cid}), old, wallet=wallets["seller"], now=NOW)
    assert caught.value.code == "expired"


def test_a_kind_of_job_that_is_not_offered(contract: Deal, signed: Signed, wallets: dict[str, str]) -> None:
    offer = signed("offer", {"kinds": ["infer"]})
    with pytest.raises(InvalidOrder, match="kind of job"):
        check_proposal(contract("compute", {"offer": offer.cid}), offer, wallet=wallets["seller"], now=NOW)


def test_a_sale_against_an_offer(contract: Deal, signed: Signed, wallets: dict[str, str]) -> None:
    for kind, record in [("sale", signed("offer")), ("compute", signed("listing")), ("sale", signed("peer"))]:
        with pytest.raises(InvalidOrder) as caught:
            check_proposal(contract(kind), record, wallet=wallets["seller"], now=NOW)
        assert caught.value.code == "wrong_kind"


def test_a_sale_may_wait_for_days_and_a_job_may_not(
    proposal: Callable[..., Any], wallets: dict[str, str]
) -> None:
    late = {"fund_by": NOW + 6 * 86_400, "deliver_by": NOW + 7 * 86_400}
    deal, record = proposal("sale", late, created=NOW - 86_400)
    check_proposal(deal, record, wallet=wallets["seller"], now=NOW)
    assert is_patient(deal, NOW)
    prompt, _record = proposal("sale")
    assert not is_patient(prompt, NOW)
    with pytest.raises(InvalidOrder) as caught:
        check_proposal(*proposal("compute", created=NOW - 601), wallet=wallets["seller"], now=NOW)
    assert caught.value.code == "clock"
