"""Multiaddresses as text: checking, splitting, and what to tell others about our own."""

from __future__ import annotations

import ipaddress
import socket

import psutil

from openstall.market.errors import PeerError
from openstall.p2p.engine import Multiaddr
from openstall.p2p.identity import check_peer_id

MAX_LENGTH = 200
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")


def split(address: str) -> tuple[str, str]:
    """(`/ip4/…/tcp/…`, peer id or empty) of an address such as `/ip4/…/tcp/…/p2p/12D3KooW…`.

    Raises:
        PeerError: not a TCP address that this version can dial.
    """
    text = address.strip()
    parts = text.split("/")
    shaped = len(text) <= MAX_LENGTH and parts[1:2] and parts[1] in _HOSTS and parts[3:4] == ["tcp"]
    if not shaped or not (len(parts) == 5 or (len(parts) == 7 and parts[5] == "p2p")):
        raise _bad_address(text)
    try:
        transport = str(Multiaddr("/".join(parts[:5])))
    except Exception as error:  # multiaddr raises many unrelated types for bad text
        raise _bad_address(text) from error
    return transport, check_peer_id(parts[6]) if len(parts) == 7 else ""


def _bad_address(text: str) -> PeerError:
    return PeerError(
        "bad_address",
        f"“{text[:MAX_LENGTH]}” is not an address of a peer.",
        "It should look like /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…",
    )


def dialable(address: str) -> bool:
    """Whether a claimed address is worth keeping: a TCP address with a port, not a wildcard."""
    try:
        transport, _ = split(address)
    except PeerError:
        return False
    _, kind, host, _, port = transport.split("/")
    if port == "0":
        return False
    if not kind.startswith("ip"):
        return True
    ip = ipaddress.ip_address(host)
    return not (ip.is_unspecified or ip.is_multicast or ip.is_link_local)


def is_loopback(address: str) -> bool:
    """Whether an address reaches only the same machine."""
    parts = address.split("/")
    return len(parts) > 2 and parts[1].startswith("ip") and ipaddress.ip_address(parts[2]).is_loopback


def port_of(address: str) -> int:
    """The TCP port of a checked address."""
    return int(address.split("/")[4])


def expand(bound: list[str]) -> list[str]:
    """Replace wildcard addresses (`0.0.0.0`, `::`) by those of this machine's interfaces."""
    found: list[str] = []
    for address in bound:
        _, kind, host, _, port = address.split("/")[:5]
        if not ipaddress.ip_address(host).is_unspecified:
            found.append(address)
            continue
        family = socket.AF_INET if kind == "ip4" else socket.AF_INET6
        own = [one.address for card in psutil.net_if_addrs().values() for one in card if one.family == family]
        found += [f"/{kind}/{one}/tcp/{port}" for one in own if "%" not in one]
    usable = [one for one in dict.fromkeys(found) if dialable(one)]
    return sorted(usable, key=is_loopback)


def can_bind(address: str) -> bool:
    """Whether nobody on this machine listens there yet (port 0 is always free). Blocking, but short."""
    _, kind, host, _, port = address.split("/")[:5]
    family = socket.AF_INET6 if kind == "ip6" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True
