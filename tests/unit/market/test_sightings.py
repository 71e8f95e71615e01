"""What a witness makes of what it saw: every way in which one side alone could try to win by a lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import sightings
from openstall.market.capacity import read_document, sign_document
from openstall.market.errors import InvalidRecord
from openstall.market.mechanisms.blame import CUT_OFF, REASONS, VANISHED
from openstall.market.orders.documents import ComputeTerms, Contract
from openstall.market.orders.results import JobReport
from openstall.market.records import ServiceLevel
from openstall.market.service_levels import broken
from openstall.market.sightings import (
    MOST_KEPT,
    Judgement,
    ServiceCase,
    Sighting,
    Telemetry,
    add,
    add_told,
    case_hash,
    gone_since,
    judge,
)

NOW = 1_790_000_000
PAID = NOW + 10
HASH = "ab" * 32
LEVEL = ServiceLevel(start_s=60, uptime_bps=9_500, steps_per_1000s=0, bond=HASH, penalty_micro=1_000)
Make = Callable[..., Contract]


@pytest.fixture
def terms(contract: Make) -> ComputeTerms:
    return contract("compute").compute


def at(seconds: int, state: str, **dates: int) -> Sighting:
    """A look `seconds` after the payment; dates are seconds after it as well, figures are as they are."""
    figures = {"worked_s", "paused_s", "steps"}
    moved = {name: value if name in figures else PAID + value for name, value in dates.items()}
    return Sighting(at=PAID + seconds, state=state, **moved)


def working(seconds: int, **dates: int) -> Sighting:
    found = {"fetch_at": 2, "inputs_at": 4, "started_at": 5, "first_output_at": 6, **dates}
    return at(seconds, found.pop("state", "working"), **found)  # type: ignore[call-overload]


def report(**changes: Any) -> JobReport:
    plain = {
        "order": HASH,
        "state": "done",
        "reason": "ok",
        "words": "Done.",
        "seconds": 100,
        "owed_micro": 0,
        "outputs": [],
        "at": PAID + 106,
    }
    return msgspec.convert(plain | changes, JobReport)


def ended(seconds: int, **dates: int) -> Sighting:
    found = {
        "fetch_at": 2,
        "inputs_at": 4,
        "started_at": 5,
        "first_output_at": 6,
        "ended_at": seconds,
    } | dates
    return at(seconds, "ended", **found)


def judged(terms: ComputeTerms, seen: list[Sighting], **values: Any) -> Judgement:
    found = judge(terms, seen, **{"paid_at": PAID, "report": None, "now": PAID + 10_000, **values})
    assert found is not None
    return found


def share(found: Judgement) -> int:
    return broken(LEVEL, found.course).total_bps


def test_a_job_that_went_well_costs_nothing(terms: ComputeTerms) -> None:
    seen = [at(1, "waiting"), at(3, "fetching", fetch_at=2), working(20), working(90), ended(106)]
    found = judged(terms, seen, report=report(), now=PAID + 110)
    assert (found.blame.who, found.course.waited_s, found.course.window_s) == ("nobody", 3, 100)
    assert found.course.worked_s == 100
    assert share(found) == 0


def test_while_a_job_runs_nothing_is_said(terms: ComputeTerms) -> None:
    assert judge(terms, [working(20)], paid_at=PAID, report=None, now=PAID + 30) is None
    gone = [working(20), at(30, "silent"), at(40, "silent")]
    assert judge(terms, gone, paid_at=PAID, report=None, now=PAID + 45) is None, "it may come back"


def test_a_provider_that_vanishes_stands_still_until_the_longest_time(terms: ComputeTerms) -> None:
    seen = [working(20), working(66), at(70, "silent"), at(80, "none")]
    found = judged(terms, seen, now=PAID + 6 + terms.max_s)
    assert found.blame == REASONS[VANISHED]
    assert (found.course.window_s, found.course.worked_s) == (terms.max_s, 64)
    assert share(found) > 8_000


def test_a_witness_without_a_line_of_its_own_blames_nobody(terms: ComputeTerms) -> None:
    """The provider that says “network”: only who reached others can say that it was gone."""
    blind = [working(20), *(at(second, "blind") for second in range(70, 600, 10))]
    found = judged(terms, blind, now=terms.settle_by)
    assert found.blame == REASONS[CUT_OFF]
    assert share(found) == 0
    lost = report(state="failed", reason="agent_lost", seconds=0)
    assert share(judged(terms, [at(5, "blind")], report=lost)) == 0, "whoever saw nothing says nothing"
    between = [working(20), at(30, "silent"), at(40, "blind"), at(50, "silent"), working(60), ended(106)]
    assert judged(terms, between, report=report()).course.worked_s == 80


def test_a_provider_that_comes_back_to_the_same_job_was_only_away(terms: ComputeTerms) -> None:
    seen = [working(20), at(30, "silent"), at(50, "silent"), working(60), ended(106)]
    found = judged(terms, seen, report=report())
    assert (found.blame.who, found.course.worked_s) == ("nobody", 80)
    assert 0 < share(found) < 3_000


@pytest.mark.parametrize("reason", ["provider_restarted", "owner_stopped", "house_rules", "too_hot"])
def test_an_end_by_the_provider_costs_the_rest(terms: ComputeTerms, reason: str) -> None:
    stopped = report(state="failed", reason=reason, at=PAID + 40, seconds=34)
    found = judged(terms, [working(20), ended(40)], report=stopped)
    assert (found.course.window_s, found.course.worked_s) == (terms.max_s, 34)
    assert share(found) > 9_000


@pytest.mark.parametrize("reason", ["crashed", "job_error", "bad_csv", "memory", "killed", "cancelled"])
def test_a_fault_of_the_job_costs_the_provider_nothing(terms: ComputeTerms, reason: str) -> None:
    failed = report(state="failed", reason=reason, at=PAID + 40, seconds=34)
    found = judged(terms, [working(20), ended(40)], report=failed)
    assert found.blame.who != "provider"
    assert share(found) == 0


def test_a_bug_of_the_job_does_not_pay_for_the_pauses_before_it(terms: ComputeTerms) -> None:
    seen = [working(20), at(30, "paused"), at(60, "paused"), ended(66)]
    found = judged(terms, seen, report=report(state="failed", reason="crashed", at=PAID + 66))
    assert found.course.worked_s == 30
    assert share(found) > 2_000


def test_a_pause_that_the_provider_admits_counts_as_well(terms: ComputeTerms) -> None:
    found = judged(terms, [working(20), ended(106, paused_s=40)], report=report())
    assert found.course.worked_s == 60


def test_what_nobody_saw_counts_for_the_provider(terms: ComputeTerms) -> None:
    seen = [working(20), at(30, "paused"), working(60), ended(106)]
    assert share(judged(terms, seen, report=report())) == 0


def test_the_start_is_late_by_the_time_in_the_queue_not_by_the_inputs(terms: ComputeTerms) -> None:
    queued = [at(5, "waiting"), at(100, "waiting"), working(120, fetch_at=101, inputs_at=110, started_at=111)]
    found = judged(terms, [*queued, ended(206, fetch_at=101, inputs_at=110, started_at=111)], report=report())
    assert found.course.waited_s == 102
    assert share(found) > 0
    slow_buyer = [at(3, "fetching", fetch_at=2), at(100, "fetching", fetch_at=2)]
    late = {"fetch_at": 2, "inputs_at": 110, "started_at": 111}
    found = judged(terms, [*slow_buyer, working(120, **late), ended(206, **late)], report=report())
    assert (found.course.waited_s, share(found)) == (3, 0)


def test_a_buyer_that_never_serves_its_inputs_gains_nothing(terms: ComputeTerms) -> None:
    seen = [at(3, "fetching", fetch_at=2), at(900, "fetching", fetch_at=2), at(901, "ended", ended_at=901)]
    late = report(state="failed", reason="inputs_late", seconds=0, at=PAID + 901)
    found = judged(terms, seen, report=late)
    assert (found.blame.who, share(found)) == ("buyer", 0)


def test_a_start_that_failed_by_the_provider_is_broken_whole(terms: ComputeTerms) -> None:
    seen = [at(3, "waiting"), at(9, "ended", ended_at=9)]
    refused = report(state="failed", reason="sandbox_unavailable", seconds=0, at=PAID + 9)
    found = judged(terms, seen, report=refused)
    assert not found.course.started
    assert share(found) == 10_000


def test_a_provider_cannot_date_its_start_before_somebody_saw_it_waiting(terms: ComputeTerms) -> None:
    seen = [at(300, "waiting"), working(320, fetch_at=1, inputs_at=2, started_at=3)]
    found = judged(terms, [*seen, ended(400, started_at=3)], report=report())
    assert found.course.waited_s >= 290


def test_a_provider_cannot_date_the_end_before_somebody_saw_it_run(terms: ComputeTerms) -> None:
    seen = [working(20), at(200, "paused"), at(300, "paused"), ended(310)]
    found = judged(terms, seen, report=report(at=PAID + 30))
    assert found.course.window_s >= 294


def test_what_the_buyer_paid_as_work_is_work(terms: ComputeTerms) -> None:
    """A buyer that paid for the seconds cannot say later that nobody worked."""
    seen = [working(20), at(30, "silent"), at(100, "silent"), ended(106)]
    assert share(judged(terms, seen, report=report())) > 0
    paid = judged(terms, seen, report=report(), buyer_worked_s=100)
    assert (paid.course.worked_s, share(paid)) == (100, 0)
    most = judged(terms, seen, report=report(), buyer_worked_s=10**9)
    assert most.course.worked_s == 100


states = st.sampled_from(["waiting", "fetching", "working", "paused", "ended", "silent", "none", "blind"])
dates = st.integers(0, 2**40)
looks = st.lists(
    st.builds(
        Sighting,
        at=st.integers(0, 2_000),
        state=states,
        fetch_at=dates,
        inputs_at=dates,
        started_at=dates,
        first_output_at=dates,
        worked_s=dates,
        paused_s=dates,
        steps=dates,
        ended_at=dates,
    ),
    max_size=12,
)


@given(looks=looks, has_report=st.booleans(), reason=st.sampled_from(sorted(REASONS)), paid=dates)
def test_no_figure_of_a_provider_breaks_the_rule(
    looks: list[Sighting], has_report: bool, reason: str, paid: int
) -> None:
    """A modified provider may sign any dates and figures; the course stays within what is possible."""
    looks = sorted(looks, key=lambda one: one.at)
    contract_terms = msgspec.convert(TERMS, ComputeTerms)
    found = judge(
        contract_terms,
        looks,
        paid_at=0,
        report=report(state="failed", reason=reason, at=paid) if has_report else None,
        now=2_001,
        buyer_worked_s=paid,
    )
    if found is not None:
        course = found.course
        assert 0 <= course.worked_s <= course.window_s <= max(2_001, contract_terms.max_s)
        assert 0 <= course.waited_s <= 2_001
        assert 0 <= broken(LEVEL, course).total_bps <= 10_000


TERMS: dict[str, Any] = {
    "offer": "b" + "a" * 58,
    "title": "Train",
    "job_kind": "train",
    "params": {},
    "inputs": [{"name": "data.csv", "blob": {"cid": "b" + "a" * 58, "size": 1, "sha256": HASH}}],
    "limits": {"memory_bytes": 1, "disk_bytes": 1, "threads": 1, "processes": 1, "log_bytes": 1},
    "price_per_s_micro": 1,
    "cap_micro": 1,
    "max_s": 600,
    "channel": "0x" + "e5" * 20,
    "withdraw_delay_s": 600,
    "fund_by": 300,
    "start_by": 900,
    "settle_by": 2_000,
}


def test_of_looks_that_say_the_same_the_first_and_last_are_kept() -> None:
    seen: list[Sighting] = []
    for second in range(0, 1000, 10):
        seen = add(seen, working(second + 10, steps=second))
    for second in range(1000, 2000, 10):
        seen = add(seen, at(second, "silent"))
    assert [(one.at - PAID, one.state) for one in seen] == [
        (10, "working"),
        (1000, "working"),
        (1000, "silent"),
        (1990, "silent"),
    ]


def test_a_provider_that_says_something_else_at_each_look_makes_no_endless_row(terms: ComputeTerms) -> None:
    seen: list[Sighting] = [at(1, "waiting"), working(20)]
    course = ("paused", "paused", "working", "silent", "none", "blind")
    for look in range(3_000):
        seen = add(seen, working(30 + look, state=course[look % 6], steps=look))
        assert len(seen) <= MOST_KEPT
    assert len(json.dumps([msgspec.to_builtins(one) for one in seen])) < 32_000
    found = judged(terms, [*seen, ended(3_030)], report=report(at=PAID + 3_030))
    assert (found.course.window_s, found.course.steps) == (3_024, 2_998)
    assert found.course.worked_s == 3_024 - (500 * 4 - 2), "of each six seconds four were seen idle"
    for look in range(300):
        seen = add(seen, at(4_000 + look, ("silent", "none")[look % 2]))
    assert (len(seen), gone_since(seen)) == (MOST_KEPT, PAID + 3_027)


moments = st.lists(
    st.tuples(st.integers(1, 20), states, st.integers(0, 31), st.integers(0, 3)), min_size=25, max_size=60
)


@given(moments=moments, has_report=st.booleans(), reason=st.sampled_from(sorted(REASONS)))
def test_what_is_left_out_changes_nothing_of_the_verdict(
    moments: list[tuple[int, str, int, int]], has_report: bool, reason: str
) -> None:
    names = ("fetch_at", "inputs_at", "started_at", "first_output_at", "ended_at")
    short: list[Sighting] = []
    long: list[Sighting] = []
    now = total = 0
    for passed, state, said, more in moments:
        now, total = now + passed, total + more
        values = {name: now for place, name in enumerate(names) if said >> place & 1}
        look = Sighting(at=now, state=state, paused_s=total, steps=total, **values)
        long = add(long, look)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sightings, "MOST_KEPT", 16)
            short = add(short, look)
    assert len(short) <= 16
    signed = report(state="failed", reason=reason, at=now) if has_report else None
    contract_terms = msgspec.convert(TERMS, ComputeTerms)
    whole, cut = (judge(contract_terms, seen, paid_at=0, report=signed, now=2_001) for seen in (long, short))
    assert cut == whole


def test_a_look_before_a_date_was_known_is_kept() -> None:
    """The start lies between the last look without it and the first with it; both must stay."""
    seen: list[Sighting] = []
    for second in (1, 2, 3):
        seen = add(seen, at(second, "working", started_at=1))
    seen = add(seen, at(9, "working", started_at=1, first_output_at=8))
    assert [one.at - PAID for one in seen] == [1, 3, 9]


@pytest.mark.parametrize("clock_s", [-10_000, 0, 10_000])
def test_a_start_that_a_witness_missed_is_shown_to_it_by_the_providers_own_word(
    terms: ComputeTerms, peers: dict[str, str], clock_s: int
) -> None:
    """Whatever its clock said: it was there before the witness found it gone."""
    seen = [at(3, "fetching", fetch_at=2), at(20, "silent"), at(30, "silent")]
    over = PAID + 3 + terms.max_s + 100
    assert judge(terms, seen, paid_at=PAID, report=None, now=over) is None
    dates = {"fetch_at": PAID + 2, "inputs_at": PAID + 4, "started_at": PAID + 5, "first_output_at": PAID + 6}
    told = msgspec.convert(plain_telemetry(peers, at=PAID + 12 + clock_s, **dates), Telemetry)
    found = judged(terms, add_told(seen, told, paid_at=PAID, now=over), now=over)
    assert found.blame == REASONS[VANISHED]
    assert 9_000 < share(found) <= 10_000


@pytest.mark.parametrize("told_at", [20_000, 60_000, 90_900])
@pytest.mark.parametrize("state", ["paused", "working"])
def test_what_a_provider_tells_of_a_gap_that_was_left_out_counts_nothing_twice(
    peers: dict[str, str], told_at: int, state: str
) -> None:
    """A buyer hands in the provider's own "paused" of a moment whose idle seconds are counted already."""
    lasting = msgspec.structs.replace(msgspec.convert(TERMS, ComputeTerms), max_s=130_000)
    seen: list[Sighting] = []
    for look in range(400):
        state_seen = "paused" if look % 4 < 2 else "working"
        seen = add(seen, working(300 * (look + 1), state=state_seen, steps=look))
    over = report(state="done", at=PAID + 120_000)
    plain = judged(lasting, seen, report=over, now=PAID + 120_010)
    told = msgspec.convert(plain_telemetry(peers, at=PAID + told_at, state=state), Telemetry)
    more = add_told(seen, told, paid_at=PAID, now=PAID + 120_010)
    assert any(one.idle_s for one in more), "the row was shortened"
    assert judged(lasting, more, report=over, now=PAID + 120_010).course == plain.course
    assert plain.course.window_s - plain.course.worked_s == 300 * 100


