"""Peers on the same LAN, by multicast DNS: found without any set-up."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from zeroconf import (
    InterfaceChoice,
    IPVersion,
    ServiceBrowser,
    ServiceInfo,
    ServiceListener,
    Zeroconf,
)

from openstall.market.errors import PeerError
from openstall.p2p import addresses
from openstall.p2p.identity import check_peer_id

SERVICE = "_openstall._tcp.local."
_ANSWER_MS = 3000
_MAX_ADDRS = 4

Found = Callable[[str, list[str]], None]

log = logging.getLogger("openstall.p2p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """What we tell the LAN: who we are, for which network, at which addresses (without the peer id)."""

    peer_id: str
    network: str
    addrs: Sequence[str]


def network_tag(network: str) -> str:
    """A network's name on the LAN; the name itself is not told to those outside the group."""
    return hashlib.sha256(b"openstall-lan\0" + network.encode()).hexdigest()[:16]


class _Listener(ServiceListener):
    """Called in zeroconf's own thread."""

    def __init__(self, own: Beacon, found: Found) -> None:
        self._own = own
        self._found = found

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = zc.get_service_info(type_, name, _ANSWER_MS)
        if info is None or len(name) > 120:
            return
        seen = _read(info, self._own)
        if seen is not None:
            self._found(*seen)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A peer that leaves is noticed by its connection."""


def _read(info: ServiceInfo, own: Beacon) -> tuple[str, list[str]] | None:
    """Peer id and addresses of a member of our network; None for anything else."""
    texts = info.properties
    peer_id = (texts.get(b"id") or b"")[:64].decode("ascii", "replace")
    if texts.get(b"net") != network_tag(own.network).encode() or peer_id == own.peer_id or not info.port:
        return None
    try:
        check_peer_id(peer_id)
    except PeerError:
        return None
    hosts = info.parsed_addresses(IPVersion.V4Only)[:_MAX_ADDRS]
    found = [f"/ip4/{host}/tcp/{info.port}" for host in hosts]
    return peer_id, [one for one in found if addresses.dialable(one)]


@asynccontextmanager
async def on_the_lan(
    beacon: Beacon, found: Callable[[str, list[str]], None], *, interfaces: Sequence[str] = ()
) -> AsyncIterator[None]:
    """Announce ourselves and report other members, for the time of a block.

    `interfaces` are IPv4 addresses of this machine's cards; empty means all. `found(peer id,
    addresses)` is called on the event loop. A machine where multicast is not possible logs that and
    goes on without.
    """
    token = trio.lowlevel.current_trio_token()

    def report(peer_id: str, addrs: list[str]) -> None:
        token.run_sync_soon(found, peer_id, addrs)

    def start() -> Zeroconf | None:
        chosen = list(interfaces) or InterfaceChoice.All
        try:
            zc = Zeroconf(interfaces=chosen, ip_version=IPVersion.V4Only)
        except OSError as error:
            log.warning("peers on the local network cannot be found: %s", error.strerror)
            return None
        info = _service(beacon)
        if info is not None:
            zc.register_service(info, cooperating_responders=True)
        ServiceBrowser(zc, SERVICE, _Listener(beacon, report))
        return zc

    running = await trio.to_thread.run_sync(start)
    try:
        yield
    finally:
        if running is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5.0):
                await trio.to_thread.run_sync(running.close)


def _service(beacon: Beacon) -> ServiceInfo | None:
    direct = [one for one in beacon.addrs if one.startswith("/ip4/") and not addresses.is_circuit(one)]
    usable = [one for one in direct if addresses.dialable(one)]
    if not usable:
        return None
    port = addresses.port_of(usable[0])
    hosts = [one.split("/")[2] for one in usable if addresses.port_of(one) == port]
    name = f"openstall-{secrets.token_hex(6)}"
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        addresses=[ipaddress.IPv4Address(one).packed for one in hosts],
        port=port,
        properties={"id": beacon.peer_id, "net": network_tag(beacon.network), "v": "1"},
        server=f"{name}.local.",
    )
