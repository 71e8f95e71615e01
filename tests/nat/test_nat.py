"""Two cells of the NAT matrix; `python3 dev.py nat` runs all of them and writes the table."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from campaign import TABLE, obstacle, run_cell  # noqa: E402 - a script beside this one
from cells import CELLS  # noqa: E402

SIZE = 3 << 20
SHORT = ("cone", "symmetric")


@pytest.fixture(scope="session")
def results() -> dict[str, dict[str, Any]]:
    """The short cells, side by side: most of their time is waiting."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    with ThreadPoolExecutor(len(SHORT)) as pool:
        return {one["cell"]: one for one in pool.map(lambda name: run_cell(name, SIZE), SHORT)}


@pytest.mark.parametrize("name", SHORT)
def test_the_file_arrives_by_the_expected_way(results: dict[str, dict[str, Any]], name: str) -> None:
    result = results[name]
    assert result.get("error", "") == ""
    assert result["complete"]
    assert result["path"] == CELLS[name][1]


def test_the_page_shows_every_cell_and_all_are_green() -> None:
    page = HERE.parents[1] / "docs" / "network.md"
    found = TABLE.search(page.read_text(encoding="utf-8"))
    assert found is not None
    rows = [line.split("|") for line in found[0].splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == [what for what, _, _ in CELLS.values()]
    for row in rows:
        assert row[5].strip() == "yes", row[1]
        assert row[3].strip().endswith(row[2].strip()), row[1]
