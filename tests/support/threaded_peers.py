"""Real hosts beside a test that has no event loop of its own: each in a thread, with records to give away."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from memory_tree import MemoryTree

from openstall.market import ids
from openstall.market.errors import InvalidRecord
from openstall.market.records import Record, SignedRecord, sign_record
from openstall.p2p.catalogue import Catalogue
from openstall.p2p.host import PeerHost

PATIENCE_S = 60.0
A_DAY_S = 86_400


class BadPeer:
    """Says of itself what it likes, and gives away what it likes."""

    def __init__(self, name: str, network: str) -> None:
        self.name, self.network = name, network
        self.seed = os.urandom(32)
        self.peer_id = ids.peer_id_of_seed(self.seed)
        self.held = MemoryTree()

    def offer(self, group: dict[str, Any], seq: int, key: str) -> SignedRecord:
        """A machine for rent, in a group as the local API shows it."""
        now = int(time.time())
        body = {
            "title": f"Quiet machine {key}", "kinds": ["infer"], "cpu": "Zen", "threads": 2,
            "memory_bytes": 2**31, "disk_bytes": 2**30, "gpus": [], "price_per_s_micro": 10_000, "max_s": 600,
            "withdraw_delay_s": 3600, "wallet": "0x" + "0a" * 20, "chain_id": group["chain_id"],
            "channel": group["contracts"]["channel"],
        }  # fmt: skip
        record = Record(
            type="offer", network=self.network, author=self.peer_id, key=key, seq=seq, prev="", issued=now,
            expires=now + A_DAY_S, body=body,
        )  # fmt: skip
        return sign_record(record, self.seed)

    def gives(self, *signed: SignedRecord) -> None:
        """List these."""
        for one in signed:
            self.held.put(one.raw, one.cid)

    def gives_forged(self, signed: SignedRecord) -> None:
        """List it with a signature that is not its author's."""
        head, _, tail = signed.raw.partition(b'"sig":"')
        assert tail
        self.held.put(head + b'"sig":"' + (b"A" if tail[:1] != b"A" else b"B") + tail[1:], signed.cid)

    async def _admit(self, raws: Sequence[bytes], _peer: str) -> list[str | InvalidRecord]:
        return [InvalidRecord("storage_full", "No room.") for _ in raws]

    async def _run(self, address: str, met: threading.Event, over: trio.CancelScope) -> None:
        with over:
            host = PeerHost(seed=self.seed, network=self.network, name=self.name)
            async with host, trio.open_nursery() as nursery:
                catalogue = Catalogue(
                    host=host, network=self.network, store=self.held, admit=self._admit, gossip=False
                )
                await nursery.start(catalogue.run)
                await host.connect(address)
                met.set()
                await trio.sleep_forever()

    @contextmanager
    def connected(self, address: str) -> Iterator[None]:
        """Run beside the test, connected to an address; it ends with the block."""
        met, over = threading.Event(), trio.CancelScope()
        token: list[trio.lowlevel.TrioToken] = []

        async def run() -> None:
            token.append(trio.lowlevel.current_trio_token())
            await self._run(address, met, over)

        thread = threading.Thread(target=lambda: trio.run(run), name=self.name, daemon=True)
        thread.start()
        try:
            assert met.wait(PATIENCE_S), f"{self.name} did not get in"
            yield
        finally:
            token[0].run_sync_soon(over.cancel)
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
