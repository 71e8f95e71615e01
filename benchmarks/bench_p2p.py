"""Blob transfer between processes over loopback, against asyncio TLS 1.3 of the same file.

Both write to the same disk. The peer-to-peer side also verifies each chunk (BLAKE3) and the whole
(SHA-256), keeps a resume journal and syncs the result to the disk. Rounds alternate, so that both
meet the same machine. In rounds of their own a small message goes to and fro all the time, on the
same connection, as the lines of a job's log do.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from table import Row
from tls_pair import make_certificate, print_result, tls_get, tls_send

SIZE = 256 * 1024 * 1024
LARGE = 2 * 1024 * 1024 * 1024
ROUNDS = 3
RATIO_AIM, SEVERAL_AIM = 0.40, 0.80
SOURCES = 3
WAN_MS, WAN_AIM = 50, 100.0
CPU_AIM_S = 8.0
ECHO_AIM_MS = 10.0
MEMORY_AIM_MB = 120.0
STALL_AIM_MS = 50.0
_ECHO = "/openstall/bench-echo/1"
_ECHO_EVERY_S = 0.01
_ACQUAINTED_S = 0.7
"""By then a connection knows its round trip."""


def rows() -> Iterable[Row]:
    """The table's lines for this room."""
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        _random_file(source, SIZE)
        make_certificate(folder)
        tls, blobs, talked, several = [], [], [], []
        for _ in range(ROUNDS):
            tls.append(pair(folder, source, "tls"))
            blobs.append(pair(folder, source, "blob"))
            talked.append(pair(folder, source, "talk"))
            several.append(pair(folder, source, "blob", senders=SOURCES))
        yield _ratio("verified blob transfer to disk, 256 MB", blobs, tls, RATIO_AIM, "one source")
        yield _ratio(
            f"the same from {SOURCES} sources", several, tls, SEVERAL_AIM, f"{SOURCES + 1} processes"
        )
        yield from _beside(blobs, talked)
        source.unlink()
        _random_file(source, 2 * SIZE)
        far = [pair(folder, source, "blob", delay_ms=WAN_MS) for _ in range(3)]
        speed = statistics.median(one["mb_per_s"] for one in far)
        yield Row(
            name=f"the same, 512 MB over a link of {WAN_MS} ms round trip",
            value=speed,
            unit="MB/s",
            limit=f"≥ {WAN_AIM:.0f} MB/s",
            ok=speed >= WAN_AIM,
            note=f"{_speeds(far)} MB/s, one source, several streams, link in a process of its own",
        )
        source.unlink()
        _random_file(source, LARGE)
        large = pair(folder, source, "blob")
        yield Row(
            name="receiver's memory, 2 GB blob",
            value=large["rss_mb"],
            unit="MB",
            limit=f"< {MEMORY_AIM_MB:.0f} MB",
            ok=large["rss_mb"] < MEMORY_AIM_MB,
            note=f"peak RSS of the whole process, {large['mb_per_s']:.0f} MB/s",
        )


def _ratio(
    name: str, ours: list[dict[str, float]], tls: list[dict[str, float]], aim: float, what: str
) -> Row:
    ratio = statistics.median(one["mb_per_s"] for one in ours) / statistics.median(
        one["mb_per_s"] for one in tls
    )
    return Row(
        name=name,
        value=ratio,
        unit="of asyncio TLS 1.3",
        limit=f"≥ {aim:.2f}",
        ok=ratio >= aim,
        note=f"{_speeds(ours)} against {_speeds(tls)} MB/s, loopback, {what}",
    )


def _beside(blobs: list[dict[str, float]], talked: list[dict[str, float]]) -> Iterator[Row]:
    """What a transfer costs, and what others feel of it."""
    per_gb = statistics.median(one["both_cpu_s"] / one["gb"] for one in blobs)
    receiver = statistics.median(one["cpu_s"] / one["gb"] for one in blobs)
    yield Row(
        name="processor time of a transfer, both ends",
        value=per_gb,
        unit="s per GB",
        limit=f"≤ {CPU_AIM_S:.0f} s",
        ok=per_gb <= CPU_AIM_S,
        note=f"{receiver:.1f} s of it at the receiver; Noise, hashes, disk and all",
    )
    echo = statistics.median(one["echo_p95_ms"] for one in talked)
    yield Row(
        name="a job's log line there and back beside a transfer, p95",
        value=echo,
        unit="ms",
        limit=f"≤ {ECHO_AIM_MS:.0f} ms",
        ok=echo <= ECHO_AIM_MS,
        note=f"on the same connection; median {statistics.median(one['echo_ms'] for one in talked):.1f} ms",
    )
    stall = statistics.median(one["stall_ms"] for one in talked)
    yield Row(
        name="longest stall of the receiver's event loop",
        value=stall,
        unit="ms",
        limit=f"< {STALL_AIM_MS:.0f} ms",
        ok=stall < STALL_AIM_MS,
        note="while 256 MB arrive, median of the rounds",
    )


def _speeds(results: list[dict[str, float]]) -> str:
    return " ".join(f"{one['mb_per_s']:.0f}" for one in results)


