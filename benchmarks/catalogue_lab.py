"""What the catalogue's benchmarks share: records, stores that hold them, and processes of their own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from openstall.app.clock import SystemClock
from openstall.app.services.door import Door
from openstall.ledger.chain import ChainParams
from openstall.market.ids import peer_id_of
from openstall.market.records import Record, SignedRecord, sign_record
from openstall.store.database import Store
from openstall.store.records import NewRecord, Records

PER_AUTHOR = 200
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


def child(script: str, *arguments: str, wait: bool = True) -> Any:
    """Run a benchmark's own script: its answer, or the process where it is not to be waited for."""
    command = [sys.executable, script, *arguments]
    if wait:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=3600)
        return json.loads(done.stdout)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rss_mb() -> float:
    """The resident memory of this process."""
    fields = Path("/proc/self/status").read_text()
    return int(fields.partition("VmRSS:")[2].split()[0]) / 1024


class Words:
    """Words as a language has them: a few very common, many rare (Zipf)."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = [
            "".join(self.random.choices(letters, k=self.random.randint(3, 10))) for _ in range(20_000)
        ]
        total = 0.0
        self.cumulative = [total := total + 1 / rank for rank in range(1, len(self.words) + 1)]

    def some(self, count: int) -> str:
        """So many words."""
        return " ".join(self.random.choices(self.words, cum_weights=self.cumulative, k=count))


def signed_records(count: int, first_author: int = 0) -> Iterator[SignedRecord]:
    """Offers, each author's in a chain."""
    words = Words()
    now, key, author, prev = int(time.time()), SigningKey(bytes(32)), "", ""
    for number in range(count):
        if number % PER_AUTHOR == 0:
            key = SigningKey((first_author + number // PER_AUTHOR + 1).to_bytes(32, "big"))
            author, prev = peer_id_of(bytes(key.verify_key)), ""
        body = {
            "title": words.some(4)[:120], "kinds": ["infer", "train"], "cpu": words.some(3)[:120],
            "threads": 4, "memory_bytes": 2**32, "disk_bytes": 2**32,
            "gpus": [{"name": words.some(2), "memory_bytes": 2**34}], "price_per_s_micro": 20_000,
            "max_s": 3600, "withdraw_delay_s": 3600, "wallet": "0x" + "0a" * 20, "chain_id": PARAMS.chain_id,
            "channel": PARAMS.channel,
        }  # fmt: skip
        record = Record(
            type="offer", network=NETWORK, author=author, key=f"machine-{number}",
            seq=number % PER_AUTHOR + 1, prev=prev, issued=now, expires=now + 86_400, body=body,
        )  # fmt: skip
        signed = sign_record(record, key.encode())
        prev = signed.cid
        yield signed


def fill(door: Door, records: Iterator[SignedRecord]) -> None:
    """Store them without checking them again."""
    batch: list[SignedRecord] = []
    for signed in records:
        batch.append(signed)
        if len(batch) == 1000:
            door.take(batch)
            batch = []
    door.take(batch)


def open_door(folder: Path) -> Door:
    """The door of a store in a folder, made if need be."""
    folder.mkdir(exist_ok=True)
    store = Store(folder / "store.sqlite")
    return Door(records=Records(store), params=PARAMS, network=NETWORK, clock=SystemClock())


def say(**values: Any) -> None:
    """Tell the process that started this one."""
    print(json.dumps(values), flush=True)


def plain(words: Words, number: int, now: int) -> NewRecord:
    """A record as the store is given it, without a signature."""
    kind = ("listing", "listing", "offer", "capacity")[number % 4]
    return NewRecord(
        cid=f"b{number:059d}", network=NETWORK, type=kind, author=f"12D3KooW{number // PER_AUTHOR:044d}",
        key=f"key-{number}", seq=number % PER_AUTHOR + 1,
        issued=now - number % 5_000,
        expires=now + 864_000, raw=b'{"record":{"body":{}},"sig":"%s"}' % (b"0" * 660), title=words.some(5),
        words=words.some(40),
    )  # fmt: skip


def fill_plain(folder: Path, count: int, network: str = NETWORK) -> None:
    """A store with so many records."""
    store = Store(folder / "store.sqlite")
    records, words, now = Records(store), Words(), int(time.time())
    for start in range(0, count, 2_000):
        batch = [replace(plain(words, at, now), network=network) for at in range(start, start + 2_000)]
        records.add_many(batch, now=now)
    store.close()
    say(done=True)
