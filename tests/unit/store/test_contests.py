"""The books of contests."""

from __future__ import annotations

from openstall.store.contests import Contests
from openstall.store.database import Store


def test_no_number_of_others_contests_hides_an_open_one(store: Store) -> None:
    contests = Contests(store)
    for at in range(501):
        contests.add(f"c{at}", role="evaluator", record=b"{}", data={}, at=at)
    assert len(contests.items()) == 500
    assert "c0" in {row.request_cid for row in contests.items(open_only=True)}
