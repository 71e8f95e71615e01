"""Parts of a job that are looked at again: drawn so that nobody can spare them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openstall.app.services.capacity.testbench import silent
from openstall.app.services.orders.job_rerun import (
    SAMPLED_BLOCKS,
    Rerun,
    Result,
    _count_rows,
    _cut_rows,
    sampled,
)
from openstall.app.services.orders.job_stretch import cids_of, drawn


def checkpoint(done: int) -> dict[str, Any]:
    return {"done": done, "blob": {"cid": f"c{done}"}}


def test_each_stretch_is_as_likely_as_any_other() -> None:
    kept: Counter[int] = Counter()
    for _ in range(4_000):
        data: dict[str, Any] = {}
        before = None
        for done in (1, 2, 3):
            data |= {"checkpoint": checkpoint(done), **drawn(data, before, checkpoint(done))}
            before = checkpoint(done)
        data |= {"checkpoint": None, **drawn(data, before, None)}
        end = data["stretch"]["end"]
        kept[end["done"] if end else 4] += 1
    assert sorted(kept) == [1, 2, 3, 4]
    assert all(850 < count < 1_150 for count in kept.values())


def test_the_newest_and_both_ends_are_kept_and_nothing_else() -> None:
    data = {"checkpoint": checkpoint(9), "stretch": {"begin": checkpoint(2), "end": checkpoint(3)}}
    assert cids_of(data) == {"c9", "c2", "c3"}
    assert cids_of({"checkpoint": None, "stretch": {"begin": checkpoint(2), "end": None}}) == {"c2"}
    assert cids_of({}) == set()


def test_a_long_table_is_sampled_in_whole_batches_and_a_short_one_is_not() -> None:
    assert sampled(SAMPLED_BLOCKS * 256, 256) == ()
    blocks = sampled(100_001, 256)
    assert len(blocks) == SAMPLED_BLOCKS == len(set(blocks))
    assert all(at % 256 == 0 and (count == 256 or at + count == 100_001) for at, count in blocks)
    assert sampled(100_001, 256) != blocks


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_rows_are_counted_and_cut_as_the_jobs_count_them(tmp_path: Path, ending: str) -> None:
    table = ending.join(['\ufeff"a",b', "1,2", "", '"3\n3",4', "5,6", "", "7,8", ""])
    source, target = tmp_path / "rows.csv", tmp_path / "cut.csv"
    source.write_bytes(table.encode())
    assert _count_rows(source) == 4
    _cut_rows(source, target, ((1, 1), (3, 1)))
    assert target.read_bytes() == b'a,b\r\n"3\n3",4\r\n7,8\r\n'


async def test_a_file_far_larger_than_an_honest_one_is_not_even_looked_into(tmp_path: Path) -> None:
    """A report that would fill the sandbox could else keep every check from coming to an end."""
    (tmp_path / "large").write_bytes(bytes(2**20))
    (tmp_path / "honest").write_bytes(b"{}")
    results = [
        Result(of="evaluate", files={"report.json": tmp_path / name}, hashes={})
        for name in ("large", "honest")
    ]
    # neither sandbox nor order are needed to see that
    nothing: Any = None
    rerun = Rerun(jobs=nothing, blobs=nothing, workers=nothing)
    assert "too many" in (await rerun.compare(nothing, *results, silent)).unreadable
    missing = Result(of="evaluate", files={}, hashes={})
    assert "no report.json" in (await rerun.compare(nothing, missing, results[1], silent)).unreadable
