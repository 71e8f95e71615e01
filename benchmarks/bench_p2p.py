"""Blob transfer between two processes over loopback, against asyncio TLS 1.3 of the same file.

Both write to the same disk. The peer-to-peer side also verifies each chunk (BLAKE3) and the whole
(SHA-256), keeps a resume journal and syncs the result to the disk. Rounds alternate, so that both
meet the same machine.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from table import Row

SIZE = 256 * 1024 * 1024
LARGE = 2 * 1024 * 1024 * 1024
ROUNDS = 3
RATIO_AIM = 0.36
MEMORY_AIM_MB = 120.0
STALL_AIM_MS = 50.0
_READ = 256 * 1024


def rows() -> Iterable[Row]:
    """The table's lines for this room."""
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        _random_file(source, SIZE)
        _certificate(folder)
        tls, blobs = [], []
        for _ in range(ROUNDS):
            tls.append(_pair(folder, source, "tls"))
            blobs.append(_pair(folder, source, "blob"))
        ratio = statistics.median(one["mb_per_s"] for one in blobs) / statistics.median(
            one["mb_per_s"] for one in tls
        )
        yield Row(
            name="verified blob transfer to disk, 256 MB",
            value=ratio,
            unit="of asyncio TLS 1.3",
            limit=f"≥ {RATIO_AIM}",
            ok=ratio >= RATIO_AIM,
            note=f"{_speeds(blobs)} against {_speeds(tls)} MB/s, loopback, two processes",
        )
        stall = max(one["stall_ms"] for one in blobs)
        yield Row(
            name="longest stall of the receiver's event loop",
            value=stall,
            unit="ms",
            limit=f"< {STALL_AIM_MS:.0f} ms",
            ok=stall < STALL_AIM_MS,
            note="while 256 MB arrive",
        )
        source.unlink()
        _random_file(source, LARGE)
        large = _pair(folder, source, "blob")
        yield Row(
            name="receiver's memory, 2 GB blob",
            value=large["rss_mb"],
            unit="MB",
            limit=f"< {MEMORY_AIM_MB:.0f} MB",
            ok=large["rss_mb"] < MEMORY_AIM_MB,
            note=f"peak RSS of the whole process, {large['mb_per_s']:.0f} MB/s",
        )


def _speeds(results: list[dict[str, float]]) -> str:
    return " ".join(f"{one['mb_per_s']:.0f}" for one in results)


def _random_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (1 << 20)):
            file.write(os.urandom(1 << 20))


def _pair(folder: Path, source: Path, kind: str) -> dict[str, float]:
    """Run a sender and a receiver; the receiver's result."""
    command = [sys.executable, __file__]
    sender = subprocess.Popen(
        [*command, f"{kind}-send", str(folder), str(source)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert sender.stdout is not None
        told = sender.stdout.readline().strip()
        done = subprocess.run(
            [*command, f"{kind}-get", str(folder), told],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
    finally:
        sender.kill()
        sender.wait()
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _result(size: int, seconds: float, stall_s: float = 0.0) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "mb_per_s": size / 1e6 / seconds,
                "rss_mb": usage.ru_maxrss / 1024,
                "stall_ms": stall_s * 1000,
                "cpu_s": usage.ru_utime + usage.ru_stime,
            }
        )
    )


# Our side


def _blob_send(folder: Path, source: Path) -> None:
    import trio

    from openstall.p2p.blob_transfer import BlobTransfer
    from openstall.p2p.blobs import BlobStore
    from openstall.p2p.host import PeerHost

    size = source.stat().st_size

    async def main() -> None:
        store = BlobStore(folder / "sender")
        for old in store.all():
            if old.size != size:
                await store.remove(old.cid)
        info = store.all()[0] if store.all() else await store.add_file(source)
        async with PeerHost(seed=bytes(range(32))) as host:
            BlobTransfer(host=host, store=store, allow=lambda _cid, _peer: True)
            print(json.dumps([host.addrs[0], info.cid, info.size]), flush=True)
            await trio.sleep_forever()

    trio.run(main)


def _blob_get(folder: Path, told: str) -> None:
    import trio

    from openstall.p2p.blob_transfer import BlobTransfer
    from openstall.p2p.blobs import BlobStore
    from openstall.p2p.host import PeerHost

    address, cid, size = json.loads(told)
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = trio.current_time()
            await trio.sleep(0.002)
            worst = max(worst, trio.current_time() - before - 0.002)

    async def main() -> None:
        async with PeerHost(seed=os.urandom(32)) as host:
            store = BlobStore(folder / "receiver")
            transfer = BlobTransfer(host=host, store=store, allow=lambda _cid, _peer: False)
            peer = await host.connect(address)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                start = time.perf_counter()
                await transfer.fetch(cid, [peer.peer_id], expected_size_max=size)
                seconds = time.perf_counter() - start
                nursery.cancel_scope.cancel()
            await store.remove(cid)
            _result(size, seconds, worst)

    trio.run(main)


# What it is compared with


def _certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _tls_send(folder: Path, source: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    size = source.stat().st_size

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with source.open("rb") as file:
            while data := file.read(_READ):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        print(json.dumps([port, size]), flush=True)
        await server.serve_forever()

    asyncio.run(main())


def _tls_get(folder: Path, told: str) -> None:
    port, size = json.loads(told)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    target = folder / "tls-received"

    async def main() -> None:
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=4 * _READ)
        got = 0
        with target.open("wb") as file:
            while data := await reader.read(_READ):
                file.write(data)
                got += len(data)
        seconds = time.perf_counter() - start
        writer.close()
        if got != size:
            raise RuntimeError(f"received {got} of {size} bytes")
        target.unlink()
        _result(size, seconds)

    asyncio.run(main())


ROLES: dict[str, Callable[[Path, Any], None]] = {
    "blob-send": lambda folder, rest: _blob_send(folder, Path(rest)),
    "blob-get": _blob_get,
    "tls-send": lambda folder, rest: _tls_send(folder, Path(rest)),
    "tls-get": _tls_get,
}

if __name__ == "__main__":
    if len(sys.argv) == 4:
        ROLES[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
    else:
        from table import as_text

        print(as_text(list(rows())))
