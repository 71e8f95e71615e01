"""The requester's CSV: what spreadsheets write is read, and what is wrong is said with its line and a fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from real_tables import WINE, digits, wine

from openstall.app.services.requests import table as reading
from openstall.app.services.requests.looking import Choice, Look, look
from openstall.app.services.requests.table import Problems, Table, read_table
from openstall.market.errors import NotFound, Refused

GOOD = "a,b,y\n" + "".join(f"{n},{n % 7}.5,{'yes' if n % 2 else 'no'}\n" for n in range(120))


def read(path: Path, raw: bytes | str, encoding: str = "") -> tuple[Table | None, Problems]:
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    problems = Problems()
    return read_table(path, problems, encoding=encoding), problems


def judged(tmp_path: Path, raw: bytes | str, choice: Choice | None = None) -> tuple[Look | None, Problems]:
    found, problems = read(tmp_path / "t.csv", raw)
    if found is None or problems.total:
        return None, problems
    return look(found, choice or Choice(target="y"), problems), problems


def lines(problems: Problems) -> Sequence[tuple[int, str]]:
    assert all(one.fix for one in problems.items), "every problem says what to do"
    return [(one.line, one.words) for one in problems.items]


def test_wines_as_they_come(tmp_path: Path) -> None:
    problems = Problems()
    table = read_table(wine(tmp_path / "wine.csv"), problems)
    assert table is not None
    choice = Choice(target="cultivar", metric="macro_f1", threshold="0.95")
    found = look(table, choice, problems)
    assert found is not None
    assert problems.total == 0
    assert (found.task, found.classes) == ("classification", {"grignolino": 71, "barolo": 59, "barbera": 48})
    assert found.features == tuple(WINE[:-1])
    assert found.columns == tuple(WINE)
    assert found.rows[0] == (*table.rows[0][:-1], "barolo")
    assert found.warnings == []


def test_a_european_spreadsheet_gives_the_same_rows(tmp_path: Path) -> None:
    plain, european = Problems(), Problems()
    point = read_table(wine(tmp_path / "a.csv"), plain)
    comma = read_table(wine(tmp_path / "b.csv", delimiter=";", decimal=","), european)
    assert point is not None
    assert comma is not None
    assert (comma.delimiter, comma.rows) == (";", point.rows)
    assert "alcohol" in comma.comma_columns
    found = look(comma, Choice(target="cultivar"), european)
    assert found is not None
    assert "Decimal commas" in found.warnings[0]


def test_digits_are_classes_though_they_are_numbers(tmp_path: Path) -> None:
    problems = Problems()
    table = read_table(digits(tmp_path / "digits.csv"), problems)
    assert table is not None
    found = look(table, Choice(target="digit", metric="accuracy", threshold="0.1"), problems)
    assert found is not None
    assert (found.task, len(found.rows), len(found.features)) == ("classification", 1_797, 64)
    assert found.classes["3"] == 183
    assert "The same in every row" in " ".join(found.warnings)
    assert "reached without a model" in found.warnings[-1]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path, mark: bytes) -> None:
    table, _ = read(tmp_path / "t.csv", mark + GOOD.encode())
    assert table is not None
    assert table.header == ("a", "b", "y")


def test_other_encodings(tmp_path: Path) -> None:
    turkish = GOOD.replace("yes", "evet").replace("no", "değil")
    table, _ = read(tmp_path / "t.csv", turkish.encode("utf-16"))
    assert table is not None
    assert table.rows[0][2] == "değil"
    table, problems = read(tmp_path / "t.csv", turkish.encode("windows-1254"))
    assert table is None
    assert lines(problems) == [(2, "There are letters that are not UTF-8.")]
    table, _ = read(tmp_path / "t.csv", turkish.encode("windows-1254"), "windows-1254")
    assert table is not None
    assert table.rows[0][2] == "değil"
    with pytest.raises(Refused, match="not known"):
        read(tmp_path / "t.csv", GOOD, "rot13")


@pytest.mark.parametrize(
    ("raw", "line", "words"),
    [
        (b"", 0, "empty"),
        (b"  \n \n", 0, "empty"),
        (b"\xff\xfe", 0, "empty"),
        (b"\xef\xbb\xbf", 0, "empty"),
        (b"PK\x03\x04rest of a workbook", 0, "workbook"),
        (b"\xd0\xcf\x11\xe0old workbook", 0, "workbook"),
        (GOOD.encode().replace(b"3.5", b"3\x00.5", 1), 5, "bytes that no text has"),
        ("1,2,3\n4,5,6\n", 1, "numbers, no names"),
        ("a\n1\n2\n", 1, "only one column"),
        (GOOD.replace("a,b,y", "a,,y"), 1, "Column 2 has no name"),
        (GOOD.replace("a,b,y", "a,a,y"), 1, "Two columns are named “a”"),
        (GOOD.replace("a,b,y", "a,b\u202e,y"), 1, "name of column 2"),
        (GOOD.replace("5,5.5,yes", "5,5.5,yes,1"), 7, "4 cells; the header names 3"),
        (GOOD.replace("5,5.5,yes", "5"), 7, "1 cells; the header names 3"),
        (GOOD.replace("5,5.5,yes", '"5,5.5,yes', 1), 7, "quotation marks do not fit"),
        (GOOD.replace("5,5.5,yes", "5,5.5," + "y" * 1_001, 1), 7, "more than 1,000 characters"),
        ("a,b,y\n1,2,yes\n", 0, "1 rows; a figure needs 10"),
        (",".join(f"c{n}" for n in range(1_026)) + "\n", 1, "1026 columns"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(
    tmp_path: Path, raw: bytes | str, line: int, words: str
) -> None:
    found, problems = judged(tmp_path, raw)
    assert found is None
    assert lines(problems)[0][0] == line
    assert words in lines(problems)[0][1]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("\n5,5.5,yes", "\n,5.5,yes", 7, "“a” is empty"),
        ("\n5,5.5,yes", "\nfive,5.5,yes", 7, "“five” in “a” is not a number"),
        ("\n5,5.5,yes", "\nnan,5.5,yes", 7, "“nan” in “a” is not a number"),
        ("\n5,5.5,yes", "\n1e39,5.5,yes", 7, "“1e39” in “a” is not a number"),
        ("\n5,5.5,yes", "\n1_0,5.5,yes", 7, "“1_0” in “a” is not a number"),
        ("\n5,5.5,yes", "\n5,5.5,", 7, "The answer in “y” is empty"),
        ("\n5,5.5,yes", "\n5,5.5,y\u200bes", 7, "not to be read"),
        ("yes", "no", 0, "one answer in all rows"),
    ],
)
def test_bad_cells_are_said_with_their_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    _found, problems = judged(tmp_path, GOOD.replace(old, new))
    assert lines(problems)[0][0] == line
    assert words in lines(problems)[0][1]


def test_all_problems_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    _found, problems = judged(tmp_path, GOOD.replace(".5,", ".5x,"))
    assert (problems.total, len(problems.items)) == (120, 20)
    with pytest.raises(Refused, match=r"Line 2: .* 119 more") as caught:
        problems.refuse()
    assert caught.value.code == "bad_table"


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    broken = GOOD.replace("\n2,2.5,no", '\n2,2.5,"no"\n\n').replace("a,b,y", '"a","b\nb",y')
    found, problems = read(tmp_path / "t.csv", broken.replace("\n5,5.5,yes", "\n5,5.5"))
    assert found is None or problems.total
    assert lines(problems)[0][0] == 1, "a name over two lines cannot be used"
    _found, problems = judged(tmp_path, GOOD.replace("\n2,2.5,no", "\n2,2.5,no\n\n").replace("\n5,", "\nx,"))
    assert lines(problems)[0][0] == 9


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    _found, problems = judged(tmp_path, GOOD.replace("a,b,y", "a,b,outcome"), Choice(target="Outcome"))
    assert problems.items[0].fix == "Did you mean “outcome”?"


def test_size_and_number_of_rows_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_SEALED_ROWS", 50)
    _table, problems = read(tmp_path / "t.csv", GOOD)
    assert lines(problems) == [(52, "There are more than 50 rows.")]
    monkeypatch.setattr(reading, "MAX_FILE", 100)
    with pytest.raises(Refused) as caught:
        read(tmp_path / "t.csv", GOOD)
    assert caught.value.code == "table_too_large"
    with pytest.raises(NotFound):
        read_table(tmp_path / "none.csv", Problems())


def warnings(tmp_path: Path, raw: str, metric: str = "", threshold: str = "", **more: object) -> str:
    choice = Choice(target="y", metric=metric, threshold=threshold, **more)  # type: ignore[arg-type]
    found, problems = judged(tmp_path, raw, choice)
    assert problems.total == 0, problems.items
    assert found is not None
    return " ".join(found.warnings)


def test_what_is_odd_is_warned_of_before_anything_is_signed(tmp_path: Path) -> None:
    assert warnings(tmp_path, GOOD) == ""
    assert "Classes with fewer than 10 rows" in warnings(tmp_path, GOOD + "1,1,maybe\n" * 3)
    assert "3 rows stand there before" in warnings(tmp_path, GOOD + "1,1.5,yes\n" * 3)
    assert "measure roughly" in warnings(tmp_path, "\n".join(GOOD.splitlines()[:40]))
    same = "a,b,y\n" + "".join(f"{n % 3},{n},{n % 3}.0\n" for n in range(120))
    assert "“a” equals the answer in every row" in warnings(tmp_path, same)


def test_a_threshold_without_sense_is_warned_of(tmp_path: Path) -> None:
    assert warnings(tmp_path, GOOD, "rmse", "1") == "", "a metric that does not fit is refused elsewhere"
    torn = "a,y\n" + "".join(f"{n // 2},{'yes' if n % 2 else 'no'}\n" for n in range(120))
    assert "No model can reach accuracy 0.51" in warnings(tmp_path, torn, "accuracy", "0.51")
    assert "No model" not in warnings(tmp_path, torn, "accuracy", "0.5")
    mostly = "a,y\n" + "".join(f"{n},{'no' if n % 10 else 'yes'}\n" for n in range(120))
    assert "reached without a model" in warnings(tmp_path, mostly, "accuracy", "0.9")
    assert "0.9000" in warnings(tmp_path, mostly, "accuracy", "0.9")
    assert warnings(tmp_path, mostly, "accuracy", "0.91") == ""
    assert "reached without a model" in warnings(tmp_path, mostly, "macro_f1", "0.47")
    assert warnings(tmp_path, mostly, "macro_f1", "0.48") == ""
    assert "reached without a model" in warnings(tmp_path, mostly, "auc", "0.5")
    numbers = "a,y\n" + "".join(f"{n // 2},{n * 0.5}\n" for n in range(120))
    assert "No model can reach mae 0.24" in warnings(tmp_path, numbers, "mae", "0.24", task="regression")
    assert warnings(tmp_path, numbers, "mae", "0.25", task="regression") == ""
    assert "reached without a model" in warnings(tmp_path, numbers, "rmse", "18", task="regression")


def test_groups_of_fairness_are_sealed_too_and_words_are_kept_from_the_model(tmp_path: Path) -> None:
    grouped = "a,sex,y\n" + "".join(
        f"{n},{'f' if n % 3 else 'm'},{'yes' if n % 2 else 'no'}\n" for n in range(120)
    )
    found, problems = judged(tmp_path, grouped, Choice(target="y", group="sex"))
    assert problems.total == 0
    assert found is not None
    assert (found.features, found.columns) == (("a",), ("a", "y", "sex"))
    assert found.rows[0] == ("0", "no", "m")
    alone = grouped.replace(",m,", ",f,")
    _found, problems = judged(tmp_path, alone, Choice(target="y", group="sex"))
    assert "two groups" in problems.items[0].words


def test_columns_may_be_ignored(tmp_path: Path) -> None:
    named = GOOD.replace("a,b,y", "name,b,y").replace("\n", "\nx", 120)
    found, problems = judged(tmp_path, named, Choice(target="y", ignore=("name",)))
    assert problems.total == 0
    assert found is not None
    assert (found.features, found.columns) == (("b",), ("b", "y"))