def test_a_bond_pays_once_for_an_order() -> None:
    assert case_hash(HASH, "cd" * 32) == case_hash(HASH, "cd" * 32)
    assert len({case_hash(HASH, HASH), case_hash("cd" * 32, HASH), case_hash(HASH, "cd" * 32)}) == 3


def plain_telemetry(peers: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "network": "openstall-test-1",
        "order": HASH,
        "by": peers["seller"],
        "nonce": "0f" * 16,
        "state": "working",
        "fetch_at": NOW,
        "inputs_at": NOW,
        "started_at": NOW,
        "first_output_at": NOW,
        "worked_s": 5,
        "paused_s": 0,
        "steps": 7,
        "heard_at": 0,
        "ended_at": 0,
        "at": NOW,
    } | changes


def test_telemetry_is_its_authors(peers: dict[str, str], seeds: dict[str, bytes]) -> None:
    network = "openstall-test-1"
    good = msgspec.convert(plain_telemetry(peers), Telemetry)
    signed = sign_document(good, what="telemetry", network=network, seed=seeds["seller"])
    assert read_document(signed, Telemetry, what="telemetry", network=network, author=peers["seller"]) == good
    with pytest.raises(InvalidRecord):
        read_document(signed, Telemetry, what="telemetry", network=network, author=peers["buyer"])
    with pytest.raises(InvalidRecord):
        read_document(signed, ServiceCase, what="service-case", network=network, author=peers["seller"])


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "sleeping"},
        {"nonce": ""},
        {"worked_s": -1},
        {"steps": 2**53},
        {"at": 2**41},
        {"first_output_at": 1.5},
        {"order": "x"},
        {"more": 1},
    ],
)
def test_telemetry_that_makes_no_sense(
    peers: dict[str, str], seeds: dict[str, bytes], changes: dict[str, Any]
) -> None:
    from openstall.market import canonical, ids

    plain = plain_telemetry(peers, **changes)
    network = "openstall-test-1"
    try:
        signature = ids.sign(seeds["seller"], "telemetry", network, canonical.encode(plain))
    except InvalidRecord:
        return  # it cannot even be written
    value = {"doc": plain, "sig": signature}
    with pytest.raises(InvalidRecord):
        read_document(value, Telemetry, what="telemetry", network=network, author=peers["seller"])
