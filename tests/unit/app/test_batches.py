"""Batches without a market: tables cut into parts, results that are not what they should be, the books."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from openstall.app.services.batches import plan as plans
from openstall.app.services.batches import results
from openstall.app.services.batches.plan import BatchRequest, Part, Plan, copy_in
from openstall.market.errors import NotFound, OpenstallError
from openstall.store.batches import Batches
from openstall.store.database import Store


def request(folder: Path, table: str, **changes: Any) -> BatchRequest:
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "table.csv").write_text(table, "utf-8")
    given: dict[str, Any] = {
        "model": folder / "model.onnx",
        "files": [folder / "table.csv"],
        "folder": folder / "results",
        "cap_micro": 1_000_000,
        "max_s": 60,
        "offers": [],
    }
    return BatchRequest(**{**given, **changes})


def cut(folder: Path, table: str, rows_per_part: int) -> list[list[list[str]]]:
    """The parts as tables."""
    _sha256, parts = copy_in(request(folder, table, rows_per_part=rows_per_part), folder / "place")
    found = []
    for part in parts:
        with (folder / "place" / part.file).open(newline="") as file:
            found.append(list(csv.reader(file)))
    assert [len(rows) - 1 for rows in found] == [part.rows for part in parts]
    for part in parts:
        content = (folder / "place" / part.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == part.sha256
    return found


def test_each_part_has_the_header_and_whole_rows(tmp_path: Path) -> None:
    table = '\ufeffa,b\n1,"x\ny"\n\n2,"say ""no"""\n3,z\n'
    assert cut(tmp_path, table, 2) == [
        [["a", "b"], ["1", "x\ny"], ["2", 'say "no"']],
        [["a", "b"], ["3", "z"]],
    ]


@pytest.mark.parametrize(
    ("table", "rows", "code"),
    [
        ("", 1, "bad_csv"),
        ("a,b\n", 1, "bad_csv"),
        ('a,b\n1,"2\n', 1, "bad_csv"),
        ("a\n" + "1\n" * (plans.MOST_PARTS + 1), 1, "too_many_parts"),
    ],
)
def test_a_table_that_cannot_be_cut_leaves_nothing_behind(
    tmp_path: Path, table: str, rows: int, code: str
) -> None:
    with pytest.raises(OpenstallError) as caught:
        copy_in(request(tmp_path, table, rows_per_part=rows), tmp_path / "place")
    assert caught.value.code == code
    assert not (tmp_path / "place").exists()


def test_names_of_files_become_plain(tmp_path: Path) -> None:
    odd = tmp_path / "..x ä b;rm -rf.csv"
    odd.write_text("a\n1\n")
    wanted = request(tmp_path, "a\n1\n", files=[odd, tmp_path / "table.csv"])
    _sha256, parts = copy_in(wanted, tmp_path / "place")
    assert [part.name for part in parts] == ["001-x-b-rm--rf", "002-table"]


def planned(folder: Path, *rows: int) -> Plan:
    parts = [
        Part(name=f"part-{number + 1:03}", file=f"part-{number + 1:03}.csv", rows=count, sha256="0" * 64)
        for number, count in enumerate(rows)
    ]
    return Plan(
        model="model.onnx",
        model_sha256="0" * 64,
        parts=parts,
        params={},
        folder=str(folder / "results"),
        split=True,
        cap_micro=10,
        part_cap_micro=5,
        max_s=60,
        providers=[],
        max_price_micro=0,
        at_once=1,
        tries=1,
    )


def came_back(folder: Path, number: int, text: str) -> dict[str, str]:
    """A part's artefacts as they were fetched; what was signed for them."""
    place = folder / f"fetched{number}"
    place.mkdir()
    (place / "predictions.csv").write_text(text)
    return {"predictions.csv": hashlib.sha256(text.encode()).hexdigest()}


def test_parts_become_one_table_again(tmp_path: Path) -> None:
    plan = planned(tmp_path, 2, 1)
    for number, text in enumerate(("row,prediction\n1,a\n2,b\n", "row,prediction\n1,c\n")):
        signed = came_back(tmp_path, number, text)
        files = results.collect(plan, number, tmp_path / f"fetched{number}", signed)
        assert files == [
            {"name": f"part-00{number + 1}.predictions.csv", "sha256": signed["predictions.csv"]}
        ]
    joined = results.join(plan)
    whole = tmp_path / "results" / "predictions.csv"
    assert whole.read_text() == "row,prediction\n1,a\n2,b\n3,c\n"
    assert joined["sha256"] == hashlib.sha256(whole.read_bytes()).hexdigest()
    results.write_manifest(plan, {"parts": []})
    assert json.loads((tmp_path / "results" / "manifest.json").read_text()) == {"parts": []}
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "manifest.json",
        "part-001.predictions.csv",
        "part-002.predictions.csv",
        "predictions.csv",
    ]


@pytest.mark.parametrize("text", ["row,prediction\n1,a\n", "row,prediction\n1,a\n2,b\n3,c\n", ""])
def test_a_part_with_another_number_of_rows_is_not_joined(tmp_path: Path, text: str) -> None:
    plan = planned(tmp_path, 2)
    results.collect(plan, 0, tmp_path / "fetched0", came_back(tmp_path, 0, text))
    with pytest.raises(OpenstallError) as caught:
        results.join(plan)
    assert caught.value.code == "wrong_rows"
    assert not (tmp_path / "results" / "predictions.csv").exists()


def test_a_file_that_changed_on_the_way_is_not_taken(tmp_path: Path) -> None:
    plan = planned(tmp_path, 1)
    signed = came_back(tmp_path, 0, "row,prediction\n1,a\n")
    (tmp_path / "fetched0" / "predictions.csv").write_text("row,prediction\n1,b\n")
    with pytest.raises(OpenstallError) as caught:
        results.collect(plan, 0, tmp_path / "fetched0", signed)
    assert caught.value.code == "wrong_file"
    assert list((tmp_path / "results").iterdir()) == []


def test_the_books_keep_what_is_known_of_each_part(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    books = Batches(store)
    books.add("one", {"a": 1}, at=1)
    books.add("two", {"a": 2}, at=2)
    books.note("one", 3, at=3, state="done")
    books.note("one", 3, at=4, order_id="x")
    books.move("two", "ended", at=5)
    store.close()
    store = Store(path)
    books = Batches(store)
    assert books.get("one").parts == {"3": {"state": "done", "order_id": "x"}}
    assert [row.batch_id for row in books.items()] == ["two", "one"]
    assert [row.batch_id for row in books.items(open_only=True)] == ["one"]
    with pytest.raises(NotFound):
        books.get("three")
    store.close()
