from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from offers import OWN

from openstall.market.fields import BlobRef
from openstall.market.orders.documents import ComputeTerms, InputFile, Limits
from openstall.market.orders.failover import Candidate, cap_left, choose, is_providers_fault
from openstall.market.records import Gpu, Offer

CID = "bafkr4i" + "a" * 52
ADDRESS = "0x" + "11" * 20
BLOB = BlobRef(cid=CID, size=1000, sha256="0" * 64)
TERMS = ComputeTerms(
    offer=CID,
    title="Train on a machine",
    job_kind="train",
    params={},
    inputs=[InputFile(name="data.csv", blob=BLOB)],
    limits=Limits(memory_bytes=2**31, disk_bytes=2**30, threads=2, processes=64, log_bytes=2**20),
    price_per_s_micro=20_000,
    cap_micro=4_000_000,
    max_s=200,
    channel=ADDRESS,
    withdraw_delay_s=600,
    fund_by=1,
    start_by=2,
    settle_by=3,
)
OFFER = msgspec.structs.replace(OWN, kinds=["infer", "train"])
FIRST = Candidate(cid="one", author="anna", reachable=True, offer=OFFER)


def offer(**changes: object) -> Offer:
    return msgspec.structs.replace(OFFER, **changes)


@pytest.mark.parametrize(
    ("state", "reason", "moves"),
    [
        ("failed", "provider_restarted", True),
        ("cancelled", "owner_stopped", True),
        ("refused", "no_bwrap", True),
        ("limit", "start", True),
        ("cancelled", "house_rules", True),
        ("limit", "deadline", True),
        ("failed", "bad_checkpoint", True),
        ("failed", "bad_label", False),
        ("limit", "memory", False),
        ("limit", "unpaid", False),
        ("cancelled", "cancelled", False),
        ("done", "ok", False),
        ("done", "agent_lost", False),
    ],
)
def test_only_a_fault_of_the_provider_moves_a_job(state: str, reason: str, moves: bool) -> None:
    assert is_providers_fault(state, reason) is moves


def test_what_the_first_provider_can_claim_is_not_spent_again() -> None:
    assert cap_left(TERMS, 1_500_000) == 2_500_000
    assert cap_left(TERMS, 4_000_000) == 0


@pytest.mark.parametrize(
    "unfit",
    [
        replace(FIRST, author="tried"),
        replace(FIRST, offer=offer(kinds=["infer"])),
        replace(FIRST, offer=offer(price_per_s_micro=20_001)),
        replace(FIRST, offer=offer(memory_bytes=2**31 - 1)),
        replace(FIRST, offer=offer(threads=1)),
        replace(FIRST, offer=offer(disk_bytes=2**30 - 1)),
    ],
)
def test_a_smaller_dearer_or_tried_machine_is_not_chosen(unfit: Candidate) -> None:
    assert choose([unfit], TERMS, tried=["tried"], cap_micro=4_000_000) is None
    assert choose([unfit, FIRST], TERMS, tried=["tried"], cap_micro=4_000_000) == FIRST


def test_a_job_that_rents_a_card_goes_on_where_there_is_one() -> None:
    limits = msgspec.structs.replace(TERMS.limits, gpus=1, gpu_memory_bytes=2**30)
    terms = msgspec.structs.replace(TERMS, limits=limits)
    card = Gpu(name="A card", memory_bytes=2**33)
    with_one = replace(FIRST, cid="two", offer=offer(gpus=[card], price_per_s_micro=19_999))
    assert choose([FIRST, with_one], terms, tried=[], cap_micro=4_000_000) == with_one
    assert choose([FIRST], terms, tried=[], cap_micro=4_000_000) is None
    small = replace(with_one, offer=offer(gpus=[Gpu(name="A small card", memory_bytes=2**29)]))
    assert choose([small], terms, tried=[], cap_micro=4_000_000) is None


def test_what_was_paid_on_top_for_a_place_is_no_higher_price_elsewhere() -> None:
    terms = msgspec.structs.replace(TERMS, price_per_s_micro=25_000, priority_per_s_micro=5_000)
    dearer = replace(FIRST, offer=offer(price_per_s_micro=20_001))
    assert choose([dearer], terms, tried=[], cap_micro=4_000_000) is None
    assert choose([FIRST], terms, tried=[], cap_micro=4_000_000) == FIRST


def test_reachable_before_cheap_and_the_same_for_whoever_looks() -> None:
    cheap = replace(FIRST, cid="two", reachable=False, offer=offer(price_per_s_micro=1))
    cheaper = replace(FIRST, cid="three", offer=offer(price_per_s_micro=10_000))
    twin = replace(cheaper, cid="four")
    for order in ([FIRST, cheap, cheaper, twin], [twin, cheaper, cheap, FIRST]):
        assert choose(order, TERMS, tried=[], cap_micro=4_000_000) == twin


def test_a_cap_that_is_used_up_buys_nothing() -> None:
    assert choose([FIRST], TERMS, tried=[], cap_micro=19_999) is None
