"""Cases and verdicts survive, and nothing is entered twice."""

from __future__ import annotations

from typing import Any

import pytest

from openstall.market.errors import NotFound
from openstall.store.cases import Cases
from openstall.store.database import Store
from openstall.store.verdicts import Verdicts


def test_a_case_is_kept_once_a_role_and_moves_on(store: Store) -> None:
    cases = Cases(store)
    assert cases.add(case_hash="aa", role="oracle", file={"x": 1}, at=5)
    assert not cases.add(case_hash="aa", role="oracle", file={"x": 2}, at=6)
    assert cases.add(case_hash="aa", role="complainer", file={"x": 1}, at=7)
    cases.patch("aa", "oracle", at=8, told={"w": True})
    kept = cases.patch("aa", "oracle", at=9, state="guilty", signature="00")
    assert (kept.file, kept.state, kept.data) == (
        {"x": 1},
        "guilty",
        {"told": {"w": True}, "signature": "00"},
    )
    assert [row.role for row in cases.items(open_only=True)] == ["complainer"]
    assert [row.role for row in cases.items(role="oracle")] == ["oracle"]
    assert (cases.count_since("oracle", 4), cases.count_since("oracle", 5)) == (1, 0)
    with pytest.raises(NotFound):
        cases.get("bb", "oracle")
    with pytest.raises(NotFound):
        cases.patch("bb", "oracle", at=9)


def test_verdicts_are_found_by_claim_and_by_order_newest_first(store: Store) -> None:
    verdicts = Verdicts(store)
    for at, outcome in enumerate(("passed", "wrong")):
        plain: dict[str, Any] = {
            "challenge": str(at),
            "provider": "p",
            "claim": "c",
            "order": "o" if at else "",
            "outcome": outcome,
            "at": at,
        }
        verdicts.keep(plain, {"doc": plain})
        verdicts.keep({**plain, "outcome": "changed"}, {"doc": {}})
    assert [one["doc"]["outcome"] for one in verdicts.of(claim="c")] == ["wrong", "passed"]
    assert [one["doc"]["outcome"] for one in verdicts.of(order_id="o")] == ["wrong"]
