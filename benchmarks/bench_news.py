"""The catalogue in use: how soon news reaches fifty peers, and a real node's memory."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from catalogue_lab import NETWORK, PARAMS, child, open_door
from nacl.signing import SigningKey
from table import Row

from openstall.app.services.door import Door
from openstall.market.ids import peer_id_of
from openstall.market.records import Record, SignedRecord, sign_record

PEERS, PROCESSES, LINKS = 50, 4, 4
NEWS, NEWS_PER_S, NEWS_PATIENCE_S, NEWS_AIM_S = 40, 2, 20, 1.5
NODE_QUIET_S = 10
NODE_AIM_MB = {0: 150.0, 100_000: 250.0}
# The tests' environment has both, and our libraries load them where they are; a user's node has neither.
_LEAN = """
import runpy, sys
sys.modules["numpy"] = sys.modules["rich"] = None
runpy.run_module("openstall.app.cli.main", run_name="__main__")
"""
AS_INSTALLED = (sys.executable, "-P", "-c", _LEAN)
FILLER = str(Path(__file__).with_name("bench_catalogue.py"))


def rows() -> Iterable[Row]:
    """The table's lines for this room."""
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        yield _news_row(Path(name))
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        yield from _node_rows(Path(name))


# News among fifty peers


def _news_row(folder: Path) -> Row:
    several = [
        child(__file__, "swarm", str(folder / str(at)), str(at), wait=False) for at in range(PROCESSES)
    ]
    try:
        addrs = [json.loads(one.stdout.readline()) for one in several]
        flat = [address for part in addrs for address in part]
        chance = random.Random(7)
        for part, one in zip(addrs, several, strict=True):
            links = [chance.sample([other for other in flat if other != own], LINKS) for own in part]
            _tell(one, links)
        for one in several:
            one.stdout.readline()
        for number in range(NEWS):
            _tell(several[number % PROCESSES], number)
            time.sleep(1 / NEWS_PER_S)
        time.sleep(NEWS_PATIENCE_S)
        delays: list[float] = []
        for one in several:
            _tell(one, "end")
            delays += json.loads(one.stdout.readline())
    finally:
        for one in several:
            one.kill()
            one.wait()
    due = NEWS * (len(flat) - 1)
    delays.sort()
    p95 = delays[min(len(delays) - 1, int(due * 0.95))]
    return Row(
        name=f"records of 1 kB that reach {len(flat)} peers, p95",
        value=p95,
        unit="s",
        limit=f"< {NEWS_AIM_S} s, and all arrive",
        ok=p95 < NEWS_AIM_S and len(delays) == due,
        note=f"{len(delays):,} of {due:,} deliveries; median {delays[len(delays) // 2]:.2f} s, slowest "
        f"{delays[-1]:.2f} s; {PROCESSES} processes, {LINKS} links dialled by each, {NEWS_PER_S} records "
        "a second, every signature checked and every record stored at every peer",
    )


def _tell(child: Any, what: Any) -> None:
    child.stdin.write(json.dumps(what) + "\n")
    child.stdin.flush()


def _swarm(folder: Path, place: int) -> None:
    import trio

    from openstall.p2p.catalogue import Catalogue
    from openstall.p2p.host import PeerHost

    folder.mkdir()
    delays: list[float] = []
    size = PEERS // PROCESSES + (place < PEERS % PROCESSES)

    def member(host: PeerHost, number: int) -> tuple[Catalogue, Door]:
        home = folder / str(number)
        home.mkdir()
        door = open_door(home)

        async def admit(raws: Any, peer_id: str) -> Any:
            got = await trio.to_thread.run_sync(lambda: door.admit(raws, brought_by=peer_id))
            delays.extend(time.time() - int(one.record.key) / 1e6 for one in got.new)
            return got.outcomes

        return Catalogue(host=host, network=NETWORK, store=door, admit=admit), door

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            hosts = [PeerHost(seed=SigningKey.generate().encode(), network=NETWORK) for _ in range(size)]
            members = [member(host, number) for number, host in enumerate(hosts)]
            for host, (catalogue, _) in zip(hosts, members, strict=True):
                await nursery.start(host.run)
                await nursery.start(catalogue.run)
            print(json.dumps([host.addrs[0] for host in hosts]), flush=True)
            links = json.loads(await trio.to_thread.run_sync(sys.stdin.readline))
            for host, others in zip(hosts, links, strict=True):
                for other in others:
                    await host.connect(other)
            await trio.sleep(5)
            print("connected", flush=True)
            while (number := json.loads(await trio.to_thread.run_sync(sys.stdin.readline))) != "end":
                catalogue, door = members[number % size]
                record = _news(number)
                await trio.to_thread.run_sync(door.take, [record])
                await catalogue.announce(
                    cid=record.cid, record_type="offer", author=record.record.author, seq=1,
                    size=len(record.raw),
                )  # fmt: skip
            print(json.dumps(delays), flush=True)

    trio.run(main)


def _news(number: int) -> SignedRecord:
    """One record of about 1 kB; its key says when it was published, in millionths of a second."""
    key = SigningKey((number + 1).to_bytes(32, "big"))
    body = {
        "title": "News", "kinds": ["infer"], "cpu": "c" * 120, "threads": 4, "memory_bytes": 2**32,
        "disk_bytes": 2**32, "gpus": [{"name": "g" * 110, "memory_bytes": 2**34}] * 2,
        "price_per_s_micro": 20_000, "max_s": 3600, "withdraw_delay_s": 3600,
        "wallet": "0x" + "0a" * 20, "chain_id": PARAMS.chain_id, "channel": PARAMS.channel,
    }  # fmt: skip
    now = time.time()
    record = Record(
        type="offer", network=NETWORK, author=peer_id_of(bytes(key.verify_key)), key=str(int(now * 1e6)),
        seq=1, prev="", issued=int(now), expires=int(now) + 86_400, body=body,
    )  # fmt: skip
    return sign_record(record, key.encode())


# A real node


def _node_rows(folder: Path) -> Iterable[Row]:
    """The node as a user starts it, in a group that it hosts; its chain is another process, not counted."""
    import psutil

    from openstall.app.demo.peers import running_peer

    with running_peer("node", folder / "node", AS_INSTALLED) as node:
        node.operate("/v1/group/create", name="Benchmark")
        network = node.get("/v1/group")["network"]
        for count, aim_mb in NODE_AIM_MB.items():
            if count:
                child(FILLER, "fill", str(folder / "node"), str(count), network)
            node.get("/v1/catalogue", q="a")
            time.sleep(NODE_QUIET_S)
            rss = psutil.Process(node.process.pid).memory_info().rss / 2**20
            held = sum(node.get("/v1/catalogue/state")["counts"].values())
            yield Row(
                name=f"memory of a node, {count:,} records" if count else "memory of an idle node",
                value=rss,
                unit="MB",
                limit=f"<= {aim_mb:.0f} MB",
                ok=rss <= aim_mb and held >= count * 0.7,
                note=f"resident, {NODE_QUIET_S} s after a search; {held:,} live records, group hosted; "
                "neither the agent's process nor the chain's is counted",
            )


if __name__ == "__main__":
    _swarm(Path(sys.argv[2]), int(sys.argv[3]))
