"""Requests and developers: what a modified client may sign, and which of it is refused everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openstall.market.errors import InvalidRecord
from openstall.market.fields import check_package
from openstall.market.records import parse_record
from openstall.market.requests.bodies import RequestBody, columns_of

NOW = 1_790_000_000
AUCTION, ESCROW = "0x" + "e5" * 20, "0x" + "f6" * 20
BUYER, ARBITER, HIGH = "0x" + "b2" * 20, "0x" + "c3" * 20, "0x" + "d4" * 20
CONTEST = {
    "mechanism": "contest",
    "auction": "",
    "escrow": "",
    "contest": AUCTION,
    "weights_bps": [7_000, 3_000],
    "deliver_by": NOW + 7_200,
    "arbiter": "",
    "evaluators": [ARBITER, HIGH],
}
REGRESSION = {"task": "regression", "classes": [], "metric": "rmse", "threshold": "12.5"}
FAIR = {"name": "fairness", "limit": "0.1", "group": "region"}
SIZE = {"name": "size", "limit": "1000", "group": ""}

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("bad_schema", {"title": "x"}),
    ("bad_schema", {"extra": 1}),
    ("bad_text", {"target": "culti\u202evar"}),
    ("bad_schema", {"task": "clustering"}),
    ("bad_schema", {"features": []}),
    ("bad_schema", {"features": [f"c{n}" for n in range(1_025)]}),
    ("bad_schema", {"features": ["x" * 121]}),
    ("bad_schema", {"features": [""]}),
    ("bad_columns", {"features": ["alcohol", "alcohol"]}),
    ("bad_columns", {"features": ["alcohol", "cultivar"]}),
    ("bad_columns", {"classes": ["barolo", "barolo"]}),
    ("bad_columns", {"classes": ["barolo"]}),
    ("bad_schema", {"classes": [f"c{n}" for n in range(257)]}),
    ("bad_columns", {**REGRESSION, "classes": ["a", "b"]}),
    ("bad_schema", {"rows": 9}),
    ("bad_schema", {"rows": 100_001}),
    ("bad_schema", {"rows_root": "AB" * 32}),
    ("bad_schema", {"rows_root": "ab" * 32 + "\n"}),
    ("bad_training", {"training": None}),
    ("bad_training", {"training_key_sha256": ""}),
    ("bad_figures", {"metric": "rmse"}),
    ("bad_figures", {**REGRESSION, "metric": "accuracy", "threshold": "0.9"}),
    ("bad_schema", {"metric": "profit"}),
    ("bad_figures", {"threshold": "1.01"}),
    ("bad_schema", {"threshold": "-0.1"}),
    ("bad_schema", {"threshold": "nan"}),
    ("bad_schema", {"threshold": 1}),
    ("bad_schema", {"threshold": "0.1234567"}),
    ("bad_schema", {"floors": [{"name": "beauty", "limit": "1", "group": ""}]}),
    ("bad_figures", {"floors": [SIZE, SIZE]}),
    ("bad_figures", {"floors": [FAIR | {"limit": "2"}]}),
    ("bad_figures", {"floors": [FAIR | {"group": ""}]}),
    ("bad_figures", {"floors": [SIZE | {"group": "region"}]}),
    ("bad_figures", {"floors": [SIZE | {"limit": "0.5"}]}),
    ("bad_columns", {"floors": [FAIR | {"group": "cultivar"}]}),
    ("bad_schema", {"framework": "pickle"}),
    ("bad_schema", {"mechanism": "first_price"}),
    ("bad_schema", {"budget_micro": 0}),
    ("bad_schema", {"budget_micro": 10**15 + 1}),
    ("bad_schema", {"deposit_micro": 0}),
    ("bad_money", {"deposit_micro": 50_000_001}),
    ("bad_times", {"commit_by": NOW - 60 + 59}),
    ("bad_times", {"commit_by": NOW + 7_200}),
    ("bad_times", {"reveal_by": NOW + 86_400}),
    ("bad_times", {"deliver_by": NOW + 7_259}),
    ("bad_times", {"deliver_by": NOW + 361 * 86_400}),
    ("bad_schema", {"evaluate_s": 59}),
    ("bad_schema", {"review_s": 91 * 86_400}),
    ("bad_schema", {"arbiter_fee_bps": 1_001}),
    ("bad_schema", {"tries": 0}),
    ("bad_schema", {"tries": 17}),
    ("bad_schema", {"evaluators": []}),
    ("bad_evaluators", {"evaluators": [HIGH, BUYER]}),
    ("bad_evaluators", {"evaluators": [BUYER, BUYER.replace("b", "B")]}),
    ("bad_schema", {"evaluators": ["0x" + f"{n + 1:040x}" for n in range(17)]}),
    ("bad_schema", {"quorum": 0}),
    ("bad_evaluators", {"quorum": 3}),
    ("bad_evaluators", {"quorum": 1}),
    ("party_is_contract", {"evaluators": [BUYER, ESCROW]}),
    ("same_party", {"evaluators": [BUYER, ARBITER]}),
    ("same_party", {"arbiter": BUYER}),
    ("party_is_contract", {"wallet": AUCTION}),
    ("party_is_contract", {"arbiter": ESCROW.upper().replace("X", "x")}),
    ("bad_mechanism", {"auction": ""}),
    ("bad_mechanism", {"escrow": AUCTION}),
    ("bad_mechanism", {"contest": "0x" + "77" * 20}),
    ("bad_mechanism", {"weights_bps": [10_000]}),
    ("bad_mechanism", {**CONTEST, "weights_bps": [7_000, 2_999]}),
    ("bad_mechanism", {**CONTEST, "weights_bps": [3_000, 7_000]}),
    ("bad_mechanism", {**CONTEST, **REGRESSION, "weights_bps": []}),
    ("bad_mechanism", {**CONTEST, "arbiter": "0x" + "88" * 20}),
    ("bad_evaluators", {**CONTEST, "evaluators": [BUYER.upper().replace("X", "x"), HIGH]}),
    ("bad_mechanism", {**CONTEST, "auction": "0x" + "77" * 20}),
    ("bad_times", {**CONTEST, "deliver_by": NOW + 86_400}),
    ("bad_schema", {**CONTEST, "weights_bps": [10_000, 0]}),
]


@pytest.mark.parametrize(
    ("code", "changes"), REFUSED, ids=[f"{n} {code}" for n, (code, _) in enumerate(REFUSED)]
)
def test_a_senseless_request_is_refused(
    plain_record: Callable[..., Any], wire: Callable[..., bytes], code: str, changes: dict[str, Any]
) -> None:
    raw = wire(plain_record("request", changes))
    with pytest.raises(InvalidRecord) as caught:
        parse_record(raw, network="openstall-test-1", now=NOW)
    assert caught.value.code == code


SENSIBLE: list[dict[str, Any]] = [
    {},
    CONTEST,
    {**CONTEST, "weights_bps": []},
    {**CONTEST, **REGRESSION},
    REGRESSION,
    {"training": None, "training_key_sha256": ""},
]


@pytest.mark.parametrize("changes", SENSIBLE)
def test_a_sensible_one_is_taken(signed: Callable[..., Any], changes: dict[str, Any]) -> None:
    assert isinstance(signed("request", changes).body, RequestBody)


def test_the_cells_of_a_sealed_row_have_one_order(signed: Callable[..., Any]) -> None:
    assert columns_of(signed("request").body) == ("alcohol", "ash", "cultivar", "region")
    known = signed("request", {"floors": [FAIR | {"group": "ash"}]}).body
    assert columns_of(known) == ("alcohol", "ash", "cultivar")


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("bad_schema", {"title": ""}),
        ("bad_schema", {"skills": "x" * 4_001}),
        ("bad_text", {"skills": "hidden \u200b words"}),
        ("bad_schema", {"tasks": []}),
        ("bad_schema", {"tasks": ["clustering"]}),
        ("duplicate_task", {"tasks": ["regression", "regression"]}),
        ("bad_schema", {"places": -1}),
        ("bad_schema", {"places": 1_001}),
        ("bad_schema", {"wallet": "0x" + "0" * 40}),
        ("bad_schema", {"rating": 5}),
    ],
)
def test_a_senseless_developer_is_refused(
    plain_record: Callable[..., Any], wire: Callable[..., bytes], code: str, changes: dict[str, Any]
) -> None:
    raw = wire(plain_record("developer", changes))
    with pytest.raises(InvalidRecord) as caught:
        parse_record(raw, network="openstall-test-1", now=NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["model.onnx", "MODEL.onnx"], "duplicate_file"),
        (["model.onnx", "card.md", "Card.md"], "duplicate_file"),
        (["model.pkl"], "unsafe_format"),
        (["card.md"], "unsafe_format"),
    ],
)
def test_a_package_names_each_file_once_and_holds_no_code(names: list[str], code: str) -> None:
    check_package(["model.onnx", "card.md"])
    with pytest.raises(InvalidRecord) as caught:
        check_package(names)
    assert caught.value.code == code
