"""An HTTPS server on loopback with a certificate of its own, honest or not, for tests of web mirrors."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from openstall.p2p.web_guard import Web

Manner = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request; `server` holds the files and the manner in which they are served."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.manner(self)

    @property
    def content(self) -> bytes:
        return self.server.files[self.path]

    @property
    def part(self) -> tuple[int, int]:
        found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found[1]), int(found[2])) if found else (0, len(self.content) - 1)

    def head(self, status: int, size: int | None, **more: str) -> None:
        self.send_response(status)
        if size is not None:
            self.send_header("Content-Length", str(size))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def honest(asked: Asked) -> None:
    """As a web server that knows Range."""
    if asked.path not in asked.server.files:
        asked.head(404, 0)
        return
    if "Range" not in asked.headers:
        asked.head(200, len(asked.content))
        asked.wfile.write(asked.content)
        return
    first, last = asked.part
    data = asked.content[first : last + 1]
    asked.head(206, len(data), Content_Range=f"bytes {first}-{last}/{len(asked.content)}")
    asked.wfile.write(data)


class WebServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, certificate: Path, manner: Manner) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.manner = manner
        self.stopping = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is the first read of its request's thread: one that is broken off holds up nobody.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def base(self) -> str:
        return f"https://localhost:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients of these tests hang up when they have seen enough."""


@contextmanager
def web_server(certificate: Path, manner: Manner = honest) -> Iterator[WebServer]:
    """A server for the time of a block."""
    server = WebServer(certificate, manner)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(folder: Path) -> Path:
    """A key and a certificate for `localhost`, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "web.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def trusting(certificate: Path) -> Web:
    """A client that trusts this certificate, and may ask servers on loopback."""
    context = ssl.create_default_context(cafile=str(certificate))
    return Web(tls=context, reachable=lambda address: address == ipaddress.ip_address("127.0.0.1"))
