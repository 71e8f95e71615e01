"""The live rule, tombstones, quotas and digests of the catalogue."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from openstall.market.leaves import LEAVES, LEVEL, NOTHING, differing, leaf_of
from openstall.store import gaps, live_tree, merge
from openstall.store.database import Store
from openstall.store.records import NewRecord, Outcome, Records

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


def between(
    records: Records, first: int, last: int, *, after: str = "", limit: int = 1000, now: int = NOW
) -> list[str]:
    return records.cids_between(NET, first, last, after=after, limit=limit, now=now)


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
        found.append((live(records), records.tree(NET, now=NOW).root()))
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


def test_of_an_author_who_floods_the_latest_count_whatever_the_order(tmp_path: Path) -> None:
    flood = [record(number, key=f"k{number}") for number in range(1, 8)]
    held = []
    for seed in range(4):
        store = Store(tmp_path / f"{seed}.sqlite")
        records = Records(store, quotas={"listing": 3})
        random.Random(seed).shuffle(flood)
        outcomes = records.add_many(flood, now=NOW)
        assert set(outcomes) <= {Outcome.NEW, Outcome.QUOTA}
        held.append([records.have(cid(number)) for number in range(1, 8)])
        assert records.add(record(9, author="bob"), now=NOW) is Outcome.NEW
        assert records.add(record(8, type="offer"), now=NOW) is Outcome.NEW
        store.close()
    assert held == [[False] * 4 + [True] * 3] * 4


def test_what_is_superseded_and_oldest_goes_when_an_author_has_too_much(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "KEPT_PER_AUTHOR", 3)
    records = Records(store)
    for number in (1, 2, 3, 4):
        assert records.add(record(number), now=NOW) is Outcome.NEW
    assert [records.have(cid(number)) for number in (1, 2, 3, 4)] == [False, True, True, True]


def test_what_was_superseded_comes_back_when_its_successor_expires_first(records: Records) -> None:
    records.add(record(1), now=NOW)
    before = records.tree(NET, now=NOW).root()
    records.add(record(2, expires=NOW + 10), now=NOW)
    assert live(records) == cid(2)
    row = records.live(NET, "ann", "listing", "model", now=NOW + 10)
    assert row is not None
    assert row.cid == cid(1)
    assert records.tree(NET, now=NOW + 10).root() == before


def test_a_tombstone_of_another_key_leaves_what_the_first_withdrew(records: Records) -> None:
    """Tombstones share the slot of their target, so none of them can push another out."""
    records.add(record(1), now=NOW)
    records.add(tombstone(2, key="model"), now=NOW)
    records.add(tombstone(3, key="other"), now=NOW)
    assert live(records) is None
    assert sorted(records.cids_between(NET, 0, 65_535, after="", limit=9, now=NOW)) == [cid(2), cid(3)]


def test_gaps_in_a_sequence_are_known(records: Records) -> None:
    records.add(record(1), now=NOW)
    records.add(record(5, key="b", prev=cid(4)), now=NOW)
    assert records.missing(NET, "ann") == 3
    assert records.gaps(NET) == [cid(4)]
    records.add(record(4, key="c", prev=cid(3)), now=NOW)
    assert records.gaps(NET) == [cid(3)]
    assert records.missing(NET, "ann") == 2


def test_gaps_are_known_again_after_a_restart(store: Store, records: Records) -> None:
    records.add(record(5, key="a", prev=cid(4)), now=NOW)
    records.add(record(8, author="ben", prev=cid(7)), now=NOW)
    records.add(record(9, author="ben", key="b", prev=cid(8)), now=NOW)
    assert Records(store).gaps(NET) == records.gaps(NET) == [cid(7), cid(4)]
    again = Records(store)
    again.add(record(4, key="c", prev=cid(3)), now=NOW)
    assert again.gaps(NET) == [cid(3), cid(7)], "the latest named first"
    again.add(record(3, key="c"), now=NOW)
    assert again.gaps(NET) == Records(store).gaps(NET) == [cid(7)]


def test_a_predecessor_that_is_here_is_no_gap(records: Records) -> None:
    assert records.gaps(NET) == []
    for number in range(1, 6):
        records.add(record(number, key=f"k{number}", prev=cid(number - 1) if number > 1 else ""), now=NOW)
    assert records.gaps(NET) == []


def test_gaps_of_one_group_are_not_asked_for_in_another(records: Records) -> None:
    records.add(record(5, prev=cid(4)), now=NOW)
    records.add(record(8, network="group-2", prev=cid(7)), now=NOW)
    assert (records.gaps(NET), records.gaps("group-2")) == ([cid(4)], [cid(7)])


def test_what_was_dropped_here_is_no_gap_after_a_restart(
    store: Store, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (merge, gaps):
        monkeypatch.setattr(module, "KEPT_PER_AUTHOR", 3)
    for number, key in enumerate(("a", "b", "a", "a"), 1):
        records.add(record(number, key=key, prev=cid(number - 1) if number > 1 else ""), now=NOW)
    assert live(records, "b") == cid(2), "it names the first"
    assert not records.have(cid(1))
    assert Records(store).gaps(NET) == []


def test_gaps_are_no_more_than_can_be_kept(
    store: Store, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "MAX_GAPS", 2)
    for number in (3, 6, 9):
        records.add(record(number, key=f"k{number}", prev=cid(number - 1)), now=NOW)
    assert records.gaps(NET) == [cid(8), cid(5)]
    records.add(record(12, key="k12", prev=cid(11)), now=NOW)
    assert records.gaps(NET) == Records(store).gaps(NET) == [cid(11), cid(8)]


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
        digests.append(records.tree(NET, now=NOW).root())
        store.close()
    assert digests[0] == digests[1] != NOTHING


def test_digest_changes_with_the_set_and_with_time(records: Records) -> None:
    empty = records.tree(NET, now=NOW).root()
    records.add(record(1, expires=NOW + 10), now=NOW)
    tree = records.tree(NET, now=NOW)
    assert tree.root() != empty == NOTHING
    (branch,) = differing(bytes(LEVEL), tree.branches())
    (leaf,) = differing(bytes(LEVEL), tree.leaves(branch))
    assert branch * 256 + leaf == leaf_of(cid(1))
    assert between(records, leaf_of(cid(1)), leaf_of(cid(1))) == [cid(1)]
    assert records.tree(NET, now=NOW + 10).root() == empty
    assert between(records, 0, LEAVES, now=NOW + 10) == []


def test_addresses_come_page_by_page_in_order(records: Records) -> None:
    records.add_many([record(number, key=f"k{number}") for number in range(1, 200)], now=NOW)
    everything = between(records, 0, LEAVES)
    assert everything == sorted(everything, key=lambda one: (leaf_of(one), one))
    found: list[str] = []
    while page := between(records, 0, LEAVES, after=found[-1] if found else "", limit=17):
        found += page
    assert found == everything
    assert len(set(found)) == 199


def test_the_tree_is_the_same_leaf_by_leaf_and_in_one_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(store)
    records.tree(NET, now=NOW).root()
    monkeypatch.setattr(live_tree, "WHOLE_FROM", 10**9)
    records.add_many([record(number, key=f"k{number}") for number in range(1, 300)], now=NOW)
    records.add(tombstone(400, key="k7"), now=NOW)
    bit_by_bit = records.tree(NET, now=NOW).root()
    monkeypatch.setattr(live_tree, "WHOLE_FROM", 1)
    assert Records(store).tree(NET, now=NOW).root() == bit_by_bit
    records.add(tombstone(401, key="k8"), now=NOW)
    assert Records(store).tree(NET, now=NOW).root() == records.tree(NET, now=NOW).root() != bit_by_bit


def test_withdrawal_reaches_the_digest(records: Records) -> None:
    records.add(record(1), now=NOW)
    before = records.tree(NET, now=NOW).root()
    records.add(tombstone(2), now=NOW)
    assert records.tree(NET, now=NOW).root() != before
    assert between(records, 0, LEAVES) == [cid(2)]


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
