from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from blob_lab import Holder
from memory_tree import MemoryTree

from openstall.market.errors import InvalidRecord
from openstall.p2p.host import PeerHost
from openstall.p2p.nurseries import single_errors

NewHost = Callable[..., Awaitable[PeerHost]]


class MemoryRecords(MemoryTree):
    """Records as they are in a store, for peers that live in a test: bytes, addressed by their SHA-256."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = trio.Event()

    def add(self, raw: bytes) -> str:
        cid = super().add(raw)
        self.changed.set()
        self.changed = trio.Event()
        return cid

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


@pytest.fixture
def holder(new_host: NewHost, tmp_path: Path) -> Callable[..., Awaitable[Holder]]:
    async def make(name: str, *knows: Holder, **options: Any) -> Holder:
        host = await new_host()
        for other in knows:
            host.book.learn(other.host.peer_id, [other.host.addrs[0].split("/p2p/")[0]])
        return Holder(host, tmp_path / name, **options)

    return make
