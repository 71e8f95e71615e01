"""Whether others can reach this peer, in words, and what is done so that they can.

Asks peers outside our own networks to dial us back; where nobody can, tries the router (UPnP, if allowed),
and takes places on two relays. A peer that is reached directly relays for others, unless it is told not to.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses
from openstall.p2p.dial_back import MAX_ADDRS, DialBack
from openstall.p2p.host import PeerHost
from openstall.p2p.sessions import PeerInfo
from openstall.p2p.upnp import Router

RELAYS = 2
WITNESSES = 3
ROUND_S = 15.0
LOOK_S = 3.0
AGAIN_S = 600.0
SURE_S = 1800.0
SOON_S = 20.0
RENEW_PART = 0.5
_REFUSED_S = 300.0

log = logging.getLogger("openstall.p2p")

State = Literal["checking", "direct", "upnp", "relayed", "outgoing", "local", "cut_off"]
Serve = Literal["auto", "on", "off"]

WORDS: dict[State, tuple[str, str]] = {
    "checking": (
        "It is being found out whether others can reach this node.",
        "Wait a minute.",
    ),
    "direct": ("Others reach this node directly.", ""),
    "upnp": (
        "Others reach this node directly, through a port that your router opened for it.",
        "",
    ),
    "relayed": (
        "Your router lets nobody in. Others reach this node through relays.",
        "It works as it is; large files are slow. For more speed, forward its TCP port in your router.",
    ),
    "outgoing": (
        "This node reaches others, but nobody outside can reach it, and no relay has been found.",
        "Forward the node's TCP port in your router, or connect to a node that relays.",
    ),
    "local": (
        "This node is connected on the local network only.",
        "To trade with people elsewhere, connect to the address of one of them.",
    ),
    "cut_off": (
        "This node is connected to nobody.",
        "Check this computer's internet connection, then connect to the address of a member of the group.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The answer. Times are Unix seconds, 0 for never; `seen` counts the peers that see us at an address."""

    state: State
    proven: tuple[str, ...] = ()
    seen: tuple[tuple[str, int], ...] = ()
    relays: tuple[str, ...] = ()
    asked_at: int = 0
    ports_vary: bool = False
    serving: bool = False

    @property
    def sentence(self) -> str:
        """The state in words."""
        return WORDS[self.state][0]

    @property
    def what_next(self) -> str:
        """What a person can do about it; may be empty."""
        return WORDS[self.state][1]


@dataclass(slots=True, kw_only=True)
class _Check:
    """What the last round of dialling back gave."""

    due: float = 0.0
    asked_at: int = 0
    witnesses: frozenset[str] = frozenset()
    candidates: frozenset[str] = frozenset()
    reached: tuple[str, ...] = ()


@dataclass(slots=True)
class _Memory:
    refused_until: dict[str, float] = field(default_factory=dict)


