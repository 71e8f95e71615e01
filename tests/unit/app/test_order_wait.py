"""When `openstall order wait` is over, and with which exit status."""

from __future__ import annotations

from typing import Any

import pytest

from openstall.app.cli.order import _check_end, _over
from openstall.market.errors import OpenstallError


def order(**changes: Any) -> dict[str, Any]:
    """A settled job, as far as the command looks at it."""
    settled = {
        "kind": "compute",
        "state": "settled",
        "state_words": "Finished.",
        "final": True,
        "outcome": {"state": "done", "reason": "ok", "words": "The job is done."},
        "awaits_report": False,
        "trouble": None,
    }
    return settled | changes


def test_a_settled_job_is_over_once_it_is_known_how_it_ended() -> None:
    assert _over(order())
    assert not _over(order(outcome=None, awaits_report=True))
    assert not _over(order(final=False))


def test_a_provider_who_is_gone_is_not_waited_for() -> None:
    assert _over(order(outcome=None, awaits_report=True, trouble={"code": "peer_unreachable"}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"outcome": {"state": "failed", "reason": "exit", "words": "No."}}, "job_failed"),
        ({"outcome": {"state": "limit", "reason": "cap", "words": "No."}}, "job_limit"),
        ({"outcome": {"state": "cancelled", "reason": "cancelled", "words": "No."}}, "job_cancelled"),
        ({"outcome": None}, "no_report"),
        ({"state": "lapsed", "outcome": None}, "order_lapsed"),
        ({"kind": "sale", "state": "declined", "outcome": None}, "order_declined"),
        (
            {"kind": "sale", "state": "declined", "outcome": {"state": "declined", "reason": "closed"}},
            "closed",
        ),
    ],
)
def test_what_did_not_end_well_is_an_error(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(OpenstallError) as caught:
        _check_end(order(**changes))
    assert caught.value.code == code


def test_what_ended_well_is_none() -> None:
    _check_end(order())
    for state in ("completed", "refunded", "ruled"):
        _check_end(order(kind="sale", state=state, outcome=None))
