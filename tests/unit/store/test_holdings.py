"""The owner's room for the catalogue: whose records are taken, and whose go."""

from __future__ import annotations

from typing import Any

import pytest

from openstall.store.database import Store
from openstall.store.holdings import NOT_AGAIN_S, Holdings, Trust
from openstall.store.records import NewRecord, Outcome, Records

NOW = 1_800_000_000
NET = "group-1"
SIZE = 1_000


def record(number: int, author: str, **changes: Any) -> NewRecord:
    fields: dict[str, Any] = {
        "cid": f"b{number:059d}", "network": NET, "type": "listing", "author": author, "key": f"k{number}",
        "seq": number, "issued": NOW, "expires": NOW + 1000, "raw": bytes(SIZE), "title": "t", "words": "w",
    }  # fmt: skip
    return NewRecord(**{**fields, **changes})


@pytest.fixture
def records(store: Store) -> Records:
    made = Records(store)
    made.cap_bytes = 10 * SIZE
    return made


def offer(records: Records, *several: NewRecord, by: str) -> list[Outcome]:
    return records.take(several, now=NOW, brought_by=by).outcomes


def test_strangers_push_nothing_out(records: Records, store: Store) -> None:
    for number in range(1, 11):
        assert offer(records, record(number, f"a{number}"), by=f"p{number % 3}") == [Outcome.NEW]
    late = record(11, "late")
    assert offer(records, late, by="p9") == [Outcome.NO_ROOM]
    assert records.lacking([late.cid], now=NOW) == [], "what was refused is not fetched again at once"
    assert records.lacking([late.cid], now=NOW + NOT_AGAIN_S) == [late.cid]
    assert offer(records, record(1, "a1"), by="p9") == [Outcome.KNOWN]
    assert Holdings(store).usage(NET).records == 10


def test_one_peer_cannot_fill_the_room(records: Records) -> None:
    outcomes = [offer(records, record(number, f"a{number}"), by="flooder")[0] for number in range(1, 9)]
    assert outcomes == [Outcome.NEW] * 5 + [Outcome.PEER_QUOTA] * 3
    refused = record(8, "a8")
    assert records.lacking([refused.cid], now=NOW) == [refused.cid], "another peer may bring it"
    assert offer(records, refused, by="somebody") == [Outcome.NEW]


def test_whom_we_know_has_room_at_the_cost_of_strangers(records: Records, store: Store) -> None:
    holdings = Holdings(store)
    holdings.know(NET, {"friend": Trust.TRADED, "seen": Trust.SEEN, "me": Trust.OWN}, at=NOW)
    offer(records, record(1, "seen"), by="p")
    records.add(record(2, "me"), now=NOW)
    strangers = [record(number, f"a{number}") for number in range(3, 11)]
    for number, one in enumerate(strangers):
        offer(records, one, by=f"p{number % 3}")
    assert holdings.usage(NET).bytes == 10 * SIZE
    assert offer(records, record(20, "friend"), by="p") == [Outcome.NEW]
    used = holdings.usage(NET)
    assert used.bytes <= 9 * SIZE
    held = [records.have(record(number, "").cid) for number in (1, 2, 20)]
    assert held == [True] * 3
    gone = [one.cid for one in strangers if not records.have(one.cid)]
    assert len(gone) == 2
    assert records.lacking(gone, now=NOW) == []
    assert holdings.by_trust(NET)["stranger"]["records"] == 6
    assert holdings.by_trust(NET)["own"] == {"authors": 1, "records": 1, "bytes": SIZE}


def test_what_was_replaced_goes_before_what_is_live(records: Records) -> None:
    offer(records, record(1, "a", key="k"), record(2, "a", key="k"), by="p")
    for number in range(3, 11):
        offer(records, record(number, f"b{number}"), by=f"p{number % 3}")
    records.cap_bytes = 9 * SIZE
    before = records.tree(NET, now=NOW).root()
    assert records.prune(NET, now=NOW) == 2
    assert not records.have(record(1, "").cid)
    assert records.tree(NET, now=NOW).root() != before, "one live record had to go too"
    assert records.prune(NET, now=NOW) == 0


def test_a_smaller_room_takes_from_who_was_seen_longest_ago(records: Records, store: Store) -> None:
    holdings = Holdings(store)
    holdings.know(NET, {"long ago": Trust.SEEN}, at=NOW - 100)
    holdings.know(NET, {"lately": Trust.SEEN}, at=NOW)
    holdings.know(NET, {"me": Trust.OWN}, at=0)
    for number, author in enumerate(("long ago", "lately", "me"), start=1):
        records.add(record(number, author), now=NOW)
    records.cap_bytes = 2 * SIZE + SIZE // 2
    assert records.prune(NET, now=NOW) == 1
    assert [records.have(record(number, "").cid) for number in (1, 2, 3)] == [False, True, True]
    records.cap_bytes = 1
    records.prune(NET, now=NOW)
    assert [records.have(record(number, "").cid) for number in (2, 3)] == [False, True], "one's own stay"


def test_those_with_an_order_are_known(records: Records, store: Store) -> None:
    with store.write() as db:
        db.execute(
            "INSERT INTO orders (order_id, kind, role, other, state, doc, buyer_signature, seller_signature, "
            "data, created_at, changed_at) "
            "VALUES ('o', 'sale', 'buyer', 'shop', 'funded', x'', '', '', '', 0, 0)"
        )
    offer(records, record(1, "shop"), by="p")
    holdings = Holdings(store)
    holdings.know_traded(NET)
    holdings.know(NET, {"shop": Trust.SEEN}, at=NOW)
    assert holdings.by_trust(NET)["traded"]["records"] == 1
    assert holdings.bringers(NET, 9) == []
    assert holdings.file_bytes() > 0
