"""Web requests to addresses that strangers name: HTTPS only, and never into this computer's own networks.

Names are resolved here, each address is checked, and the connection goes to the very address that
was checked: a name that answers differently the second time gains nothing. Redirects pass the same
check. Proxies from the environment are not used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urljoin

import httpcore
import trio

from openstall.market.errors import PeerError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Reachable = Callable[[IpAddress], bool]

URL = re.compile(r"^https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?/[!-\"$-~]{0,1500}\Z")
CONNECT_S = 10.0
READ_S = 30.0
REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the open internet: not to this computer, nor to any private network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


class WebError(PeerError):
    """A web server is not of use: it cannot be reached, may not be, or does not do what it should."""


class _BeforeTls(httpcore.AsyncNetworkStream):
    """A connection that is closed when the wait for its handshake is cancelled; httpcore leaves it open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._stream.aclose()
            raise


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, reachable: Reachable) -> None:
        self._reachable = reachable
        self._net = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with trio.move_on_after(CONNECT_S):
            for address in await self._addresses(host, port):
                try:
                    return _BeforeTls(
                        await self._net.connect_tcp(
                            str(address), port, timeout, local_address, socket_options
                        )
                    )
                except httpcore.ConnectError:
                    continue
        raise WebError("web_unreachable", f"The web server {host} cannot be reached.", "Try again later.")

    async def _addresses(self, host: str, port: int) -> list[IpAddress]:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise WebError("web_unreachable", f"There is no web server {host}.") from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).split("%")[0]) for one in found))
        if not all(self._reachable(one) for one in addresses):
            raise WebError(
                "web_forbidden", f"The web server {host} is not on the open internet. It was not asked."
            )
        return addresses

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class Web:
    """Connections behind the guard. `reachable` and `tls` are for tests with a server of their own."""

    redirects = REDIRECTS

    def __init__(self, *, reachable: Reachable = is_public, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=16,
            max_keepalive_connections=4,
            keepalive_expiry=20.0,
            network_backend=_Guarded(reachable),
        )

    def check(self, url: str) -> str:
        """The address itself, if it may be asked; each one that a server sends to is checked too.

        Raises:
            WebError: it may not.
        """
        return check_url(url)

    @asynccontextmanager
    async def get(self, url: str, *, part: tuple[int, int] | None = None) -> AsyncIterator[httpcore.Response]:
        """The answer to a request for a file, or for its bytes from the first to the last of `part`.

        Raises:
            WebError: no such server, or none that may be asked; too many redirects.
        """
        headers = [("Accept-Encoding", "identity"), ("User-Agent", "openstall")]
        if part is not None:
            headers.append(("Range", f"bytes={part[0]}-{part[1]}"))
        times = {"connect": CONNECT_S, "read": READ_S, "write": READ_S, "pool": READ_S}
        with web_errors():
            for _ in range(self.redirects + 1):
                self.check(url)
                async with self._pool.stream(
                    "GET", url, headers=headers, extensions={"timeout": times}
                ) as response:
                    if response.status not in _MOVED:
                        yield response
                        return
                    url = _target(url, response)
        raise WebError("web_redirects", "The web server sends from one place to the next.")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


@contextmanager
def web_errors() -> Iterator[None]:
    """Name what goes wrong with a web server, also while its answer is read.

    Raises:
        WebError: `web_broken`.
    """
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError) as error:
        raise WebError("web_broken", f"The web server failed: {type(error).__name__}.") from error


async def give_up(parts: AsyncIterator[bytes]) -> None:
    """End an answer that is not read to its end.

    The generators in httpcore end in order only by an exception from their innermost wait, so that is
    what they get.
    """
    with trio.CancelScope() as scope, contextlib.suppress(WebError), web_errors():
        scope.cancel()
        async for _ in parts:
            continue


def check_url(url: str) -> str:
    """The address itself, if it is one that may be asked.

    Raises:
        WebError: not HTTPS, or with a name and password, or with strange characters.
    """
    if not URL.match(url):
        raise WebError("bad_url", "A web address must begin with https:// and be plain ASCII.")
    return url


def header(response: httpcore.Response, name: bytes) -> str:
    """One header, empty where it is missing."""
    for key, value in response.headers:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return ""


def _target(url: str, response: httpcore.Response) -> str:
    where = header(response, b"location")
    if not where or len(where) > 2000:
        raise WebError("web_redirects", "The web server sends elsewhere, and does not say where.")
    try:
        return urljoin(url, where).split("#")[0]
    except ValueError as error:
        raise WebError("web_redirects", "The web server sends to a place that is none.") from error
