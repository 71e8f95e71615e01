"""One file over asyncio's TLS 1.3, from one process to another: what transfers are compared with."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import resource
import ssl
import time
from pathlib import Path

_READ = 256 * 1024


def print_result(size: int, seconds: float, cpu_s: float, **more: float) -> None:
    """One JSON line: what a receiver measured. Times in seconds, `gb` and `mb_per_s` in powers of ten."""
    print(
        json.dumps(
            {
                "mb_per_s": size / 1e6 / seconds,
                "gb": size / 1e9,
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "cpu_s": cpu_s,
                **more,
            }
        )
    )


def make_certificate(folder: Path) -> None:
    """A key and a certificate for `localhost` in a folder."""
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


def tls_send(folder: Path, told: str) -> None:
    """Serve a file to whoever connects."""
    source = Path(json.loads(told)[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    size = source.stat().st_size

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with source.open("rb") as file:  # noqa: ASYNC230 - the page cache answers at once
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


def tls_get(folder: Path, told: str) -> None:
    """Receive it to the disk."""
    port, size = json.loads(told)[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    target = folder / "tls-received"

    async def main() -> None:
        start, cpu = time.perf_counter(), time.process_time()
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
        print_result(size, seconds, time.process_time() - cpu)

    asyncio.run(main())
