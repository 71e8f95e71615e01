"""The catalogue's store: search over 100,000 records, and 10,000 signed records checked and stored."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from nacl.signing import SigningKey
from table import Row

from openstall.app.clock import SystemClock
from openstall.app.services.door import Door
from openstall.ledger.chain import ChainParams
from openstall.market.ids import peer_id_of
from openstall.market.records import Record, sign_record
from openstall.store.database import Store
from openstall.store.records import NewRecord, Outcome, Records
from openstall.store.search import Search

SEARCHED = 100_000
SIGNED = 10_000
AUTHORS = 200
QUERIES = 300
BATCH = 256
NETWORK = "bench"
PARAMS = ChainParams(
    chain_id=7,
    genesis_hash="0x" + "11" * 32,
    name="Bench",
    credit="0x" + "01" * 20,
    escrow="0x" + "02" * 20,
    channel="0x" + "03" * 20,
    kind="group",
)


def rows() -> Iterable[Row]:
    """Both lines of the table."""
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as folder:
        yield _search(Path(folder))
        yield _admit(Path(folder))


class _Texts:
    """Words as a language has them: a few very common, many rare (Zipf)."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = [
            "".join(self.random.choices(letters, k=self.random.randint(3, 10))) for _ in range(20_000)
        ]
        self.weights = [1 / rank for rank in range(1, len(self.words) + 1)]

    def some(self, count: int) -> str:
        return " ".join(self.random.choices(self.words, self.weights, k=count))


def _search(folder: Path) -> Row:
    texts, store = _Texts(), Store(folder / "search.sqlite")
    records, now = Records(store), int(time.time())
    for start in range(0, SEARCHED, 1000):
        records.add_many([_plain(texts, number, now) for number in range(start, start + 1000)], now=now)
    search = Search(store)
    times_ms = sorted(_timed_ms(search, query, types, now) for query, types in _queries(texts))
    store.close()
    p95 = times_ms[int(len(times_ms) * 0.95)]
    return Row(
        name=f"full-text search over {SEARCHED:,} records, p95",
        value=p95,
        unit="ms",
        limit="< 50 ms",
        ok=p95 < 50,
        note=f"{len(times_ms)} queries of one to three words, from the rarest to the most common; "
        f"median {times_ms[len(times_ms) // 2]:.1f} ms, slowest {times_ms[-1]:.1f} ms",
    )


def _plain(texts: _Texts, number: int, now: int) -> NewRecord:
    kind = ("listing", "listing", "offer", "peer")[number % 4]
    return NewRecord(
        cid=f"b{number:059d}",
        network=NETWORK,
        type=kind,
        author=f"author-{number % AUTHORS}",
        key=f"key-{number}",
        seq=number // AUTHORS + 1,
        issued=now - number % 5_000,
        expires=now + 86_400,
        raw=b"{}",
        title=texts.some(5),
        words=texts.some(60),
    )


def _queries(texts: _Texts) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number in range(QUERIES):
        # Half the words as they occur in texts (mostly common ones), half drawn evenly (mostly rare).
        words = texts.some(1 + number % 3).split() if number % 2 else texts.random.choices(texts.words, k=1)
        words[-1] = words[-1][: max(3, len(words[-1]) - number % 3)]
        yield " ".join(words), (("listing",), ())[number % 2]


def _timed_ms(search: Search, query: str, types: tuple[str, ...], now: int) -> float:
    begun = time.perf_counter()
    search.find(NETWORK, now=now, query=query, types=types, limit=50)
    return (time.perf_counter() - begun) * 1000


def _admit(folder: Path) -> Row:
    texts, clock = _Texts(), SystemClock()
    raws = list(_signed(texts, clock.now()))
    store = Store(folder / "admit.sqlite")
    door = Door(records=Records(store), params=PARAMS, network=NETWORK, clock=clock)
    begun = time.perf_counter()
    stored = 0
    for start in range(0, len(raws), BATCH):
        stored += len(door.admit(raws[start : start + BATCH]).new)
    took_s = time.perf_counter() - begun
    store.close()
    if stored != SIGNED:
        raise RuntimeError(f"{stored} of {SIGNED} records were {Outcome.NEW}")
    return Row(
        name=f"{SIGNED:,} signed records checked and stored",
        value=took_s,
        unit="s",
        limit="< 20 s",
        ok=took_s < 20,
        note=f"{SIGNED / took_s:,.0f} per second on one core, in batches of {BATCH} as the sync brings them",
    )


def _signed(texts: _Texts, now: int) -> Iterator[bytes]:
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, 51)]
    authors = [peer_id_of(bytes(key.verify_key)) for key in keys]
    for number in range(SIGNED):
        at = number % len(keys)
        body = {
            "title": texts.some(4)[:120],
            "kinds": ["infer", "train"],
            "cpu": texts.some(3)[:120],
            "threads": 4,
            "memory_bytes": 2**32,
            "disk_bytes": 2**32,
            "gpus": [{"name": texts.some(2), "memory_bytes": 2**34}],
            "price_per_s_micro": 20_000,
            "max_s": 3600,
            "withdraw_delay_s": 3600,
            "wallet": "0x" + "0a" * 20,
            "chain_id": PARAMS.chain_id,
            "channel": PARAMS.channel,
        }
        record = Record(
            type="offer",
            network=NETWORK,
            author=authors[at],
            key=f"machine-{number}",
            seq=number // len(keys) + 1,
            prev="",
            issued=now,
            expires=now + 86_400,
            body=body,
        )
        yield sign_record(record, keys[at].encode()).raw