def _random_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (1 << 20)):
            file.write(os.urandom(1 << 20))


def pair(folder: Path, source: Path, kind: str, *, senders: int = 1, delay_ms: int = 0) -> dict[str, float]:
    """Run senders and a receiver; the receiver's result, and the processor time of both ends."""
    command = [sys.executable, __file__]
    running = [
        subprocess.Popen(
            [*command, f"{kind}-send", str(folder), json.dumps([str(source), number])],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(senders)
    ]
    try:
        told = [_told(one) for one in running]
        with _link(told[0], delay_ms) as shown:
            before = [_cpu_s(one) for one in running]
            done = subprocess.run(
                [*command, f"{kind}-get", str(folder), json.dumps([shown, *told[1:]])],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=600,
            )
            spent = sum(_cpu_s(one) - was for one, was in zip(running, before, strict=True))
    finally:
        for one in running:
            one.kill()
            one.wait()
    result: dict[str, float] = json.loads(done.stdout)
    result["both_cpu_s"] = result["cpu_s"] + spent
    return result


def _told(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def _cpu_s(process: subprocess.Popen[str]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def _link(told: Any, delay_ms: int) -> Iterator[Any]:
    """What the first sender told, as it is behind a slow link."""
    if not delay_ms:
        yield told
        return
    address, *rest = told
    port = re.findall(r"/tcp/([0-9]+)", address)[0]
    link = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("wan_link.py"), str(delay_ms), port],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield [address.replace(f"/tcp/{port}", f"/tcp/{_told(link)}"), *rest]
    finally:
        link.kill()
        link.wait()


# Our side


def _blob_send(folder: Path, told: str) -> None:
    import trio

    from openstall.p2p.blob_transfer import BlobTransfer
    from openstall.p2p.blobs import BlobStore
    from openstall.p2p.framing import Framed
    from openstall.p2p.host import PeerHost, Rate

    name, number = json.loads(told)
    source = Path(name)
    size = source.stat().st_size

    async def echo(_: str, framed: Framed) -> None:
        while (line := await framed.receive()) is not None:
            await framed.send(line)

    async def main() -> None:
        store = BlobStore(folder / f"sender{number}")
        for old in store.all():
            if old.size != size:
                await store.remove(old.cid)
        info = store.all()[0] if store.all() else await store.add_file(source)
        async with PeerHost(seed=bytes([number + 1] * 32)) as host:
            BlobTransfer(host=host, store=store, allow=lambda _cid, _peer: True)
            host.serve_stream(_ECHO, echo, max_frame=1000, per_peer_rate=Rate(per_s=10, burst=10))
            print(json.dumps([host.addrs[0], info.cid, info.size]), flush=True)
            await trio.sleep_forever()

    trio.run(main)


def _blob_get(folder: Path, told: str, *, talking: bool = False) -> None:
    import trio

    from openstall.p2p.blob_transfer import BlobTransfer
    from openstall.p2p.blobs import BlobStore
    from openstall.p2p.host import PeerHost

    senders = json.loads(told)
    _, cid, size = senders[0]
    worst = 0.0
    echoes: list[float] = []

    async def watch() -> None:
        nonlocal worst
        while True:
            before = trio.current_time()
            await trio.sleep(0.002)
            worst = max(worst, trio.current_time() - before - 0.002)

    async def talk(host: PeerHost, peer_id: str) -> None:
        async with await host.open_stream(peer_id, _ECHO, timeout_s=10, max_frame=1000) as framed:
            while True:
                before = trio.current_time()
                await framed.send(bytes(100))
                await framed.receive()
                echoes.append(trio.current_time() - before)
                await trio.sleep(_ECHO_EVERY_S)

    async def main() -> None:
        async with PeerHost(seed=os.urandom(32)) as host:
            store = BlobStore(folder / "receiver")
            transfer = BlobTransfer(host=host, store=store, allow=lambda _cid, _peer: False)
            peers = [(await host.connect(address)).peer_id for address, _, _ in senders]
            await trio.sleep(_ACQUAINTED_S)
            async with trio.open_nursery() as nursery:
                if talking:
                    nursery.start_soon(watch)
                    nursery.start_soon(talk, host, peers[0])
                start, cpu = time.perf_counter(), time.process_time()
                await transfer.fetch(cid, peers, expected_size_max=size)
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
                nursery.cancel_scope.cancel()
            await store.remove(cid)
            beside = sorted(echoes) or [0.0]
            print_result(
                size,
                seconds,
                cpu,
                stall_ms=worst * 1000,
                echo_ms=beside[len(beside) // 2] * 1000,
                echo_p95_ms=beside[len(beside) * 95 // 100] * 1000,
            )

    trio.run(main)


ROLES: dict[str, Callable[[Path, str], None]] = {
    "blob-send": _blob_send,
    "blob-get": _blob_get,
    "talk-send": _blob_send,
    "talk-get": partial(_blob_get, talking=True),
    "tls-send": tls_send,
    "tls-get": tls_get,
}

if __name__ == "__main__":
    if len(sys.argv) == 4:
        ROLES[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
    else:
        from table import as_text

        print(as_text(list(rows())))
