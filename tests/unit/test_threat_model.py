"""docs/threat-model.md: every row of its threats names a test, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
TEST_ID = re.compile(r"`(tests/[\w./-]+\.py)::(\w+)`")
SHOWN = "shown by"
"""Heading of the last column of a table of threats."""


def rows() -> list[tuple[int, str]]:
    """Line number and text of each row of a table whose last column says which test shows it."""
    found = []
    inside = False
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("|"):
            inside = False
        elif line.rstrip(" |").endswith(SHOWN):
            inside = True
        elif inside and not line.startswith("|---"):
            found.append((number, line))
    return found


@cache
def functions_of(path: str) -> frozenset[str]:
    """The test functions of a file, without importing it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_the_tables_are_found() -> None:
    assert len(rows()) > 50


@pytest.mark.parametrize(("number", "row"), [pytest.param(*row, id=f"line {row[0]}") for row in rows()])
def test_every_row_names_a_test_in_its_last_column(number: int, row: str) -> None:
    cells = row.strip().strip("|").split("|")
    assert len(cells) == 3, f"line {number} has {len(cells)} cells"
    assert TEST_ID.search(cells[2]), f"line {number} names no test"


def test_the_campaign_has_all_48_behaviours() -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = text.split("## Campaign: 48 behaviours")[1].split("\n## ")[0]
    numbers = [int(found) for found in re.findall(r"^\| (\d+)\. ", section, re.MULTILINE)]
    assert numbers == list(range(1, 49))


def test_every_named_test_exists() -> None:
    named = TEST_ID.findall(PAGE.read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in functions_of(path)
    ]
    assert missing == []


def test_nothing_looks_like_a_test_without_being_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("::") == len(TEST_ID.findall(text))
