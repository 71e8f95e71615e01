"""Challenges, verdicts and cases: who may say what, and what follows from it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import capacity
from openstall.market.capacity import Case, Verdict, check_case, opened_segments, read_document, sign_document
from openstall.market.errors import InvalidRecord

NETWORK = "openstall-test-1"
HASH, CID = "ab" * 32, "b" + "a" * 58
DIGESTS = [hashlib.sha256(bytes([at])).hexdigest() for at in range(17)]


def verdict(peers: dict[str, str], **changes: Any) -> Verdict:
    plain: dict[str, Any] = {
        "network": NETWORK,
        "challenge": HASH,
        "claim": CID,
        "provider": peers["seller"],
        "challenger": peers["buyer"],
        "order": HASH,
        "outcome": "wrong",
        "code": "",
        "elapsed_ms": 900,
        "allowed_ms": 25_000,
        "at": 1_790_000_000,
    }
    return msgspec.convert(plain | changes, Verdict)


def case_of(found: Verdict, **changes: Any) -> Case:
    plain: dict[str, Any] = {
        "network": found.network,
        "chain_id": 4242,
        "bond": HASH,
        "claim": found.claim,
        "provider": found.provider,
        "by": found.challenger,
        "order": found.order,
        "beneficiary": "0x" + "b2" * 20,
        "amount_micro": 5,
        "verdict": capacity.sha256_of(found),
        "at": found.at,
    }
    return msgspec.convert(plain | changes, Case)


@given(
    secret=st.text(max_size=64),
    digests=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=5),
)
def test_what_is_opened_is_drawn_from_all_digests_and_the_secret(secret: str, digests: list[str]) -> None:
    found = opened_segments(secret, digests)
    assert found == sorted(set(found)) == opened_segments(secret, digests)
    assert len(found) == capacity.OPENED
    assert 0 <= found[0] <= found[-1] < len(digests) - 1


def test_every_segment_is_opened_about_as_often_as_the_others() -> None:
    counts = [0] * 16
    for at in range(2_000):
        for opened in opened_segments(str(at), DIGESTS):
            counts[opened] += 1
    assert min(counts) > 0.75 * 2_000 * capacity.OPENED / 16


def test_a_change_of_any_digest_draws_anew() -> None:
    before = [opened_segments(str(at), DIGESTS) for at in range(50)]
    for place in range(17):
        changed = [*DIGESTS[:place], HASH, *DIGESTS[place + 1 :]]
        assert [opened_segments(str(at), changed) for at in range(50)] != before


def test_only_the_author_signs_and_only_under_its_own_heading(
    seeds: dict[str, bytes], peers: dict[str, str]
) -> None:
    found = verdict(peers)
    wire = sign_document(found, what="verdict", network=NETWORK, seed=seeds["buyer"])
    how: dict[str, Any] = {"what": "verdict", "network": NETWORK, "author": peers["buyer"]}
    assert read_document(wire, Verdict, **how) == found
    for change in ({"what": "case"}, {"network": "other"}, {"author": peers["seller"]}):
        with pytest.raises(InvalidRecord):
            read_document(wire, Verdict, **{**how, **change})
    for field, value in (("outcome", "passed"), ("elapsed_ms", 1), ("extra", 1)):
        with pytest.raises(InvalidRecord):
            read_document({**wire, "doc": {**wire["doc"], field: value}}, Verdict, **how)


@pytest.mark.parametrize(
    ("outcome", "order", "costs"),
    [
        ("wrong", "", True),
        ("too_slow", "", True),
        ("refused", HASH, True),
        ("refused", "", False),
        ("silent", HASH, False),
        ("passed", HASH, False),
    ],
)
def test_a_bond_pays_for_what_was_shown_never_for_a_peer_that_is_away(
    peers: dict[str, str], outcome: str, order: str, costs: bool
) -> None:
    found = verdict(peers, outcome=outcome, order=order)
    assert capacity.costs_the_bond(found) is costs
    if costs:
        check_case(case_of(found), found)
    else:
        with pytest.raises(InvalidRecord):
            check_case(case_of(found), found)


@pytest.mark.parametrize("field", ["by", "provider", "claim", "order", "verdict", "network"])
def test_a_complaint_must_rest_on_its_own_verdict(peers: dict[str, str], field: str) -> None:
    found = verdict(peers)
    other = {"by": peers["stranger"], "provider": peers["stranger"], "claim": "b" + "c" * 58, "order": ""}
    with pytest.raises(InvalidRecord):
        check_case(case_of(found, **{field: other.get(field, "cd" * 32)}), found)


def test_a_round_trip_is_forgiven_up_to_a_point(signed: Any) -> None:
    claim = signed("capacity").body
    base = capacity.allowed_ms(claim, rtt_ms=0)
    assert base == capacity.START_MS + capacity.SLACK * 5_000
    assert capacity.allowed_ms(claim, rtt_ms=300) == base + 300
    assert capacity.allowed_ms(claim, rtt_ms=10**6) == base + capacity.MOST_RTT_MS


@pytest.mark.parametrize(
    "change",
    [{"ms": 1_999}, {"ms": 120_001}, {"size": 1000}, {"size": 8192}, {"segments": 5}, {"device": "gpu"}],
    ids=str,
)
def test_a_claim_that_could_not_be_tested_is_refused(signed: Any, plain_record: Any, change: Any) -> None:
    work = plain_record("capacity")["body"]["works"][0]
    with pytest.raises(InvalidRecord):
        signed("capacity", {"works": [work | change]})


def test_one_device_is_claimed_once(signed: Any, plain_record: Any) -> None:
    work = plain_record("capacity")["body"]["works"][0]
    with pytest.raises(InvalidRecord):
        signed("capacity", {"works": [work, work]})
