from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.ui.documents import Status, UnreadableAnswer, read
from openstall.ui.network import Peers
from openstall.ui.trade import Catalogue, Compute, Order

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


def test_null_means_absent_and_unknown_fields_are_ignored() -> None:
    status = read({"identity": None, "group": {"name": None, "state": "member"}, "new": 1}, Status)
    assert status.identity.state == "none"
    assert (status.group.state, status.group.name) == ("member", "")


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(UnreadableAnswer):
        read({"items": "many"}, Catalogue)
    with pytest.raises(UnreadableAnswer):
        read({"amount_micro": "a lot"}, Order)


def test_nesting_beyond_reason_is_refused() -> None:
    with pytest.raises((UnreadableAnswer, RecursionError)):
        read(json.loads("[" * 900 + "]" * 900), Order)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    for kind in (Status, Catalogue, Order, Compute, Peers):
        try:
            read(value, kind)
        except UnreadableAnswer:
            continue
