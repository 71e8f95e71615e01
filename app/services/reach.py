"""Whether others can reach this node, and what it does for those that nobody reaches: settings and words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.threads import Workers
from openstall.market.errors import Refused
from openstall.p2p import addresses
from openstall.p2p.host import PeerHost, PeerInfo
from openstall.p2p.reachability import Reach, Reachability, Serve
from openstall.p2p.upnp import Router
from openstall.store.settings import Settings

_RELAY = "network.relay"
_UPNP = "network.upnp"

log = get_logger("openstall.reach")


class ReachService:
    """Runs beside each host; a change of a setting takes effect at once."""

    def __init__(self, *, settings: Settings, workers: Workers, bus: EventBus) -> None:
        self._settings = settings
        self._workers = workers
        self._bus = bus
        self._host: PeerHost | None = None
        self._running: Reachability | None = None

    async def run(self, host: PeerHost) -> None:
        """Until the host ends or the caller cancels."""
        self._host = host
        router = Router() if await self.upnp() else None
        self._running = Reachability(
            host=host, serve=await self.relay(), router=router, on_change=self._changed
        )
        try:
            await self._running.run()
        finally:
            self._host, self._running = None, None

    def _changed(self, reach: Reach) -> None:
        log.info("reachability", state=reach.state, proven=list(reach.proven), relays=len(reach.relays))
        self._bus.publish("status", {"part": "reach", "state": reach.state, "sentence": reach.sentence})

    # Settings

    async def relay(self) -> Serve:
        """Whether this node relays for others: `on`, `off`, or `auto` (when it is reached directly)."""
        kept: Serve = await self._workers.store(self._settings.get, _RELAY, "auto")
        return kept

    async def set_relay(self, mode: str) -> None:
        """Choose one of the three.

        Raises:
            Refused: it is none of them.
        """
        if mode not in get_args(Serve):
            raise Refused("bad_mode", f"“{mode}” is not a way to relay.", "Choose auto, on or off.")
        await self._workers.store(self._settings.set, _RELAY, mode)
        if self._running is not None:
            self._running.serve(await self.relay())

    async def upnp(self) -> bool:
        """Whether the router may be asked to open a port."""
        kept: bool = await self._workers.store(self._settings.get, _UPNP, True)  # noqa: FBT003
        return kept

    async def set_upnp(self, *, on: bool) -> None:
        """Allow or forbid it; what is open is given back."""
        await self._workers.store(self._settings.set, _UPNP, on)
        if self._running is not None:
            await self._running.use_router(Router() if on else None)

    # Showing

    async def show(self) -> dict[str, Any]:
        """Everything about how this node is reached."""
        now = self._running.now if self._running is not None else Reach(state="cut_off")
        use = self._host.paths.relay.use() if self._host is not None else None
        limits = self._host.paths.relay.limits if self._host is not None else None
        return {
            "state": now.state,
            "sentence": now.sentence,
            "what_next": now.what_next,
            "proven": list(now.proven),
            "seen": [{"host": addresses.host_of(host), "peers": count} for host, count in now.seen],
            "ports_vary": now.ports_vary,
            "asked_at": now.asked_at or None,
            "relays": [self._relay(one) for one in now.relays],
            "settings": {"relay": await self.relay(), "upnp": await self.upnp()},
            "relay": None if use is None or limits is None else {**asdict(use), "limits": asdict(limits)},
            "peers": [path_dict(one) for one in self._host.peers()] if self._host is not None else [],
        }

    def _relay(self, peer_id: str) -> dict[str, Any]:
        known = self._host.peer(peer_id) if self._host is not None else None
        held = self._host.paths.client.reservations.get(peer_id) if self._host is not None else None
        return {
            "peer_id": peer_id,
            "name": known.name if known else "",
            "addr": known.addr if known else "",
            "expires": held.expires if held else None,
        }


def path_dict(peer: PeerInfo) -> dict[str, Any]:
    """The way to one peer, and what went over it."""
    return {
        "peer_id": peer.peer_id,
        "name": peer.name,
        "addr": peer.addr,
        "path": peer.path,
        "relays": peer.relays,
        "received": peer.received,
        "sent": peer.sent,
    }
