"""What is typed for a contest, before anything is sent."""

from __future__ import annotations

import pytest

from openstall.app.cli.contest import _words
from openstall.app.cli.request import _weights
from openstall.market.errors import OpenstallError


def test_prizes_are_typed_by_rank_or_shared() -> None:
    assert _weights("contest", "6000,3000,1000", shares=False) == [6_000, 3_000, 1_000]
    assert _weights("contest", None, shares=True) == []
    assert _weights("second_price", None, shares=False) == []


@pytest.mark.parametrize(
    ("mechanism", "weights", "shares"),
    [
        ("contest", None, False),
        ("contest", "10000", True),
        ("contest", "all of it", False),
        ("second_price", "10000", False),
        ("second_price", None, True),
    ],
)
def test_prizes_that_make_no_sense_are_refused(mechanism: str, weights: str | None, shares: bool) -> None:
    with pytest.raises(OpenstallError) as caught:
        _weights(mechanism, weights, shares=shares)
    assert caught.value.code == "bad_weights"


def test_names_of_strangers_cannot_reach_the_terminal() -> None:
    entry = {
        "entrant": "0x" + "11" * 20,
        "name": "Ada\x1b[2J",
        "model_hash": "ab" * 32,
        "figure": {"value": "0.93", "low": "0.88", "high": "0.96"},
        "passed": True,
        "place": 1,
        "prize_micro": 6_000_000,
        "claimed": True,
        "mine": False,
        "name_marks": [],
    }
    board = {
        "developer": "0x" + "11" * 20,
        "name": "Ada\x1b[2J",
        "figure": "",
        "tries_used": 1,
        "at": 0,
        "name_marks": [],
    }
    shown = _words(
        {
            "title": "Wine\x1b[2J",
            "state": "judged",
            "role": "requester",
            "pool_micro": 10_000_000,
            "deposit_micro": 1_000_000,
            "weights_bps": [],
            "metric": "accuracy",
            "threshold": "0.9",
            "entry_by": 0,
            "judge_by": 0,
            "entries": [entry],
            "board": [board],
            "library_paths": ["/home/x/library/ab"],
            "trouble": None,
        }
    )
    assert "\x1b" not in shown
    for part in ("0.93 (0.88 to 0.96)", "taken", "in proportion to quality", "1 tries", "library/ab"):
        assert part in shown
