"""Multiaddresses as text: checking, splitting, and what to tell others about our own."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Collection

import psutil

from openstall.market.errors import PeerError
from openstall.p2p.engine import Multiaddr
from openstall.p2p.identity import check_peer_id

MAX_LENGTH = 200
CIRCUIT = "p2p-circuit"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")


def split(address: str) -> tuple[str, str]:
    """(`/ip4/…/tcp/…`, peer id or empty) of an address such as `/ip4/…/tcp/…/p2p/12D3KooW…`.

    The way through a relay is `/ip4/…/tcp/…/p2p/<relay>/p2p-circuit`, before the peer's own id.

    Raises:
        PeerError: not an address that this version can dial.
    """
    text = address.strip()
    parts = text.split("/")
    shaped = len(text) <= MAX_LENGTH and parts[1:2] and parts[1] in _HOSTS and parts[3:4] == ["tcp"]
    way = 8 if parts[7:8] == [CIRCUIT] else 5
    if not shaped or not (len(parts) == way or (len(parts) == way + 2 and parts[way] == "p2p")):
        raise _bad_address(text)
    try:
        transport = str(Multiaddr("/".join(parts[:5])))
    except Exception as error:  # multiaddr raises many unrelated types for bad text
        raise _bad_address(text) from error
    if way == 8:
        transport = circuit(transport, check_peer_id(parts[6]) if parts[5] == "p2p" else "")
    return transport, check_peer_id(parts[-1]) if len(parts) == way + 2 else ""


def circuit(relay: str, relay_id: str) -> str:
    """The way to whoever holds a reservation on the relay at this address."""
    if not relay_id:
        raise _bad_address(relay)
    return f"{relay}/p2p/{relay_id}/{CIRCUIT}"


def is_circuit(address: str) -> bool:
    """Whether an address leads through a relay."""
    return f"/{CIRCUIT}" in address


def relay_of(address: str) -> tuple[str, str]:
    """(transport address, peer id) of the relay in a checked circuit address."""
    parts = address.split("/")
    return "/".join(parts[:5]), parts[6]


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
    _, kind, host, _, port = transport.split("/")[:5]
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


def is_public(address: str) -> bool:
    """Whether an address may lead anywhere in the internet: a name, or an IP that is nobody's own range."""
    parts = address.split("/")
    return len(parts) > 4 and (parts[1].startswith("dns") or ipaddress.ip_address(parts[2]).is_global)


def host_of(address: str) -> str:
    """The IP or name in a checked address."""
    return address.split("/")[2]


def own_hosts() -> set[str]:
    """The IP addresses of this machine."""
    return {one.address.split("%")[0] for card in psutil.net_if_addrs().values() for one in card}


def own_networks() -> frozenset[Network]:
    """The networks that this machine's interfaces are in, the loopback among them."""
    found: list[Network] = []
    for cards in psutil.net_if_addrs().values():
        for one in cards:
            if one.family in (socket.AF_INET, socket.AF_INET6) and one.netmask:
                plain = one.address.split("%")[0]
                with contextlib.suppress(ValueError):  # some systems write IPv6 masks in other ways
                    found.append(ipaddress.ip_network(f"{plain}/{_prefix(one.netmask)}", strict=False))
    return frozenset(found)


def _prefix(netmask: str) -> str:
    return str(int(ipaddress.IPv6Address(netmask)).bit_count()) if ":" in netmask else netmask


def is_near(address: str, networks: Collection[Network]) -> bool:
    """Whether an address lies in one of these networks: no router is between."""
    parts = address.split("/")
    if len(parts) < 3 or not parts[1].startswith("ip"):
        return False
    ip = ipaddress.ip_address(parts[2])
    return any(ip.version == one.version and ip in one for one in networks)


def fits(address: str, remote: str) -> bool:
    """Whether a peer that we see at `remote` may tell us this address, of itself or of another.

    A peer on this machine may name any; one in a private network addresses of private networks; a stranger,
    and one behind a relay, only addresses in the internet: the others would lead into our own network.
    """
    if not dialable(address):
        return False
    if is_public(address) and not is_loopback(address):
        return True
    if not remote or is_circuit(remote) or is_public(remote):
        return False
    return is_loopback(remote) or not is_loopback(address)


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
