"""The live rule, tombstones, quotas and digests of the catalogue."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from openstall.store.database import Store
from openstall.store.records import BUCKETS, NewRecord, Outcome, Records

NOW = 1_800_000_000
NET = "group-1"


def cid(number: int) -> str:
    return f"b{number:059d}"


def record(number: int, **changes: Any) -> NewRecord:
    fields: dict[str, Any] = {
        "cid": cid(number),
        "network": NET,
        "type": "listing",
        "author": "ann",
        "key": "model",
        "seq": number,
        "issued": NOW,
        "expires": NOW + 1000,
        "raw": b"raw %d" % number,
        "title": f"Title {number}",
        "words": "words",
        "target": None,
    }
    return NewRecord(**{**fields, **changes})


def tombstone(number: int, *, key: str = "model", **changes: Any) -> NewRecord:
    return record(number, type="tombstone", key=f"listing-{key}", target=("listing", key), **changes)


@pytest.fixture
def records(store: Store) -> Records:
    return Records(store)


def live(records: Records, key: str = "model", author: str = "ann") -> str | None:
    row = records.live(NET, author, "listing", key, now=NOW)
    return row.cid if row else None


def test_bytes_come_back_as_they_were(records: Records) -> None:
    assert records.add(record(1), now=NOW) is Outcome.NEW
    assert records.raw(cid(1)) == b"raw 1"
    assert records.raws([cid(1), cid(9)]) == {cid(1): b"raw 1"}
    assert records.have(cid(1))
    assert not records.have(cid(2))
    assert records.raw(cid(2)) is None


def test_same_record_twice_is_known(records: Records) -> None:
    records.add(record(1), now=NOW)
    assert records.add(record(1), now=NOW) is Outcome.KNOWN


def test_higher_seq_wins_in_any_order(records: Records) -> None:
    assert records.add(record(2), now=NOW) is Outcome.NEW
    assert records.add(record(1), now=NOW) is Outcome.STALE
    assert live(records) == cid(2)
    assert records.add(record(3), now=NOW) is Outcome.NEW
    assert live(records) == cid(3)
    row = records.row(cid(2))
    assert row is not None
    assert not row.current


def test_two_records_with_one_seq_have_one_winner_on_every_peer(tmp_path: Path) -> None:
    first, second = record(5, seq=7), record(6, seq=7)
    found = []
    for order in ([first, second], [second, first]):
        store = Store(tmp_path / f"{order[0].cid[-1]}.sqlite")
        records = Records(store)
        for one in order:
            records.add(one, now=NOW)
        found.append((live(records), records.digest_buckets(NET, now=NOW)))
        store.close()
    assert found[0] == found[1]


def test_tombstone_withdraws_what_came_before_and_after_it(records: Records) -> None:
    records.add(record(1), now=NOW)
    records.add(record(2, key="other"), now=NOW)
    assert records.add(tombstone(3), now=NOW) is Outcome.NEW
    assert live(records) is None
    assert live(records, "other") == cid(2)
    assert records.add(record(4, seq=2), now=NOW) is Outcome.STALE
    assert live(records) is None
    assert records.add(record(5), now=NOW) is Outcome.NEW
    assert live(records) == cid(5)


def test_tombstone_of_another_author_does_nothing(records: Records) -> None:
    records.add(record(1), now=NOW)
    records.add(tombstone(9, author="eve"), now=NOW)
    assert live(records) == cid(1)


def test_expired_record_is_not_live_and_not_counted(records: Records) -> None:
    records.add(record(1, expires=NOW + 5), now=NOW)
    assert records.counts(NET, now=NOW) == {"listing": 1}
    assert records.counts(NET, now=NOW + 5) == {}
    assert records.live(NET, "ann", "listing", "model", now=NOW + 5) is None


def test_networks_are_apart(records: Records) -> None:
    records.add(record(1), now=NOW)
    assert records.counts("group-2", now=NOW) == {}
    assert records.last_of("group-2", "ann") == (0, "")
    assert records.last_of(NET, "ann") == (1, cid(1))


def test_author_who_floods_loses_the_oldest_superseded_and_then_is_refused(store: Store) -> None:
    records = Records(store, max_per_author=3)
    for number in (1, 2, 3, 4):
        assert records.add(record(number), now=NOW) is Outcome.NEW
    assert not records.have(cid(1))
    assert [records.have(cid(number)) for number in (2, 3, 4)] == [True, True, True]
    for number in (5, 6):
        assert records.add(record(number, key=f"k{number}"), now=NOW) is Outcome.NEW
    assert records.add(record(7, key="k7"), now=NOW) is Outcome.QUOTA
    assert records.add(record(8, author="bob"), now=NOW) is Outcome.NEW


def test_batch_is_all_or_nothing_and_in_order(records: Records) -> None:
    outcomes = records.add_many([record(1), record(1), record(3), record(2)], now=NOW)
    assert outcomes == [Outcome.NEW, Outcome.KNOWN, Outcome.NEW, Outcome.STALE]


def test_equal_sets_have_equal_digests_whatever_the_order(tmp_path: Path) -> None:
    batch = [record(number, key=f"k{number % 40}", author=f"a{number % 7}") for number in range(1, 200)]
    digests = []
    for seed in (1, 2):
        store = Store(tmp_path / f"{seed}.sqlite")
        records = Records(store)
        shuffled = list(batch)
        random.Random(seed).shuffle(shuffled)
        records.add_many(shuffled, now=NOW)
        digests.append(records.digest_buckets(NET, now=NOW))
        store.close()
    assert digests[0] == digests[1]
    assert len(digests[0]) == BUCKETS


def test_digest_changes_with_the_set_and_with_time(records: Records) -> None:
    empty = records.digest_buckets(NET, now=NOW)
    records.add(record(1, expires=NOW + 10), now=NOW)
    one = records.digest_buckets(NET, now=NOW)
    changed = [bucket for bucket in range(BUCKETS) if one[bucket] != empty[bucket]]
    assert len(changed) == 1
    assert records.cids_in_bucket(NET, changed[0], now=NOW) == [cid(1)]
    assert records.digest_buckets(NET, now=NOW + 10) == empty
    assert records.cids_in_bucket(NET, changed[0], now=NOW + 10) == []


def test_withdrawal_reaches_the_digest(records: Records) -> None:
    records.add(record(1), now=NOW)
    before = records.digest_buckets(NET, now=NOW)
    records.add(tombstone(2), now=NOW)
    after = records.digest_buckets(NET, now=NOW)
    assert before != after
    held = [found for bucket in range(BUCKETS) for found in records.cids_in_bucket(NET, bucket, now=NOW)]
    assert held == [cid(2)]


def test_purge_keeps_ones_own_sequence(records: Records) -> None:
    records.add(record(1, expires=NOW + 1), now=NOW)
    records.add(record(2, author="bob", expires=NOW + 1), now=NOW)
    assert records.purge(now=NOW + 10, keep_author="ann") == 0
    assert records.purge(now=NOW + 100_000, keep_author="ann") == 1
    assert records.last_of(NET, "ann") == (1, cid(1))
    assert records.raw(cid(2)) is None


def test_names_of_authors(records: Records) -> None:
    records.add(record(1, type="peer", key="self", title="Ann"), now=NOW)
    assert records.titles(NET, "peer", ["ann", "bob"]) == {"ann": "Ann"}


def test_what_was_live_at_a_past_moment_goes_by_when_it_came_in(store: Store) -> None:
    records = Records(store)
    records.add(record(1), now=NOW)
    records.add(record(2, issued=NOW - 500), now=NOW + 100)  # dated back
    records.add(tombstone(3), now=NOW + 200)
    held = [records.held_at(NET, "ann", "listing", "model", at=NOW + at) for at in (-1, 0, 99, 100, 199, 200)]
    assert [row.cid if row else None for row in held] == [None, cid(1), cid(1), cid(2), cid(2), None]
    assert records.held_at(NET, "ann", "listing", "other", at=NOW) is None
