"""Who is known, and what is said beside the names of others: from a real store of records and orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openstall.app.services.names import Names, ways_out
from openstall.app.threads import Workers
from openstall.store.acquaintances import Acquaintances
from openstall.store.database import Store
from openstall.store.orders import Orders
from openstall.store.records import NewRecord, Records
from openstall.store.search import Search

NOW, NETWORK = 1_800_000_000, "group-7-abc"
JUDGE = "0x" + "c3" * 20


class Noon:
    def now(self) -> int:
        return NOW


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def names(store: Store, group: tuple[str, str | None] | None = (NETWORK, "host")) -> Names:
    return Names(
        me=lambda: ("me", "Anna Clinic"),
        group=lambda: group,
        records=Records(store),
        search=Search(store),
        acquaintances=Acquaintances(store),
        workers=Workers(),
        clock=Noon(),
    )


def record(
    store: Store, type_: str, author: str, title: str, body: dict[str, Any], *, words: str = ""
) -> None:
    new = NewRecord(
        cid=f"cid of {type_} {author}",
        network=NETWORK,
        type=type_,
        author=author,
        key="self",
        seq=1,
        issued=NOW,
        expires=NOW + 1000,
        raw=json.dumps({"record": {"body": body}}).encode(),
        title=title,
        words=words,
    )
    Records(store).add(new, now=NOW)


def peer(store: Store, author: str, name: str, wallet: str) -> None:
    record(store, "peer", author, name, {"name": name, "wallet": wallet}, words=wallet)


def order(store: Store, other: str, state: str, arbiter: str = "", role: str = "buyer") -> None:
    doc = json.dumps({"terms": {"arbiter": arbiter}}).encode()
    Orders(store).add(
        order_id=f"order with {other}", kind="sale", role=role, other=other, state=state, doc=doc,
        buyer_signature="a", seller_signature="b", data={}, at=NOW, words="", actor="you",
    )  # fmt: skip


async def codes(book: Names, peer_id: str, name: str) -> list[str]:
    return [mark["code"] for mark in (await book.about({peer_id: name}))[peer_id]["marks"]]


async def roles(book: Names, peer_id: str) -> list[str]:
    found: list[str] = (await book.about({peer_id: "x"}))[peer_id]["roles"]
    return found


async def test_the_host_partners_and_arbiters_are_known_by_their_keys(store: Store) -> None:
    peer(store, "host", "Ben Host", "0x" + "01" * 20)
    peer(store, "shop", "Modern Shop", "0x" + "02" * 20)
    peer(store, "judge", "Vera Rossi", JUDGE)
    order(store, "shop", "funded", arbiter=JUDGE.upper().replace("0X", "0x"))
    book = names(store)
    assert await roles(book, "host") == ["host"]
    assert await roles(book, "shop") == ["partner"]
    assert await roles(book, "judge") == ["arbiter"]
    assert await roles(book, "me") == ["you"]
    assert await roles(book, "stranger") == []
    for name in ("Ben H0st", "rnodern shop", "Vera  Rossi", "ANNA CLINIC"):
        assert await codes(book, "stranger", name) == ["looks_like"]
    for known, name in (("host", "Ben Host"), ("shop", "Modern Shop"), ("judge", "Vera Rossi")):
        assert await codes(book, known, name) == []


async def test_an_arbiter_that_a_listing_of_the_group_names_is_known(store: Store) -> None:
    peer(store, "judge", "Vera Rossi", JUDGE)
    assert await roles(names(store), "judge") == []
    record(store, "listing", "seller", "A model", {"arbiter": JUDGE})
    assert await roles(names(store), "judge") == ["arbiter"]
    assert await codes(names(store), "stranger", "Véra Rossi") == ["looks_like"]


@pytest.mark.parametrize("state", ["proposed", "agreed", "declined", "lapsed", "cancelled"])
async def test_whoever_only_proposes_is_nobody_one_trades_with(store: Store, state: str) -> None:
    peer(store, "shop", "Modern Shop", "0x" + "02" * 20)
    order(store, "shop", state)
    assert await roles(names(store), "shop") == []


async def test_a_party_to_a_case_that_one_decides_is_no_partner(store: Store) -> None:
    peer(store, "shop", "Modern Shop", "0x" + "02" * 20)
    order(store, "shop", "disputed", role="arbiter")
    assert await roles(names(store), "shop") == []


async def test_without_a_group_one_knows_oneself(store: Store) -> None:
    book = names(store, None)
    assert await codes(book, "stranger", "Anna Clinic") == ["looks_like"]
    assert await codes(book, "stranger", "Openstall Support") == ["claims_office"]


async def test_records_carry_what_is_said_of_their_authors_and_texts(store: Store) -> None:
    item: dict[str, Any] = {
        "cid": "c", "author": "stranger", "author_name": "Anna-Clinic",
        "body": {"title": "A model", "card": {"limits": "ask t.me/anna"}},
    }  # fmt: skip
    await names(store).dress([item])
    assert [mark["code"] for mark in item["author_marks"]] == ["looks_like"]
    assert item["author_roles"] == []
    assert item["ways_out"] == [{"kind": "messenger", "text": "t.me/anna"}]
    assert ways_out("nothing of the kind") == []


async def test_the_other_party_of_an_order_is_looked_at_too(store: Store) -> None:
    page: dict[str, Any] = {"other": "stranger", "other_name": "Anna Clinic"}
    await names(store).dress_others([page])
    assert page["other_marks"][0]["code"] == "looks_like"
