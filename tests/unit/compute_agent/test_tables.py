from __future__ import annotations

from pathlib import Path

import pytest

from openstall.compute_agent.workloads.channel import Fault, decimal
from openstall.compute_agent.workloads.metrics import classification, regression
from openstall.compute_agent.workloads.tables import canonical_label, read_table


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def test_columns_labels_and_values(csv_file: Path) -> None:
    csv_file.write_text("\ufeffa,b,kind\n1,2.5,x\n-3,4e2, y \n\n", "utf-8")
    table = read_table(csv_file, label="kind")
    assert table.features == ("a", "b")
    assert table.values.tolist() == [[1.0, 2.5], [-3.0, 400.0]]
    assert table.labels == ("x", "y")


def test_named_features_are_picked_in_the_models_order(csv_file: Path) -> None:
    csv_file.write_text("note,b,a\nhello,1,2\n")
    table = read_table(csv_file, label=None, features=("a", "b"))
    assert table.values.tolist() == [[2.0, 1.0]]
    assert table.labels is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "row 1 has 1 cells"),
        ("a,b\n1,2\n3,4,5\n", "row 2 has 3 cells"),
        ("a,b\n1,2\n3,abc\n", "row 2, column 2 ('b'): 'abc' is not a number"),
        ("a,b\n1,\n", "row 1, column 2 ('b'): the cell is empty"),
        ("a,b\nnan,1\n", "row 1, column 1"),
        ("a,b\ninf,1\n", "row 1, column 1"),
        ("a,b\n1_0,1\n", "row 1, column 1"),
        ("a,b\n1,1e300\n", "too large"),
        ("a,a\n1,2\n", "repeats the name 'a'"),
        ("a,\n1,2\n", "column 2 of the header"),
        ("1,2\n3,4\n", "must name the columns"),
        ('a,b\n"1,2\n', "not valid CSV"),
        ("a,b\n1,\x00\n", "row 1, column 2"),
        ("a,b\n1," + "9" * 200_000 + "\n", "not valid CSV"),
        (",".join(f"c{n}" for n in range(10_001)) + "\n", "10001 columns"),
    ],
)
def test_bad_csv_says_where(csv_file: Path, text: str, words: str) -> None:
    csv_file.write_text(text)
    with pytest.raises(Fault) as caught:
        read_table(csv_file, label=None)
    assert caught.value.code == "bad_csv"
    assert words in caught.value.words
    assert caught.value.words.startswith("rows.csv: ")
    assert len(caught.value.words) < 400


def test_bad_encoding(csv_file: Path) -> None:
    csv_file.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(Fault, match="not UTF-8"):
        read_table(csv_file, label=None)


def test_missing_columns_are_named(csv_file: Path) -> None:
    csv_file.write_text("a,b\n1,2\n")
    with pytest.raises(Fault, match="no column 'kind'"):
        read_table(csv_file, label="kind")
    with pytest.raises(Fault, match="1 of the model's columns are missing: 'c'"):
        read_table(csv_file, label=None, features=("a", "c"))


def test_labels_have_one_spelling() -> None:
    assert [canonical_label(text) for text in ("1.0", " 1", "01", "1.5", "yes ", "nan", "inf")] == [
        *("1", "1", "1", "1.5", "yes", "nan", "inf"),
    ]


def test_metrics_by_hand() -> None:
    import numpy as np

    measured = classification(["a", "a", "b", "c"], ["a", "b", "b", "b"])
    # F1: a 2/3, b 1/2 (2*1/(3+1)), c 0
    assert measured == [{"name": "accuracy", "value": "0.500000"}, {"name": "macro_f1", "value": "0.388889"}]
    assert regression(np.array([0.0, 0.0]), np.array([3.0, -1.0])) == [
        {"name": "rmse", "value": "2.236068"},
        {"name": "mae", "value": "2.000000"},
    ]
    assert decimal(-0.0000001) == "0.000000"
