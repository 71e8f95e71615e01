from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import canonical, merkle
from openstall.market.errors import InvalidRecord
from openstall.market.requests import openings
from openstall.market.requests.assessment import (
    MAX_STATEMENT,
    Assessment,
    Figure,
    meets,
    read_measured,
    read_statement,
    statement_hash,
    write_statement,
)
from openstall.market.requests.demands import Floor
from openstall.market.requests.openings import OpenedRow, Openings

MODEL = "0a" * 32
BLOCK = "ab" * 32
SEEDS = (bytes(32), b"\1" * 32)
ROWS = [["4.5", f"{n}", "yes" if n % 3 else "no"] for n in range(200)]
ANSWERS = [["yes" if n % 4 else "no"] for n in range(200)]
LEAVES = [openings.seal(cells, seed) for cells, seed in zip((ROWS, ANSWERS), SEEDS, strict=True)]
ROOTS = [merkle.root_of(leaves).hex() for leaves in LEAVES]
GOOD = Assessment(
    network="test:1",
    chain_id=31337,
    key="01" * 32,
    request="02" * 32,
    attempt=1,
    evaluator="0x" + "11" * 20,
    task="classification",
    metric="accuracy",
    threshold="0.9",
    floors=[
        Floor(name="robustness", limit="0.8", group=""),
        Floor(name="fairness", limit="0.1", group="region"),
        Floor(name="latency", limit="20", group=""),
        Floor(name="size", limit="10000", group=""),
    ],
    rows=200,
    rows_root=ROOTS[0],
    code_sha256="03" * 32,
    sandbox_sha256="04" * 32,
    runtime_sha256="05" * 32,
    seed=7,
    fault="",
    outputs_root=ROOTS[1],
    figures=[
        Figure(name="accuracy", hits=186, rows=200, value="0.93", low="0.88", high="0.96"),
        Figure(name="robustness", hits=200, rows=200, value="1.00", low="0.98", high="1.00"),
        Figure(name="fairness", hits=None, rows=180, value="0.05", low="0.01", high="0.12"),
        Figure(name="latency", hits=None, rows=200, value="12", low="11", high="15"),
        Figure(name="size", hits=None, rows=1, value="742", low="742", high="742"),
    ],
    passed=True,
    at=1_800_000_000,
)


def raw_of(assessment: Assessment, **outer: Any) -> bytes:
    """A statement as a stranger may write it, without any check."""
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "delivery", "digest": {"sha256": MODEL}}],
        "predicateType": "openstall.assessment/1",
        "predicate": msgspec.to_builtins(assessment),
    }
    return canonical.encode(document | outer)


def with_figure(at: int, **changes: Any) -> Assessment:
    figures = list(GOOD.figures)
    figures[at] = msgspec.structs.replace(figures[at], **changes)
    return msgspec.structs.replace(GOOD, figures=figures)


def test_a_statement_is_in_totos_and_says_what_it_must() -> None:
    raw = write_statement(MODEL, GOOD)
    document = json.loads(raw)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "openstall.assessment/1"
    assert document["subject"] == [{"name": "delivery", "digest": {"sha256": MODEL}}]
    read = read_statement(raw)
    assert (read.model_sha256, read.predicate) == (MODEL, GOOD)
    assert raw == raw_of(GOOD)
    assert len(statement_hash(raw)) == 64


