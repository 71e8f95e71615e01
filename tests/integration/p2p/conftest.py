from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio

from openstall.market.errors import InvalidRecord
from openstall.p2p.host import PeerHost
from openstall.p2p.nurseries import single_errors

NewHost = Callable[..., Awaitable[PeerHost]]


class MemoryRecords:
    """Records as they are in a store, for peers that live in a test: bytes, addressed by their SHA-256."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.changed = trio.Event()

    def add(self, raw: bytes) -> str:
        cid = hashlib.sha256(raw).hexdigest()
        self.held[cid] = raw
        self.changed.set()
        self.changed = trio.Event()
        return cid

    def have(self, cid: str) -> bool:
        return cid in self.held

    def get(self, cid: str) -> bytes | None:
        return self.held.get(cid)

    def digest_buckets(self) -> Sequence[bytes]:
        hashes = [hashlib.sha256() for _ in range(256)]
        for cid in sorted(self.held.copy()):
            hashes[int(cid[:2], 16)].update(cid.encode())
        return [one.digest() for one in hashes]

    def cids_in_bucket(self, bucket: int) -> Sequence[str]:
        return sorted(one for one in list(self.held) if int(one[:2], 16) == bucket)

    async def admit(self, raws: Sequence[bytes], _: str) -> list[str | InvalidRecord]:
        return [
            self.add(raw) if raw.startswith(b"record") else InvalidRecord("bad_signature", "Not a record.")
            for raw in raws
        ]

    async def count_is(self, count: int) -> None:
        """Wait until so many records are held."""
        with trio.fail_after(30):
            while len(self.held) < count:
                await self.changed.wait()


@pytest.fixture
def records() -> Callable[[int], MemoryRecords]:
    def make(count: int = 0) -> MemoryRecords:
        store = MemoryRecords()
        for _ in range(count):
            store.add(b"record " + os.urandom(200))
        return store

    return make


@pytest.fixture
def new_host(nursery: trio.Nursery) -> NewHost:
    """Hosts on loopback that run until the test ends."""

    async def make(**options: Any) -> PeerHost:
        options.setdefault("seed", os.urandom(32))
        options.setdefault("network", "test")
        host = PeerHost(**options)
        with single_errors():
            await nursery.start(host.run)
        return host

    return make


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a state that has no event of its own."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - states of libp2p have no events
            await trio.sleep(0.01)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return until
