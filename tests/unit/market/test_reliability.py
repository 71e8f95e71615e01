from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.mechanisms.reliability import (
    DAY_S,
    HALF_LIFE_DAYS,
    Evidence,
    JobFacts,
    counts,
    explain,
    of_job,
    score,
    untrue_blame,
)
from openstall.market.mechanisms.reliability_words import What, words_of

NOW = 1_800_000_000
WHATS = st.sampled_from([what for what in get_args(What) if what != "older"])
SEEN = st.lists(
    st.builds(
        Evidence,
        at=st.integers(NOW - 900 * DAY_S, NOW + DAY_S),
        what=WHATS,
        order_id=st.text("ab", max_size=3),
    ),
    max_size=25,
)


def jobs(count: int, *, what: What = "done", at: int = NOW) -> list[Evidence]:
    return [Evidence(at=at, what=what) for _ in range(count)]


def wilson(good: int, bad: int) -> float:
    """The textbook's formula, in floating point."""
    z, total = 1.644854, good + bad
    share = good / total
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (share + z * z / (2 * total) - spread) / (1 + z * z / total)


@pytest.mark.parametrize(("good", "bad"), [(1, 0), (10, 0), (7, 3), (95, 5), (1, 9), (400, 1)])
def test_the_figure_is_the_lower_end_of_wilsons_interval(good: int, bad: int) -> None:
    found = score([*jobs(good), *jobs(bad, what="failed")], NOW)
    assert abs(found - 10_000 * wilson(good, bad)) < 1


def test_nothing_seen_is_nothing_shown_and_a_newcomer_is_not_at_the_top() -> None:
    assert score([], NOW) == 0
    assert explain([], NOW).changes == ()
    assert explain([], NOW).is_new
    newcomer = explain(jobs(1), NOW)
    assert newcomer.score < 3_000
    assert newcomer.is_new
    assert not explain(jobs(5), NOW).is_new


def test_evidence_counts_for_half_after_ninety_days_and_for_nothing_after_two_years() -> None:
    assert score(jobs(20, at=NOW - HALF_LIFE_DAYS * DAY_S), NOW) == score(jobs(10), NOW)
    assert score(jobs(20, at=NOW - 730 * DAY_S), NOW) == 0


@given(SEEN)
def test_all_points_together_are_the_figure_and_each_step_is_dated(seen: list[Evidence]) -> None:
    found = explain(seen, NOW)
    assert sum(change.points + change.aged for change in found.changes) == found.score == score(seen, NOW)
    assert 0 <= found.score < 10_000
    dates = [change.at for change in found.changes]
    assert dates == sorted(dates)
    assert len([change for change in found.changes if change.what != "older"]) == len(seen)
    assert all(change.words for change in found.changes)


@given(SEEN, st.randoms(use_true_random=False))
def test_the_order_in_which_evidence_comes_to_hand_changes_nothing(
    seen: list[Evidence], chance: object
) -> None:
    shuffled = list(seen)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert explain(shuffled, NOW) == explain(seen, NOW)


@given(SEEN)
def test_a_job_done_never_lowers_it_and_a_fault_never_raises_it(seen: list[Evidence]) -> None:
    before = score(seen, NOW)
    assert score([*seen, *jobs(1)], NOW) >= before
    assert score([*seen, *jobs(1, what="failed")], NOW) <= before
    for nobodys in ("job_failed", "buyer_ended", "called_off"):
        assert score([*seen, *jobs(1, what=nobodys)], NOW) == before


@given(st.integers(1, 60), st.sampled_from(["failed", "silent", "challenge_failed", "owner_ended"]))
def test_the_jobs_that_would_bring_the_points_back_do_just_that(done: int, fault: What) -> None:
    seen = [*jobs(done, at=NOW - DAY_S), *jobs(1, what=fault)]
    lost = next(change for change in explain(seen, NOW).changes if change.what == fault)
    before = score(jobs(done, at=NOW - DAY_S), NOW)
    assert lost.points < 0 < lost.done_to_mend
    assert score([*seen, *jobs(lost.done_to_mend)], NOW) >= before
    assert score([*seen, *jobs(lost.done_to_mend - 1)], NOW) < before


def fact(**changes: object) -> JobFacts:
    values: dict[str, object] = {"order_id": "a", "at": NOW, "started": True, "late": False} | changes
    return JobFacts(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (fact(report=("done", "ok")), "done"),
        (fact(report=("failed", "agent_lost")), "failed"),
        (fact(report=("refused", "anything")), "failed"),
        (fact(report=("failed", "too_late"), started=False), "late"),
        (fact(report=("cancelled", "owner_stopped")), "owner_ended"),
        (fact(report=("cancelled", "house_rules")), "owner_ended"),
        (fact(report=("cancelled", "cancelled")), "buyer_ended"),
        (fact(report=("limit", "cap")), "buyer_ended"),
        (fact(report=("limit", "memory")), "job_failed"),
        (fact(report=("failed", "crashed")), "job_failed"),
        (fact(report=("failed", "bad_checkpoint")), "job_failed"),
        (fact(report=None), "silent"),
        (fact(report=None, started=False), "called_off"),
        (fact(report=None, started=False, late=True), "late"),
        (fact(report=None, started=False, silent=True), "silent"),
        (fact(report=("done", "ok"), caught="wrong_meter"), "cheated"),
        (fact(report=("cancelled", "cancelled"), untrue=True), "false_report"),
        (fact(report=("limit", "unpaid"), untrue=True), "failed"),
    ],
)
def test_what_the_end_of_a_job_says_of_its_provider(facts: JobFacts, what: What) -> None:
    assert of_job(facts).what == what


def test_a_buyer_believes_no_blame_that_its_own_books_contradict() -> None:
    honest = {"buyer_ended": True, "paid_in_time": False, "cap_reached": True}
    for reason in ("cancelled", "withdrawn", "cap", "unpaid", "crashed"):
        assert not untrue_blame(reason, **honest)
    assert untrue_blame("cancelled", **{**honest, "buyer_ended": False})
    assert untrue_blame("withdrawn", **{**honest, "buyer_ended": False})
    assert untrue_blame("cap", **{**honest, "cap_reached": False})
    assert untrue_blame("unpaid", **{**honest, "paid_in_time": True})


def test_every_kind_of_step_has_words_and_what_costs_points_says_what_mends_it() -> None:
    for what in get_args(What):
        assert words_of(what, "")[0].endswith(".")
    for reason in (
        "owner_stopped",
        "house_rules",
        "deadline",
        "provider_restarted",
        "too_late",
        "agent_lost",
    ):
        assert all(words_of("failed", reason))
    assert words_of("buyer_ended", "cap")[0] == "The job reached its buyer's cap."
    assert words_of("cheated", "over_meter")[0] == "The provider was caught (over_meter)."
    assert counts([*jobs(3), *jobs(1, what="late")]) == {"done": 3, "late": 1}
