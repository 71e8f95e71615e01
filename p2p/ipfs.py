"""An IPFS gateway as one more source of a blob: one that the owner named, and trusted with nothing.

A gateway gives parts of a file at `/ipfs/` and the address that the file's record names. Each chunk is
checked by our own manifest, so a gateway, or a record with a wrong address, can only be of no use.
"""

from __future__ import annotations

import re

from openstall.market.errors import Refused
from openstall.p2p.mirrors import Mirror
from openstall.p2p.web_guard import Web, WebError, check_url

_LOOPBACK = re.compile(r"^http://(?:127\.0\.0\.1|localhost):([0-9]{1,5})/?\Z")
_HTTPS = re.compile(r"^https://[A-Za-z0-9.-]{1,253}(?::([0-9]{1,5}))?/?\Z")
_ADDRESS = re.compile(r"^baf[a-z2-7]{56}\Z")


def own_address(text: str) -> str:
    """A server of the owner's on this machine, as `http://127.0.0.1:PORT`; empty if it is none."""
    found = _LOOPBACK.match(text)
    return f"http://127.0.0.1:{int(found[1])}" if found and 0 < int(found[1]) < 65_536 else ""


def gateway_address(text: str) -> str:
    """The address of a gateway that the owner typed; never one that a peer named.

    Raises:
        Refused: it is neither on this machine nor an HTTPS server.
    """
    text = text.strip()
    found = _HTTPS.match(text)
    if found and (found[1] is None or 0 < int(found[1]) < 65_536):
        return text.rstrip("/")
    if own := own_address(text):
        return own
    raise Refused(
        "bad_gateway",
        "That is not the address of an IPFS gateway.",
        "On this machine: http://127.0.0.1:8080. Elsewhere: https:// and its name, with no path behind it.",
    )


def web_for(gateway: str) -> Web:
    """A gateway elsewhere is behind the guard of all web servers; the owner's own is asked there only."""
    return OwnWeb(gateway) if gateway.startswith("http://") else Web()


class OwnWeb(Web):
    """One server on this machine, at the very address that the owner typed; it cannot send elsewhere."""

    redirects = 0

    def __init__(self, base: str) -> None:
        super().__init__(reachable=lambda address: str(address) == "127.0.0.1")
        self._base = base

    def check(self, url: str) -> str:
        """See `Web`."""
        check_url(url.replace("http://", "https://", 1))
        if not url.startswith(f"{self._base}/"):
            raise WebError("web_forbidden", f"Only {self._base} is asked here.")
        return url


class Gateway(Mirror):
    """A gateway, for one file."""

    def __init__(self, gateway: str, address: str, *, web: Web, quiet_s: float = 30.0) -> None:
        if not _ADDRESS.match(address):
            raise WebError("bad_url", "That is not the address of a file in IPFS.")
        super().__init__(f"{gateway}/ipfs/{address}", web=web, quiet_s=quiet_s)
        self.name = f"IPFS gateway {self.name}"

    async def manifest(self, cid: str, *, most: int) -> bytes:  # noqa: ARG002 - there is none
        """It has none: what checks the file comes from a peer, or from a mirror of the seller's.

        Raises:
            WebError: always.
        """
        raise WebError("web_missing", f"{self.name} has no description of the file.")
