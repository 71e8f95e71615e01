from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from openstall.market import canonical, ids
from openstall.market.errors import InvalidOrder
from openstall.market.metering import CLOCK_SLACK_S, MAX_TICK_BYTES, Tick, owed, read_tick, sign_tick
from openstall.market.orders.documents import Contract
from openstall.market.orders.results import JobReport, read_report, sign_report

Seeds = dict[str, bytes]
Deal = Callable[..., Contract]


@pytest.fixture
def job(contract: Deal) -> Contract:
    return contract("compute")


def refused(raw: bytes, job: Contract, last: Tick | None = None, elapsed_s: int = 100) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read_tick(raw, job, last=last, elapsed_s=elapsed_s)
    return caught.value.code


def test_ticks_of_an_honest_provider(tick: Callable[..., Tick], job: Contract, seeds: Seeds) -> None:
    last = None
    for seq, seconds in enumerate([0, 1, 1, 7, 30, 600], start=1):
        raw = sign_tick(tick(seconds, seq), job, seeds["seller"])
        last = read_tick(raw, job, last=last, elapsed_s=seconds)
        assert read_tick(raw, job, last=last, elapsed_s=seconds) == last
    assert last is not None
    assert last.owed_micro == job.compute.cap_micro


def test_the_buyer_owes_by_the_second_and_never_above_the_cap() -> None:
    assert owed(1_000, 5_500, 0) == 0
    assert owed(1_000, 5_500, 5) == 5_000
    assert owed(1_000, 5_500, 6) == 5_500
    assert owed(1_000, 5_500, 10**9) == 5_500


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("meter_back", {"seconds": 9, "seq": 3}),
        ("meter_back", {"seconds": 11, "seq": 2}),
        ("meter_back", {"seconds": 11, "seq": 1}),
        ("meter_ahead", {"seconds": 101 + CLOCK_SLACK_S, "seq": 3}),
        ("meter_price", {"seconds": 20, "seq": 3, "owed_micro": 20_001}),
        ("meter_price", {"seconds": 20, "seq": 3, "owed_micro": 19_999}),
        ("meter_price", {"seconds": 20, "seq": 3, "owed_micro": 600_001}),
        ("other_order", {"seconds": 20, "seq": 3, "order": "ab" * 32}),
        ("bad_tick", {"seconds": -1, "seq": 3, "owed_micro": 0}),
        ("bad_tick", {"seconds": 20, "seq": 0}),
        ("bad_tick", {"seconds": True, "seq": 3, "owed_micro": 1000}),
        ("bad_tick", {"seconds": 20, "seq": 3, "order": "AB" * 32}),
    ],
)
def test_ticks_of_a_dishonest_provider(
    tick: Callable[..., Tick], job: Contract, seeds: Seeds, code: str, changes: dict[str, Any]
) -> None:
    last = tick(10, 2)
    assert refused(sign_tick(tick(**changes), job, seeds["seller"]), job, last) == code


def test_a_meter_stops_at_the_longest_time(tick: Callable[..., Tick], job: Contract, seeds: Seeds) -> None:
    raw = sign_tick(tick(job.compute.max_s + 1), job, seeds["seller"])
    assert refused(raw, job, elapsed_s=10**6) == "meter_ahead"


def test_a_tick_of_another_order_or_group(
    tick: Callable[..., Tick], job: Contract, contract: Deal, seeds: Seeds
) -> None:
    other = contract("compute", nonce="f" * 32)
    raw = sign_tick(tick(order=other.order_id), other, seeds["seller"])
    assert read_tick(raw, other, last=None, elapsed_s=100).seconds == 10
    assert refused(raw, job) == "other_order"
    elsewhere = contract("compute", network="openstall-test-2")
    assert refused(sign_tick(tick(), elsewhere, seeds["seller"]), job) == "bad_tick"