@pytest.mark.parametrize(
    "wrong",
    [
        msgspec.structs.replace(
            with_figure(3, value="1234", low="1200", high="1300"), passed=False
        ),  # finer than far
        with_figure(0, hits=187),
        with_figure(0, hits=185),
        with_figure(0, hits=201),
        with_figure(0, hits=None),
        with_figure(0, value="0.94"),
        with_figure(0, value="0.930"),
        with_figure(0, value="0.9"),
        with_figure(0, low="0.89"),
        with_figure(0, high="0.97"),
        with_figure(0, rows=100),
        with_figure(1, low="0.97"),
        with_figure(2, hits=9),
        with_figure(2, value="0.13"),
        with_figure(2, high="1.01"),
        with_figure(2, rows=201),
        with_figure(3, rows=1001),
        with_figure(3, value="12.0"),
        with_figure(3, low="13"),
        with_figure(4, high="743"),
        with_figure(4, rows=200),
        with_figure(3, name="size"),
        msgspec.structs.replace(GOOD, passed=False),
        msgspec.structs.replace(GOOD, threshold="0.94"),
        msgspec.structs.replace(GOOD, threshold="0.935"),
        msgspec.structs.replace(GOOD, outputs_root=""),
        msgspec.structs.replace(GOOD, figures=GOOD.figures[:4]),
        msgspec.structs.replace(GOOD, figures=[*GOOD.figures[1:], GOOD.figures[0]]),
        msgspec.structs.replace(GOOD, floors=GOOD.floors[:3]),
        msgspec.structs.replace(GOOD, task="regression"),
        msgspec.structs.replace(GOOD, fault="model_failed"),
        msgspec.structs.replace(GOOD, fault="model_failed", figures=[], outputs_root=""),
        msgspec.structs.replace(GOOD, rows=250),
    ],
)
def test_what_does_not_follow_is_refused(wrong: Assessment) -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_statement(raw_of(wrong))
    assert caught.value.code == "bad_figures"
    with pytest.raises(InvalidRecord):
        write_statement(MODEL, wrong)


def test_a_count_says_no_more_than_its_value() -> None:
    """Of many rows the interval is the same for the next count, which would tell a row more."""
    many = msgspec.structs.replace(GOOD, rows=100_000, floors=[])
    figure = msgspec.structs.replace(GOOD.figures[0], rows=100_000, low="0.92", high="0.94")
    least, more = (msgspec.structs.replace(figure, hits=hits) for hits in (93_000, 93_001))
    read_statement(raw_of(msgspec.structs.replace(many, figures=[least])))
    with pytest.raises(InvalidRecord, match="says more than its value"):
        read_statement(raw_of(msgspec.structs.replace(many, figures=[more])))


