"""After any history, two peers that meet hold the same live records: the merge as a state machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from openstall.market.contradictions import address_of
from openstall.market.leaves import LEAVES, NOTHING
from openstall.store.contradictions import Proofs
from openstall.store.database import Store
from openstall.store.records import NewRecord, Records

NOW = 1_800_000_000
NET = "group-1"
QUOTAS = {"listing": 2, "offer": 1}
PEERS = 3
EVERYTHING = (0, LEAVES - 1)

STORES: list[Store] = []

slots = st.tuples(
    st.sampled_from(["ann", "bob"]), st.sampled_from(["listing", "offer"]), st.sampled_from("abc")
)


def expected(records: dict[str, NewRecord], now: int) -> set[str]:
    """The rule in its own words: the best of each slot, then the best slots of each author and type."""
    best: dict[tuple[Any, ...], NewRecord] = {}
    for one in records.values():
        place = (one.author, *one.slot)
        if one.expires > now and (place not in best or better(one, best[place])):
            best[place] = one
    kept: set[str] = set()
    for one in best.values():
        rivals = [
            other
            for other in best.values()
            if (other.author, other.slot[0]) == (one.author, one.slot[0]) and better(other, one)
        ]
        if len(rivals) < QUOTAS[one.slot[0]]:
            kept.add(one.cid)
    return kept


def better(one: NewRecord, other: NewRecord) -> bool:
    return (one.seq, other.cid) > (other.seq, one.cid)


class Meetings(RuleBasedStateMachine):
    """Peers in any partitions, who publish to some and meet in any order while time passes.

    Hostile authors too: they reuse numbers, let successors expire first, and flood beyond the quota.
    """

    signed = Bundle("signed")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.count = 0
        self.ever: dict[str, NewRecord] = {}

    @initialize()
    def begin(self) -> None:
        self.peers = [Records(emptied(store), quotas=QUOTAS) for store in STORES]

    @rule(target=signed, slot=slots, seq=st.integers(1, 9), life=st.integers(1, 40), gone=st.booleans())
    def sign(self, slot: tuple[str, str, str], seq: int, life: int, *, gone: bool) -> NewRecord:
        author, type_, key = slot
        self.count += 1
        cid = f"b{hash((self.count * 7919) % 101) % 97:03d}{self.count:056d}"
        made = NewRecord(
            cid=cid, network=NET, type=type_, author=author, key=key, seq=seq, issued=self.now,
            expires=self.now + life, raw=cid.encode(), title="t", words="w",
        )  # fmt: skip
        if gone:
            made = replace(made, type="tombstone", key=f"{type_}-{key}", target=(type_, key))
        self.ever[cid] = made
        return made

    @rule(one=signed, peer=st.integers(0, PEERS - 1))
    def hear(self, one: NewRecord, peer: int) -> None:
        if one.expires > self.now:
            self.peers[peer].add(one, now=self.now)
            self.peers[peer].add(one, now=self.now)

    @rule(target=signed, several=st.lists(consumes(signed), max_size=4), peer=st.integers(0, PEERS - 1))
    def hear_several(self, several: list[NewRecord], peer: int) -> Any:
        fresh = [one for one in several if one.expires > self.now]
        self.peers[peer].add_many(fresh, now=self.now)
        return multiple(*several)

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(one=st.integers(0, PEERS - 1), other=st.integers(0, PEERS - 1))
    def meet(self, one: int, other: int) -> None:
        if one == other:
            return
        first, second = self.peers[one], self.peers[other]
        union = {cid: self.ever[cid] for cid in (*self.live(first), *self.live(second))}
        self.pull(first, second)
        self.pull(second, first)
        self.pull(first, second)  # a proof may be found only now
        assert self.live(first) == self.live(second) == expected(union, self.now)
        assert self.proofs(first) == self.proofs(second)
        assert first.tree(NET, now=self.now).root() == second.tree(NET, now=self.now).root()

    @precondition(lambda self: self.ever)
    @rule()
    def all_meet(self) -> None:
        """In a line and back, once: every peer then holds what all of them held together."""
        order = [*range(PEERS), *reversed(range(PEERS - 1))]
        held = self.peers
        union = {cid: self.ever[cid] for records in held for cid in self.live(records)}
        for one, other in pairwise(order):
            self.meet(one, other)
        assert all(self.live(records) == expected(union, self.now) for records in held)

    @invariant()
    def digests_say_what_is_live(self) -> None:
        for records in getattr(self, "peers", []):
            root = records.tree(NET, now=self.now).root()
            assert (root == NOTHING) == (not self.listed(records))

    def listed(self, records: Records) -> list[str]:
        return records.cids_between(NET, *EVERYTHING, after="", limit=-1, now=self.now)

    def live(self, records: Records) -> set[str]:
        return {cid for cid in self.listed(records) if cid in self.ever}

    def proofs(self, records: Records) -> set[str]:
        return set(self.listed(records)) - set(self.ever)

    def pull(self, taker: Records, giver: Records) -> None:
        wanted = taker.lacking(self.listed(giver), now=self.now)
        taker.take([self.ever[cid] for cid in wanted if cid in self.ever], now=self.now, brought_by="giver")
        for proof in Proofs(giver._store).all(NET, limit=9):
            if address_of(proof.author) in wanted:
                taker.take_proof(NET, proof)


def emptied(store: Store) -> Store:
    with store.write() as db:
        for table in ("records", "contradictions", "record_authors", "record_usage", "records_pruned"):
            db.execute(f"DELETE FROM {table}")
    return store


@pytest.fixture(autouse=True, scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for number in range(PEERS):
        store = Store(tmp_path_factory.mktemp("peer") / f"{number}.sqlite", readers=1)
        store._writer.execute("PRAGMA synchronous=OFF")
        STORES.append(store)
    yield
    for store in STORES:
        store.close()


def test_after_any_history_peers_that_meet_hold_the_same() -> None:
    run_state_machine_as_test(
        Meetings,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Each step writes to a disk: shrinking would take minutes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
