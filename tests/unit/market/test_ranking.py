"""What an evaluator's sheet may say of a contest, which prizes follow, and what others sign or refuse."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.learning import intervals
from openstall.learning.grid import grid_of, least_hits
from openstall.market import canonical
from openstall.market.errors import InvalidOrder
from openstall.market.requests.assessment import (
    Assessment,
    Figure,
    has_passed,
    read_statement,
    write_statement,
)
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.demands import Floor
from openstall.market.requests.ranking import (
    MAX_SHEET,
    MOST_COUNTED,
    Facts,
    Line,
    Sheet,
    disagreeing,
    may_sign,
    prizes_of,
    read_sheet,
    write_sheet,
)

ROWS = 100
ONE, OTHER = "0x" + "e1" * 20, "0x" + "e2" * 20
WHO = [f"0x{n + 1:040x}" for n in range(4)]
MODELS = [f"{n + 1:064x}" for n in range(4)]


def body(**changes: Any) -> RequestBody:
    said: dict[str, Any] = {
        "title": "Good or bad",
        "summary": "",
        "task": "classification",
        "features": ["a"],
        "classes": ["bad", "good"],
        "target": "kind",
        "rows": ROWS,
        "rows_root": "ab" * 32,
        "training": None,
        "training_key_sha256": "",
        "metric": "accuracy",
        "threshold": "0.5",
        "floors": [],
        "licence": "MIT",
        "framework": "onnx",
        "mechanism": "contest",
        "budget_micro": 1_000,
        "deposit_micro": 10,
        "commit_by": 1_000,
        "reveal_by": 2_000,
        "deliver_by": 2_000,
        "evaluate_s": 60,
        "review_s": 60,
        "arbiter": "",
        "arbiter_s": 60,
        "arbiter_fee_bps": 0,
        "tries": 3,
        "evaluators": [ONE, OTHER],
        "quorum": 2,
        "weights_bps": [6_000, 3_000, 1_000],
        "wallet": "0x" + "b1" * 20,
        "chain_id": 7,
        "auction": "",
        "escrow": "",
        "contest": "0x" + "c0" * 20,
    }
    return RequestBody(**(said | changes))


def facts(entries: int = 3, **changes: Any) -> Facts:
    return Facts(
        network="test:1",
        contest=b"\1" * 32,
        request_hash=b"\2" * 32,
        body=body(**changes),
        entries=tuple(zip(WHO, MODELS, strict=True))[:entries],
    )


def figure(hits: int) -> Figure:
    grid = grid_of("accuracy", "0.5")
    value = grid.down(Fraction(hits, ROWS))
    least = least_hits(grid, value, ROWS)
    low, high = intervals.wilson(least, ROWS)
    return Figure(
        name="accuracy",
        hits=least,
        rows=ROWS,
        value=grid.text(value),
        low=grid.text(grid.down(low)),
        high=grid.text(grid.up(high)),
    )


def plain(name: str, value: str, rows: int = ROWS) -> Figure:
    return Figure(name=name, hits=None, rows=rows, value=value, low=value, high=value)  # type: ignore[arg-type]


def statement(
    known: Facts, at: int, figures: list[Figure] | None, *, evaluator: str = ONE, **changes: Any
) -> dict[str, Any]:
    """What an evaluator says of one entry; without figures: it could not be run."""
    asked = known.body
    said: dict[str, Any] = {
        "network": known.network,
        "chain_id": 7,
        "key": known.contest.hex(),
        "request": known.request_hash.hex(),
        "attempt": 1,
        "evaluator": evaluator,
        "task": asked.task,
        "metric": asked.metric,
        "threshold": asked.threshold,
        "floors": asked.floors,
        "rows": ROWS,
        "rows_root": asked.rows_root,
        "code_sha256": "03" * 32,
        "sandbox_sha256": "04" * 32,
        "runtime_sha256": "05" * 32,
        "seed": known.seed,
        "fault": "" if figures else "model_failed",
        "outputs_root": "0c" * 32 if figures else "",
        "figures": figures or [],
        "passed": bool(figures) and _passes(asked, changes.get("floors", asked.floors), figures or []),
        "at": 1_500,
    }
    model = changes.pop("model", MODELS[at])
    raw = write_statement(model, Assessment(**(said | changes)))
    found: dict[str, Any] = canonical.decode(raw)
    return found


def _passes(asked: RequestBody, floors: list[Floor], figures: list[Figure]) -> bool:
    return has_passed(asked.metric, asked.threshold, floors, figures)


def sheet(known: Facts, *hits: int | None, **changes: Any) -> Sheet:
    """A whole sheet; a number of rows told right for each entry, None for a model that was not shown."""
    author = changes.get("evaluator", ONE)
    said: dict[str, Any] = {
        "network": known.network,
        "chain_id": 7,
        "contest": known.contest.hex(),
        "evaluator": author,
        "lines": [
            Line(
                entrant=who,
                model_sha256=model,
                statement=None
                if right is None
                else statement(known, at, [figure(right)] if right >= 0 else None, evaluator=author),
            )
            for at, ((who, model), right) in enumerate(zip(known.entries, hits, strict=True))
        ],
        "at": 1_500,
    }
    return Sheet(**(said | changes))


def prizes(known: Facts, *hits: int | None) -> list[int]:
    _sheet, found = read_sheet(write_sheet(sheet(known, *hits)), known)
    return list(prizes_of(known, found).values())


def test_the_best_are_paid_by_rank_and_only_those_that_pass() -> None:
    assert prizes(facts(), 70, 95, 80) == [100, 600, 300]
    assert prizes(facts(), 70, 49, 80) == [300, 0, 600]
    assert prizes(facts(), -1, 80, None) == [0, 600, 0]
    assert prizes(facts(), 10, 20, 30) == [0, 0, 0]


def test_equal_figures_stand_in_an_order_that_nobody_can_choose() -> None:
    paid = prizes(facts(), 80, 80, 80)
    assert sorted(paid) == [100, 300, 600]
    other = facts()
    other = Facts(
        network=other.network,
        contest=b"\3" * 32,
        request_hash=other.request_hash,
        body=other.body,
        entries=other.entries,
    )
    assert paid == prizes(facts(), 80, 80, 80)
    orders = {tuple(prizes(_named(bytes([n]) * 32), 80, 80, 80)) for n in range(20)}
    assert len(orders) > 1
    assert sorted(prizes(other, 80, 80, 80)) == [100, 300, 600]


def _named(contest: bytes) -> Facts:
    known = facts()
    return Facts(
        network=known.network,
        contest=contest,
        request_hash=known.request_hash,
        body=known.body,
        entries=known.entries,
    )


def test_without_ranks_the_pool_is_shared_by_quality() -> None:
    known = facts(weights_bps=[])
    assert prizes(known, 60, 90, 50) == [300, 450, 250]
    assert prizes(known, 60, 40, None) == [1_000, 0, 0]


@given(st.lists(st.integers(-1, ROWS), min_size=3, max_size=3), st.booleans())
def test_no_more_than_the_pool_is_paid_and_a_better_model_never_less(hits: list[int], shares: bool) -> None:
    known = facts(weights_bps=[] if shares else [6_000, 3_000, 1_000])
    paid = prizes(known, *hits)
    assert sum(paid) <= 1_000
    for (one, first), (other, second) in zip(
        zip(hits, paid, strict=True), zip(hits[1:], paid[1:], strict=True), strict=False
    ):
        assert one <= other or first >= second


def test_an_error_is_better_the_smaller_it_is() -> None:
    known = facts(task="regression", classes=[], metric="rmse", threshold="12.5")
    values = ["12.4", "3.0", "12.6"]
    lines = [
        Line(entrant=who, model_sha256=model, statement=statement(known, at, [plain("rmse", values[at])]))
        for at, (who, model) in enumerate(known.entries)
    ]
    _sheet, found = read_sheet(write_sheet(sheet(known, None, None, None, lines=lines)), known)
    assert list(prizes_of(known, found).values()) == [300, 600, 0]


def refused(raw: bytes, known: Facts) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read_sheet(raw, known)
    return caught.value.code


def test_a_sheet_of_another_contest_or_of_a_stranger_is_refused() -> None:
    known = facts()
    good = sheet(known, 70, 95, 80)
    assert read_sheet(write_sheet(good), known)[0] == good
    for code, changes in (
        ("other_contest", {"network": "test:2"}),
        ("other_contest", {"chain_id": 8}),
        ("other_contest", {"contest": "09" * 32}),
        ("not_an_evaluator", {"evaluator": "0x" + "e9" * 20}),
    ):
        assert refused(write_sheet(msgspec.structs.replace(good, **changes)), known) == code, changes


def test_an_entry_that_is_missing_foreign_or_twice_is_refused() -> None:
    known = facts()
    good = sheet(known, 70, 95, 80)
    foreign = msgspec.structs.replace(good.lines[0], entrant=WHO[3])
    swapped = msgspec.structs.replace(good.lines[0], model_sha256=MODELS[1])
    for lines in (
        good.lines[:2],
        [*good.lines, good.lines[0]],
        [foreign, *good.lines[1:]],
        [swapped, *good.lines[1:]],
        good.lines[::-1],
    ):
        assert refused(write_sheet(msgspec.structs.replace(good, lines=lines)), known) == "other_entries"


def test_a_statement_about_something_else_is_refused() -> None:
    known = facts()
    good = sheet(known, 70, 95, 80)
    for changes in (
        {"key": "09" * 32},
        {"request": "09" * 32},
        {"attempt": 2},
        {"network": "test:2"},
        {"chain_id": 8},
        {"rows_root": "cd" * 32},
        {"threshold": "0.51"},
        {"floors": [Floor(name="size", limit="10", group="")]},
        {"seed": known.seed ^ 1},
        {"evaluator": OTHER},
        {"model": MODELS[1]},
    ):
        figures = [figure(70)]
        if "floors" in changes:
            figures.append(plain("size", "9", 1))
        other = statement(known, 0, figures, **changes)
        lines = [msgspec.structs.replace(good.lines[0], statement=other), *good.lines[1:]]
        raw = write_sheet(msgspec.structs.replace(good, lines=lines))
        assert refused(raw, known) == "other_assessment", changes


def test_figures_that_are_none_or_contradict_themselves_are_refused() -> None:
    known = facts()
    good: dict[str, Any] = msgspec.to_builtins(sheet(known, 70, 95, 80))
    for wrong in ("nan", "1.01", "-0.1", "0.9999999", "Infinity"):
        broken = json.loads(json.dumps(good))
        broken["lines"][0]["statement"]["predicate"]["figures"][0]["value"] = wrong
        assert refused(canonical.encode(broken), known) in ("bad_schema", "bad_figures"), wrong
    raised = json.loads(json.dumps(good))
    raised["lines"][0]["statement"]["predicate"]["figures"][0] |= {"value": "0.99", "high": "1.00"}
    assert refused(canonical.encode(raised), known) == "bad_figures"
    claimed = json.loads(json.dumps(good))
    claimed["lines"][0]["statement"]["predicate"]["passed"] = False
    assert refused(canonical.encode(claimed), known) == "bad_figures"
    raw = canonical.encode(good).replace(b'"0.70"', b"NaN")
    assert refused(raw, known) == "float"


def test_what_is_too_long_or_no_sheet_is_refused_before_it_is_read() -> None:
    known = facts()
    assert refused(b" " * (MAX_SHEET + 1), known) == "too_large"
    good: dict[str, Any] = msgspec.to_builtins(sheet(known, 70, 95, 80))
    assert refused(canonical.encode({**good, "more": 1}), known) == "bad_schema"
    assert refused(canonical.encode({**good, "lines": []}), known) == "bad_schema"
    padded = json.loads(json.dumps(good))
    padded["lines"][0]["statement"]["predicate"]["row"] = "4.5,yes"
    assert refused(canonical.encode(padded), known) == "bad_schema"
    many = [good["lines"][0]] * (MOST_COUNTED + 1)
    assert refused(canonical.encode({**good, "lines": many}), known) == "bad_schema"
    assert refused(b"[" * 5_000, known) == "not_json"


def read(known: Facts, *hits: int | None, evaluator: str = ONE) -> dict[str, Any]:
    return read_sheet(write_sheet(sheet(known, *hits, evaluator=evaluator)), known)[1]


def test_one_signs_for_another_only_within_a_step_of_the_grid() -> None:
    known = facts()
    own = read(known, 70, -1, None)
    assert disagreeing(known.body, own, read(known, 71, -1, None, evaluator=OTHER)) == []
    assert disagreeing(known.body, own, read(known, 69, -1, None, evaluator=OTHER)) == []
    assert disagreeing(known.body, own, read(known, 72, -1, None, evaluator=OTHER)) == [WHO[0]]
    assert disagreeing(known.body, own, read(known, 70, 50, None, evaluator=OTHER)) == [WHO[1]]
    assert disagreeing(known.body, own, read(known, 70, -1, 99, evaluator=OTHER)) == [WHO[2]]
    assert disagreeing(known.body, own, read(known, 70, -1, None, evaluator=OTHER) | {WHO[0]: None}) == [
        WHO[0]
    ]
    assert disagreeing(known.body, own, {}) == [WHO[0], WHO[1]]


def test_one_evaluator_does_not_turn_two_close_entries_round() -> None:
    known = facts(2)
    own = read(known, 70, 71)
    turned = read(known, 71, 70, evaluator=OTHER)
    assert disagreeing(known.body, own, turned) == []
    assert not may_sign(known, own, turned, now=1_750)
    assert may_sign(known, own, read(known, 70, 72, evaluator=OTHER), now=1_001)  # the same prizes
    assert may_sign(known, own, turned, now=1_751)  # else two machines that differ would never agree
    assert not may_sign(known, own, read(known, 70, 73, evaluator=OTHER), now=1_751)


def test_of_a_latency_only_counts_whether_it_is_short_enough() -> None:
    known = facts(1, floors=[Floor(name="latency", limit="20", group="")])

    def timed(value: str) -> dict[str, Any]:
        figures = [figure(70), plain("latency", value)]
        return {WHO[0]: read_statement(canonical.encode(statement(known, 0, figures)))}

    assert disagreeing(known.body, timed("3"), timed("19")) == []
    assert disagreeing(known.body, timed("19"), timed("21")) == [WHO[0]]


def test_the_seed_of_the_measurements_hangs_on_every_entry() -> None:
    seeds = {facts(entries).seed for entries in (1, 2, 3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)
