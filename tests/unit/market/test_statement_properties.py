"""What must hold for any bytes and any JSON that a stranger may send."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.metering import Tick, read_tick, sign_tick
from openstall.market.orders.documents import Contract, read_contract
from openstall.market.orders.results import JobReport, read_report, sign_report
from openstall.market.records import SignedRecord, parse_record

Plain = dict[str, Any]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
"""Any JSON, with what our own form knows not: floats, NaN, huge numbers, lone surrogates."""
signable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
reusing_fixtures = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every place in a JSON value."""
    if before:
        yield before
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*before, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*before, index))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


@pytest.mark.parametrize("kind", ["listing", "offer", "developer", "peer", "tombstone"])
def test_no_flipped_bit_passes(
    signed: Callable[..., SignedRecord], kind: str, network: str, now: int
) -> None:
    raw = signed(kind).raw
    for place in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(InvalidRecord):
                parse_record(bytes(changed), network=network, now=now)


@reusing_fixtures
@given(data=st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(
    signed: Callable[..., SignedRecord], network: str, now: int, data: st.DataObject
) -> None:
    record = signed()
    changed = bytearray(record.raw)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert parse_record(bytes(changed), network=network, now=now).cid == record.cid
    except InvalidRecord:
        assert bytes(changed) != record.raw


@reusing_fixtures
@given(value=json_values)
def test_any_json_is_refused_in_one_way(
    contract: Callable[..., Contract], network: str, now: int, value: Any
) -> None:
    job = contract("compute")
    for wrapped in (
        value,
        {"record": value, "sig": "A" * 86},
        {"tick": value, "sig": "A" * 86},
        {"report": value, "sig": ""},
    ):
        raw = json.dumps(wrapped).encode()
        with pytest.raises(InvalidRecord):
            parse_record(raw, network=network, now=now)
        with pytest.raises(InvalidOrder):
            read_contract(raw)
        with pytest.raises(InvalidOrder):
            read_tick(raw, job, last=None, elapsed_s=1)
        with pytest.raises(InvalidOrder):
            read_report(raw, job)


@reusing_fixtures
@given(data=st.data())
def test_an_author_who_signs_anything_gets_a_record_or_a_refusal(
    plain_record: Callable[..., Plain],
    wire: Callable[..., bytes],
    network: str,
    now: int,
    data: st.DataObject,
) -> None:
    plain = plain_record(data.draw(st.sampled_from(["listing", "offer", "peer", "tombstone"])))
    changed = replaced(plain, data.draw(st.sampled_from(list(paths(plain)))), data.draw(signable))
    try:
        raw = wire(changed)
    except InvalidRecord:
        return
    try:
        record = parse_record(raw, network=network, now=now)
    except InvalidRecord:
        return
    assert record.cid == ids.cid_of(canonical.encode(changed))
    assert canonical.decode(record.raw)["record"] == changed


@reusing_fixtures
@given(data=st.data())
def test_any_change_of_an_order_is_another_order_or_a_refusal(
    order: Callable[..., Plain], contract: Callable[..., Contract], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["sale", "compute"]))
    plain = order(kind)
    changed = replaced(plain, data.draw(st.sampled_from(list(paths(plain)))), data.draw(signable))
    try:
        found = read_contract(canonical.encode(changed))
    except (InvalidOrder, InvalidRecord):
        return
    assert (found.order_id == contract(kind).order_id) == (changed == plain)
    assert len(found.order_hash) == 32
    assert (found.sale if kind == "sale" else found.compute).title == changed["terms"]["title"]


@reusing_fixtures
@given(data=st.data())
def test_a_provider_that_signs_any_tick_gets_no_more_than_agreed(
    tick: Callable[..., Tick], contract: Callable[..., Contract], seeds: dict[str, bytes], data: st.DataObject
) -> None:
    job = contract("compute")
    elapsed = data.draw(st.integers(0, 2000))
    values = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "seconds": st.integers(0, 3000),
                "seq": st.integers(0, 5),
                "owed_micro": st.integers(0, 10**9),
            },
        )
    )
    raw = sign_tick(tick(**values), job, seeds["seller"])
    try:
        found = read_tick(raw, job, last=None, elapsed_s=elapsed)
    except InvalidOrder:
        return
    assert found.owed_micro <= job.compute.cap_micro
    assert found.owed_micro <= job.compute.price_per_s_micro * (elapsed + 5)


@reusing_fixtures
@given(words=st.text(max_size=200), reason=st.text(max_size=100))
def test_whatever_a_job_prints_its_report_can_be_read(
    report: Callable[..., JobReport],
    contract: Callable[..., Contract],
    seeds: dict[str, bytes],
    words: str,
    reason: str,
) -> None:
    job = contract("compute")
    signed = sign_report(report(words=words, reason=reason), job, seeds["seller"])
    assert read_report(signed.raw, job) == signed
