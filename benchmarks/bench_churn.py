"""A node through a day of strangers who come, take the catalogue and go: nothing of them may stay behind."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from catalogue_lab import NETWORK, child, fill, open_door, rss_mb, say, signed_records
from table import Row

HOURS, VISITS_PER_HOUR = 24, 60
SETTLED_AFTER_HOURS = 4
"""By then every cache, pool and list with a limit has been used."""
RECORDS = 50
AT_ONCE = 8
ABRUPT = 0.4
"""So many go in the middle of what they asked for."""
PATIENCE_S = 60.0
AIM_MB = 3.0


def rows() -> Iterable[Row]:
    """The table's lines for this room."""
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        node = child(__file__, "node", name, wait=False)
        try:
            address = json.loads(node.stdout.readline())
            settled = _visits(node, address, 0, SETTLED_AFTER_HOURS)
            late = _visits(node, address, SETTLED_AFTER_HOURS, HOURS - SETTLED_AFTER_HOURS)
        finally:
            node.kill()
            node.wait()
    growth = late["mb"] - settled["mb"]
    same = late["tasks"] <= settled["tasks"] and late["descriptors"] <= settled["descriptors"]
    yield Row(
        name=f"{HOURS} simulated hours of churn: memory gained after the first {SETTLED_AFTER_HOURS}",
        value=growth,
        unit="MB",
        limit=f"<= {AIM_MB:.0f} MB, no task and no descriptor more",
        ok=growth <= AIM_MB and same,
        note=f"{HOURS * VISITS_PER_HOUR:,} peers that were never seen before connect, compare catalogues, "
        f"take {RECORDS} records and go, {ABRUPT:.0%} of them in the middle of that, a day's at once; "
        f"{settled['mb']:.0f} and {late['mb']:.0f} MB, {settled['tasks']} and {late['tasks']} tasks, "
        f"{settled['descriptors']} and {late['descriptors']} descriptors beside the store's",
    )


def _visits(node: Any, address: str, first: int, hours: int) -> dict[str, Any]:
    """Some hours of visitors; then what the node holds when all have gone."""
    child(__file__, "guests", address, str(first), str(hours * VISITS_PER_HOUR))
    node.stdin.write("\n")
    node.stdin.flush()
    held: dict[str, Any] = json.loads(node.stdout.readline())
    return held


def _node(folder: Path) -> None:
    import ctypes
    import gc

    import psutil
    import trio

    from openstall.p2p.catalogue import Catalogue
    from openstall.p2p.host import PeerHost

    door = open_door(folder)
    fill(door, signed_records(RECORDS))

    async def admit(raws: Any, peer_id: str) -> Any:
        return (await trio.to_thread.run_sync(lambda: door.admit(raws, brought_by=peer_id))).outcomes

    async def main() -> None:
        async with (
            PeerHost(seed=os.urandom(32), network=NETWORK, peerstore_path=folder / "peers") as host,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(Catalogue(host=host, network=NETWORK, store=door, admit=admit).run)
            print(json.dumps(host.addrs[0]), flush=True)
            while await trio.to_thread.run_sync(sys.stdin.readline):
                while host.peers():  # noqa: ASYNC110 - until the last has gone; no event says so
                    await trio.sleep(1)
                await trio.sleep(5)
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)  # what is free goes back: only what is held is counted
                process = psutil.Process()
                held = {
                    "mb": rss_mb(),
                    "tasks": trio.lowlevel.current_statistics().tasks_living,
                    # threads come and go, and each has the store open for itself
                    "descriptors": process.num_fds() - len(process.open_files()),
                }
                print(json.dumps(held), flush=True)

    trio.run(main)


def _guests(address: str, seed: int, visits: int) -> None:
    import trio

    from openstall.p2p.catalogue import Catalogue
    from openstall.p2p.host import PeerHost

    chance = random.Random(seed)
    turns = trio.CapacityLimiter(AT_ONCE)
    to = address.rpartition("/")[2]

    async def visit(folder: Path) -> None:
        async with turns:
            door = await trio.to_thread.run_sync(open_door, folder)

            async def admit(raws: Any, peer_id: str) -> Any:
                return (await trio.to_thread.run_sync(lambda: door.admit(raws, brought_by=peer_id))).outcomes

            async with PeerHost(seed=os.urandom(32), network=NETWORK, listen=[]) as host:
                catalogue = Catalogue(host=host, network=NETWORK, store=door, admit=admit, gossip=False)
                abrupt = chance.random() < ABRUPT
                stay_s = chance.uniform(0.01, 0.3) if abrupt else PATIENCE_S
                with trio.move_on_after(stay_s) as stay:
                    await host.connect(address)
                    report = await catalogue.sync_now(to)
                    if report.admitted != RECORDS:
                        raise RuntimeError(f"{report.admitted} records came")
                if stay.cancelled_caught and not abrupt:
                    raise RuntimeError("the node does not answer any more")

    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
            async with trio.open_nursery() as nursery:
                for number in range(visits):
                    nursery.start_soon(visit, Path(name) / str(number))

    trio.run(main)
    say(done=True)


if __name__ == "__main__":
    if sys.argv[1] == "node":
        _node(Path(sys.argv[2]))
    else:
        _guests(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
