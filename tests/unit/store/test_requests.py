"""Own requests: the step and its check are one, and a draft leaves nothing behind."""

from __future__ import annotations

import pytest

from openstall.market.errors import Conflict, NotFound
from openstall.store.database import Store
from openstall.store.requests import Requests

CID = "b" + "a" * 58


def test_from_the_draft_to_the_withdrawal(store: Store) -> None:
    books = Requests(store)
    books.draft("r1", {"title": "Which wine?"}, {"salt": "ab"}, at=10)
    assert (books.get("r1").state, books.get("r1").cid) == ("draft", "")
    row = books.move("r1", ("draft",), "published", at=11, cid=CID)
    assert (row.state, row.cid, row.data, row.body) == (
        "published",
        CID,
        {"salt": "ab"},
        {"title": "Which wine?"},
    )
    assert books.get(CID) == row
    books.move("r1", ("published",), "opening", at=12, auction="0xab")
    with pytest.raises(Conflict) as caught:
        books.move("r1", ("published", "withdrawing"), "withdrawing", at=13)
    assert caught.value.code == "wrong_state"
    assert books.get("r1").data == {"salt": "ab", "auction": "0xab"}
    assert books.get("r1").cid == CID, "a step without a cid keeps the one there was"


def test_newest_first_and_by_state(store: Store) -> None:
    books = Requests(store)
    for at, name in enumerate(("a", "b", "c")):
        books.draft(name, {}, {}, at=at)
    books.move("b", ("draft",), "published", at=9, cid=CID)
    assert [row.request_id for row in books.items()] == ["c", "b", "a"]
    assert [row.request_id for row in books.items(states=("published", "opening"))] == ["b"]


def test_only_a_draft_can_be_forgotten(store: Store) -> None:
    books = Requests(store)
    books.draft("a", {}, {}, at=1)
    books.draft("b", {}, {}, at=1)
    books.move("b", ("draft",), "published", at=2, cid=CID)
    books.remove_draft("a")
    books.remove_draft("b")
    assert [row.request_id for row in books.items()] == ["b"]
    with pytest.raises(NotFound):
        books.get("a")
    with pytest.raises(NotFound):
        books.get("")