def test_a_tick_signed_by_somebody_else_or_as_something_else(
    tick: Callable[..., Tick], report: Callable[..., JobReport], job: Contract, seeds: Seeds
) -> None:
    assert refused(sign_tick(tick(), job, seeds["buyer"]), job) == "bad_tick"
    plain = msgspec.to_builtins(tick())
    signature = ids.sign(seeds["seller"], "job-report", job.order.network, canonical.encode(plain))
    assert refused(canonical.encode({"tick": plain, "sig": signature}), job) == "bad_tick"


@pytest.mark.parametrize(
    "damage",
    [
        lambda _raw: b"",
        lambda _raw: b"[]",
        lambda _raw: b'{"tick":1,"sig":1}',
        lambda raw: raw + b" ",
        lambda raw: raw.replace(b'"seq":1', b'"seq":1,"seq":1'),
        lambda raw: raw.replace(b'"seq":1', b'"seq":NaN'),
        lambda raw: raw.replace(b'"seq":1', b'"seq":1.5'),
        lambda raw: raw.replace(b'"sig":"', b'"sig":"AAAA'),
        lambda raw: raw[:-1] + b',"zzz":"' + b"x" * MAX_TICK_BYTES + b'"}',
    ],
)
def test_damaged_ticks(
    tick: Callable[..., Tick], job: Contract, seeds: Seeds, damage: Callable[[bytes], bytes]
) -> None:
    assert refused(damage(sign_tick(tick(), job, seeds["seller"])), job) == "bad_tick"


def test_a_report_goes_round(report: Callable[..., JobReport], job: Contract, seeds: Seeds) -> None:
    signed = sign_report(report(), job, seeds["seller"])
    assert read_report(signed.raw, job) == signed
    assert json.loads(signed.raw)["report"]["state"] == "done"


def test_a_report_is_cleaned_of_what_a_job_printed(
    report: Callable[..., JobReport], job: Contract, seeds: Seeds
) -> None:
    signed = sign_report(report(words="\x1b[31mfailed\x1b[0m\tat\r\nline 2\x00"), job, seeds["seller"])
    assert read_report(signed.raw, job).report.words == "[31mfailed [0m at\nline 2"


BLOB = {"cid": "b" + "a" * 58, "size": 1, "sha256": "ab" * 32}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("report_price", {"owed_micro": 10_001}),
        ("report_price", {"seconds": 601, "owed_micro": 0}),
        ("other_order", {"order": "ab" * 32}),
        ("duplicate_file", {"outputs": [{"name": "a.csv", "blob": BLOB}, {"name": "A.csv", "blob": BLOB}]}),
    ],
)
def test_reports_that_ask_for_too_much(
    report: Callable[..., JobReport], job: Contract, seeds: Seeds, code: str, changes: dict[str, Any]
) -> None:
    signed = sign_report(report(**changes), job, seeds["seller"])
    with pytest.raises(InvalidOrder) as caught:
        read_report(signed.raw, job)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "excellent"},
        {"state": "done\n"},
        {"outputs": [{"name": "../../x", "blob": BLOB}]},
        {"outputs": [{"name": f"f{n}", "blob": BLOB} for n in range(17)]},
        {"seconds": -1},
        {"words": "turned \u202e round"},
        {"words": "x" * 4001},
        {"extra": 1},
    ],
)
def test_reports_that_do_not_fit(
    report: Callable[..., JobReport], job: Contract, seeds: Seeds, changes: dict[str, Any]
) -> None:
    plain = msgspec.to_builtins(report()) | changes
    signature = ids.sign(seeds["seller"], "job-report", job.order.network, canonical.encode(plain))
    with pytest.raises(InvalidOrder) as caught:
        read_report(canonical.encode({"report": plain, "sig": signature}), job)
    assert caught.value.code == "bad_report"


def test_a_report_signed_by_the_buyer(report: Callable[..., JobReport], job: Contract, seeds: Seeds) -> None:
    with pytest.raises(InvalidOrder):
        read_report(sign_report(report(), job, seeds["buyer"]).raw, job)
