"""Thousands of identities with a record each, brought by one peer: others keep theirs, and have room."""

from __future__ import annotations

from pathlib import Path

from openstall.store.database import Store
from openstall.store.holdings import LEAST_CAP_BYTES
from openstall.store.records import NewRecord, Outcome, Records

NOW = 1_800_000_000
SIZE = 4096


def record(author: str, number: int) -> NewRecord:
    return NewRecord(
        cid=f"b{author}{number:050d}",
        network="group",
        type="listing",
        author=author,
        key="model",
        seq=1,
        issued=NOW,
        expires=NOW + 1000,
        raw=b"x" * SIZE,
        title=f"Model {number}",
        words="",
        target=None,
    )


def test_one_peer_fills_half_of_the_room_at_most_and_pushes_nothing_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    records = Records(store)
    records.cap_bytes = LEAST_CAP_BYTES
    honest = [record(f"honest{number}", number) for number in range(20)]
    assert set(records.take(honest, now=NOW, brought_by="friend").outcomes) == {Outcome.NEW}
    crowd = [record(f"sybil{number}", number) for number in range(LEAST_CAP_BYTES // SIZE + 100)]
    outcomes = [
        outcome
        for start in range(0, len(crowd), 256)
        for outcome in records.take(crowd[start : start + 256], now=NOW, brought_by="bad").outcomes
    ]
    admitted = outcomes.count(Outcome.NEW)
    assert outcomes[-1] is Outcome.PEER_QUOTA
    assert admitted * SIZE <= LEAST_CAP_BYTES / 2
    more = [record(f"later{number}", number) for number in range(20)]
    assert set(records.take(more, now=NOW, brought_by="friend").outcomes) == {Outcome.NEW}
    assert records.raws([one.cid for one in honest]).keys() == {one.cid for one in honest}
    store.close()