class Reachability:
    """Runs beside a host and keeps `now` true."""

    def __init__(
        self,
        *,
        host: PeerHost,
        serve: Serve = "auto",
        router: Router | None = None,
        on_change: Callable[[Reach], None] | None = None,
    ) -> None:
        """`router` is None where the router may not be asked."""
        self.now = Reach(state="checking")
        self._host = host
        self._paths = host.paths
        self._serve: Serve = serve
        self._router = router
        self._on_change = on_change
        self._dial_back = DialBack(host)
        self._check = _Check()
        self._memory = _Memory()
        self._interfaces = addresses.own_networks()
        self._wake = trio.Event()
        self._told: tuple[object, ...] = ()

    def serve(self, mode: Serve) -> None:
        """Relay for others: always, never, or when this peer is reached directly."""
        self._serve = mode
        self._paths.relay.serving = self._serves()
        self._wake.set()

    async def use_router(self, router: Router | None) -> None:
        """Ask this router from now on, or none; what the last one opened is given back."""
        last, self._router = self._router, router
        if last is not None:
            await last.close()
        self._check = _Check()
        self._wake.set()

    async def run(self) -> None:
        """Look and act until cancelled; the host must be running."""
        async with self._host.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            nursery.start_soon(self._watch_moves)
            async for _ in events:
                self._wake.set()
            nursery.cancel_scope.cancel()

    async def _keep(self) -> None:
        try:
            while True:
                self._wake = trio.Event()
                await self._round()
                with trio.move_on_after(ROUND_S):
                    await self._wake.wait()
                await trio.sleep(0.2)  # several events come together
        finally:
            if self._router is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5.0):
                    await self._router.close()

    async def _round(self) -> None:
        outside = self._outside()
        if outside and self._check_is_due(outside):
            await self._ask_back(outside)
            if not self._check.reached and self._router is not None and await self._router.open(self._port()):
                await self._ask_back(outside)
        elif self._router is not None:
            await self._router.renew()
        self._paths.proven = list(self._check.reached)
        if self._check.reached or not outside:
            self._paths.client.reservations.clear()
        else:
            await self._keep_relays(outside)
        self._paths.relay.serving = self._serves()
        await self._publish(outside)

    def _serves(self) -> bool:
        return self._serve == "on" or (self._serve == "auto" and bool(self._check.reached))

    # Where we are

    async def _watch_moves(self) -> None:
        """A computer that changed its network: what runs over addresses that are gone can only time out."""
        while True:
            await trio.sleep(LOOK_S)
            networks = await trio.to_thread.run_sync(addresses.own_networks)
            if networks != self._interfaces:
                log.info("the addresses of this computer have changed")
                self._interfaces = networks
                self._check = _Check()
                if self._router is not None:
                    self._router.forget()
                await self._paths.drop_stale()
                self._wake.set()

    def _outside(self) -> list[PeerInfo]:
        """Directly connected peers that are not in our own networks."""
        return [
            one
            for one in self._host.peers()
            if one.path == "direct"
            and one.addr
            and not addresses.is_near(one.addr, self._interfaces)
            and one.network == self._host.network
        ]

    def _port(self) -> int:
        bound = self._host.bound()
        return addresses.port_of(bound[0]) if bound else 0

    def _seen(self) -> Counter[str]:
        """The hosts under which peers outside see us, and how many say so."""
        found: Counter[str] = Counter()
        for ours, theirs in self._host.seen_as().values():
            if addresses.dialable(ours) and not addresses.is_near(theirs, self._interfaces):
                found["/".join(ours.split("/")[:3])] += 1
        return found

    def _candidates(self) -> list[str]:
        port = self._port()
        hosts = [one for one, _ in self._seen().most_common(2)]
        guesses = [f"{one}/tcp/{port}" for one in hosts]
        mapped = [one.seen_as for one in self._paths.client.reservations.values() if one.seen_as]
        opened = [self._router.address] if self._router is not None and self._router.address else []
        bound = [one for one in self._host.bound() if addresses.is_public(one)]
        self._paths.supposed = list(dict.fromkeys([*opened, *guesses]))
        found = [*opened, *guesses, *mapped, *bound]
        return [one for one in dict.fromkeys(found) if addresses.dialable(one)][:MAX_ADDRS]

    # Asking back

    def _check_is_due(self, outside: list[PeerInfo]) -> bool:
        now, check = trio.current_time(), self._check
        if now >= check.due:
            return True
        new = {one.peer_id for one in outside} - check.witnesses
        thin = len(check.witnesses) < WITNESSES and bool(new)
        moved = not set(self._candidates()) <= check.candidates
        return (thin or moved) and now >= check.due - AGAIN_S + SOON_S and not check.reached

    async def _ask_back(self, outside: list[PeerInfo]) -> None:
        candidates = self._candidates()
        relays = set(self._paths.client.reservations)
        # A router may let in whoever we called from our port, so our relays are the last to be asked.
        witnesses = sorted(outside, key=lambda one: one.peer_id in relays)[:WITNESSES]
        votes: Counter[str] = Counter()
        answered: set[str] = set()

        async def ask(peer: PeerInfo) -> None:
            try:
                said = await self._dial_back.ask(peer.peer_id, candidates)
            except PeerError as error:
                log.debug("%s does not dial back: %s", peer.peer_id, error.code)
                return
            answered.add(peer.peer_id)
            votes.update(set(said.reached) & set(candidates))

        if candidates:
            async with trio.open_nursery() as nursery:
                for one in witnesses:
                    nursery.start_soon(ask, one)
        needed = (len(answered) + 1) // 2
        reached = tuple(one for one in candidates if votes[one] >= max(1, needed))
        self._check = _Check(
            due=trio.current_time() + (SURE_S if reached else AGAIN_S),
            asked_at=int(time.time()) if answered else self._check.asked_at,
            witnesses=frozenset(one.peer_id for one in witnesses),
            candidates=frozenset(candidates),
            reached=reached,
        )

    # Relays

    async def _keep_relays(self, outside: list[PeerInfo]) -> None:
        held = self._paths.client.reservations
        now = time.time()
        for relay_id, one in list(held.items()):
            if one.expires <= now:
                del held[relay_id]
        half = [name for name, one in held.items() if one.expires - now < self._renew_before()]
        fresh = [one.peer_id for one in outside if one.relays and one.peer_id not in held]
        for relay_id in [*half, *fresh]:
            if relay_id not in held and len(held) >= RELAYS:
                break
            if trio.current_time() < self._memory.refused_until.get(relay_id, 0.0):
                continue
            try:
                await self._paths.client.reserve(relay_id)
            except PeerError as error:
                log.info("%s does not relay for this node: %s", relay_id, error.code)
                self._memory.refused_until[relay_id] = trio.current_time() + _REFUSED_S

    def _renew_before(self) -> float:
        return RENEW_PART * 3600

    def _ports_vary(self) -> bool:
        mapped = [one.seen_as for one in self._paths.client.reservations.values() if one.seen_as]
        return len({addresses.port_of(one) for one in mapped}) > 1

    # Telling

    def _state(self, outside: list[PeerInfo]) -> State:
        if not self._host.peers():
            return "cut_off"
        if self._check.reached:
            opened = self._router.address if self._router is not None else ""
            return "upnp" if set(self._check.reached) == {opened} else "direct"
        if self._paths.client.ways():
            return "relayed"
        if not outside:
            far = any(one.path != "direct" for one in self._host.peers())
            return "outgoing" if far else "local"
        return "outgoing" if self._check.asked_at else "checking"

    async def _publish(self, outside: list[PeerInfo]) -> None:
        before = self.now
        self.now = Reach(
            state=self._state(outside),
            proven=self._check.reached,
            seen=tuple(self._seen().most_common(4)),
            relays=tuple(self._paths.client.reservations),
            asked_at=self._check.asked_at,
            ports_vary=self._ports_vary(),
            serving=self._paths.relay.serving,
        )
        told = (self._paths.extra_addrs(), self.now.serving)
        if told != self._told:
            self._told = told
            await self._host.introduce()
        if self.now != before:
            log.info("reachability: %s", self.now.state)
            if self._on_change is not None:
                self._on_change(self.now)