@pytest.mark.parametrize(
    ("outer", "code"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "bad_schema"),
        ({"predicateType": "openstall.assessment/2"}, "bad_schema"),
        ({"subject": []}, "bad_schema"),
        ({"subject": [{"name": "x", "digest": {"sha256": MODEL}}]}, "bad_schema"),
        ({"subject": [{"name": "delivery", "digest": {"sha256": MODEL, "sha1": ""}}]}, "bad_schema"),
        ({"more": "4711"}, "bad_schema"),
        ({"predicate": {}}, "bad_schema"),
    ],
)
def test_another_form_is_refused(outer: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_statement(raw_of(GOOD, **outer))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"x" * (MAX_STATEMENT + 1), "too_large"),
        (raw_of(GOOD).replace(b'"at":1800000000', b'"at":1800000000.5'), "float"),
        (raw_of(GOOD).replace(b'"hits":186', b'"hits":NaN'), "float"),
        (raw_of(GOOD).replace(b'"value":"0.93"', b'"value":"NaN"'), "bad_schema"),
        (raw_of(GOOD).replace(b'"value":"0.93"', b'"value":"9e-1"'), "bad_schema"),
        (raw_of(GOOD).replace(b'"seed":7', b'"seed":7,"seed":7'), "duplicate_key"),
        (raw_of(GOOD).replace(b'"seed":7', b'"seed": 7'), "not_canonical"),
        (raw_of(GOOD).replace(b'"group":"region"', '"group":"re\u202egion"'.encode()), "bad_text"),
        (raw_of(GOOD).replace(b'"passed":true', b'"passed":1'), "bad_schema"),
    ],
)
def test_bytes_of_a_stranger_are_refused(raw: bytes, code: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_statement(raw)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_noise_is_no_statement(raw: bytes) -> None:
    with pytest.raises(InvalidRecord):
        read_statement(raw)


def test_a_model_that_could_not_be_measured_has_failed() -> None:
    failed = msgspec.structs.replace(GOOD, fault="model_failed", figures=[], outputs_root="", passed=False)
    assert not read_statement(write_statement(MODEL, failed)).predicate.passed


def test_each_figure_has_its_direction() -> None:
    accuracy, _, fairness, latency, size = GOOD.figures
    assert (meets(accuracy, "0.93"), meets(accuracy, "0.94")) == (True, False)
    assert (meets(fairness, "0.05"), meets(fairness, "0.04")) == (True, False)
    assert (meets(latency, "12"), meets(latency, "11")) == (True, False)
    assert (meets(size, "742"), meets(size, "741")) == (True, False)


def measured(value: Any) -> Any:
    return read_measured(
        value, task="classification", metric="accuracy", threshold="0.9", floors=(), rows=200
    )


def test_what_leaves_a_sandbox_is_read_as_a_strangers() -> None:
    figure = msgspec.to_builtins(GOOD.figures[0])
    good = {"rows": 200, "figures": [figure], "outputs_root": ROOTS[1]}
    assert measured(good).figures == [GOOD.figures[0]]
    hostile: list[dict[str, Any]] = [
        {**good, "note": "4.5,0,no"},
        {**good, "rows": 199},
        {**good, "rows": 200.0},
        {**good, "outputs_root": "4.5,0,no"},
        {**good, "figures": []},
        {**good, "figures": [figure, figure]},
        {**good, "figures": [{**figure, "value": "0.930000004711"}]},
        {**good, "figures": [{**figure, "value": float("nan")}]},
        {**good, "figures": [{**figure, "value": "0.9300"}]},
        {**good, "figures": [{**figure, "hits": 187}]},
        {**good, "figures": [{**figure, "name": "loss"}]},
        {**good, "figures": [{**figure, "low": "0.00"}]},
    ]
    for value in hostile:
        with pytest.raises(InvalidRecord):
            measured(value)


def shown(raw: bytes) -> Openings:
    digest = statement_hash(raw)
    entries = [
        OpenedRow(
            index=at,
            row=openings.show(LEAVES[0], SEEDS[0], at, ROWS[at]),
            output=openings.show(LEAVES[1], SEEDS[1], at, ANSWERS[at]),
        )
        for at in openings.rows_to_open(digest, BLOCK, 200)
    ]
    return Openings(network="test:1", statement=digest, block_hash=BLOCK, opened=entries)


def changed(told: Openings, part: str, **changes: Any) -> Openings:
    first = told.opened[0]
    sealed = msgspec.structs.replace(getattr(first, part), **changes)
    return msgspec.structs.replace(
        told, opened=[msgspec.structs.replace(first, **{part: sealed}), *told.opened[1:]]
    )


def test_openings_are_of_what_was_committed_to() -> None:
    raw = write_statement(MODEL, GOOD)
    read, told = read_statement(raw), shown(raw)
    assert len(told.opened) == openings.OPENED
    openings.check_openings(openings.read_openings(openings.write_openings(told)), raw, read)
    first = told.opened[0]
    wrong = [
        changed(told, "row", cells=["4.5", "999", "no"]),
        changed(told, "row", cells=[*first.row.cells, ""]),
        changed(told, "row", salt="00" * 16),
        changed(told, "row", proof=first.row.proof[:-1]),
        changed(told, "output", cells=["maybe"]),
        changed(told, "output", salt=first.row.salt),
        changed(told, "output", proof=first.row.proof),
        msgspec.structs.replace(told, opened=told.opened[1:]),
        msgspec.structs.replace(told, opened=[told.opened[1], *told.opened[1:]]),
        msgspec.structs.replace(told, block_hash="cd" * 32),
        msgspec.structs.replace(told, statement="cd" * 32),
        msgspec.structs.replace(told, network="test:2"),
    ]
    for other in wrong:
        with pytest.raises(InvalidRecord) as caught:
            openings.check_openings(other, raw, read)
        assert caught.value.code == "bad_opening"


@pytest.mark.parametrize(
    "change",
    [
        {"opened": []},
        {"block_hash": "AB" * 32},
        {"more": 1},
        {"opened": [{"index": -1}]},
    ],
)
def test_openings_of_a_stranger_are_refused(change: dict[str, Any]) -> None:
    raw = canonical.encode(msgspec.to_builtins(shown(write_statement(MODEL, GOOD))) | change)
    with pytest.raises(InvalidRecord) as caught:
        openings.read_openings(raw)
    assert caught.value.code == "bad_schema"
    with pytest.raises(InvalidRecord):
        openings.read_openings(b" " * (openings.MAX_OPENINGS + 1))


def test_the_draw_takes_no_row_twice_and_none_too_often() -> None:
    counts = [0] * 50
    for draw in range(2_000):
        rows = openings.rows_to_open(f"{draw:064x}", BLOCK, 50, 5)
        assert rows == sorted(set(rows))
        assert len(rows) == 5
        for row in rows:
            counts[row] += 1
    # 200 expected of each; 57 is four standard deviations
    assert all(143 < count < 257 for count in counts)
    assert openings.rows_to_open(MODEL, BLOCK, 7, 30) == list(range(7))


def test_a_tenth_made_up_is_found_as_often_as_reckoned() -> None:
    from openstall.learning.sampling import detection

    made_up = set(range(0, 200, 10))
    found = sum(
        bool(made_up & set(openings.rows_to_open(f"{draw:064x}", BLOCK, 200))) for draw in range(2_000)
    )
    expected = float(detection(rows=200, wrong=20, opened=openings.OPENED))
    assert 0.96 < expected < 0.97
    assert found / 2_000 == pytest.approx(expected, abs=0.016)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["yes"], ["yes"], True),
        (["yes"], ["no"], False),
        (["1"], ["2"], False),
        (["12.500000"], ["12.500300"], True),
        (["12.500000"], ["12.600000"], False),
        (["yes", "0.900000", "0.100000"], ["yes", "0.900010", "0.099990"], True),
        (["no", "0.900000", "0.100000"], ["yes", "0.900000", "0.100000"], False),
        (["no", "0.500000", "0.500000"], ["yes", "0.500010", "0.499990"], True),
        (["yes", "0.900000", "0.100000"], ["yes", "0.800000", "0.200000"], False),
        (["yes", "0.900000"], ["yes", "0.900000", "0.100000"], False),
        (["yes", "nan"], ["yes", "0.900000"], False),
        (["1e400"], ["12.500000"], False),
    ],
)
def test_answers_differ_by_more_than_processors_do(one: list[str], other: list[str], *, same: bool) -> None:
    assert openings.differing([one], [other]) == ([] if same else [0])


def test_a_count_that_the_answers_do_not_bear_out_is_seen() -> None:
    """Of these answers 117 of 200 are right; 186 were claimed."""
    raw = write_statement(MODEL, GOOD)
    told = shown(raw)
    assert openings.plausible(told.opened, read_statement(raw), 2) < Fraction(1, 10_000)
    honest = with_figure(0, hits=116, value="0.58", low="0.51", high="0.65")
    raw = write_statement(MODEL, msgspec.structs.replace(honest, passed=False))
    assert openings.plausible(shown(raw).opened, read_statement(raw), 2) > Fraction(1, 20)
    failed = msgspec.structs.replace(GOOD, fault="model_failed", figures=[], outputs_root="", passed=False)
    raw = write_statement(MODEL, failed)
    assert openings.plausible(told.opened, read_statement(raw), 2) == 1


def test_a_count_that_is_too_low_is_seen_as_well() -> None:
    """Of these answers 117 of 200 are right; whoever wants the model to miss says 20."""
    low = with_figure(0, hits=20, value="0.10", low="0.06", high="0.15")
    raw = write_statement(MODEL, msgspec.structs.replace(low, passed=False))
    assert openings.plausible(shown(raw).opened, read_statement(raw), 2) < Fraction(1, 10_000)
    rounded = with_figure(0, hits=116, value="0.58", low="0.51", high="0.65")
    told = shown(write_statement(MODEL, msgspec.structs.replace(rounded, passed=False))).opened
    assert openings.right_answers(told, 2) == sum(ROWS[one.index][2] == ANSWERS[one.index][0] for one in told)


@pytest.mark.parametrize(
    ("rows", "evaluators", "shown_rows"),
    [(10, 1, 1), (40, 1, 4), (114, 3, 3), (1_000, 1, 30), (1_000, 16, 6), (10_000_000, 16, 30), (10, 16, 1)],
)
def test_a_developer_is_shown_a_tenth_at_most(rows: int, evaluators: int, shown_rows: int) -> None:
    assert openings.shown_to_developer(rows, evaluators) == shown_rows
    few = set(openings.rows_to_open(MODEL, BLOCK, rows, shown_rows))
    assert few <= set(openings.rows_to_open(MODEL, BLOCK, rows))


@pytest.mark.parametrize(
    ("right", "said", "same"), [(" 1", "1.0", True), ("a ", "a", True), ("a", "b", False)]
)
def test_labels_are_compared_by_meaning(right: str, said: str, *, same: bool) -> None:
    assert openings._equal(right, said) == same


def test_a_replay_answers_every_row() -> None:
    with pytest.raises(InvalidRecord, match="another number of rows"):
        openings.differing([["a"]], [])
