"""Finding the addresses of a peer by its id: Kademlia's FIND_NODE, under a protocol id of our own.

The messages are those of libp2p's DHT, so that its other implementations can answer and ask when they are set
to this id. Nothing is stored for others: who is asked names the peers nearest to the id whose addresses it
has reached itself. Used where a group is larger than what one peer is connected to.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextvars import ContextVar

import trio
from google.protobuf.message import DecodeError

from openstall.market.errors import PeerError
from openstall.p2p import addresses, engine
from openstall.p2p.circuits import BROKEN, Garbled, receive, send
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate, RateBudget
from openstall.p2p.vouching import Vouching

from libp2p.kad_dht.pb import kademlia_pb2 as wire  # isort: skip - after libp2p's workarounds

PROTOCOL = "/openstall/kad/1.0.0"
NEAR = 8
AT_ONCE = 3
ASK_S = 5.0
DIAL_S = 5.0
FIND_S = 15.0
MAX_ASKED = 16
MAX_MESSAGE = 16 * 1024
LARGE_GROUP = 8
RATE = Rate(per_s=2, burst=40)
FindNode = wire.Message.FIND_NODE

_inside: ContextVar[bool] = ContextVar("inside_a_search", default=False)

log = logging.getLogger("openstall.p2p")


def distance(one: str, other: str) -> int:
    """How far two peer ids are from each other."""
    return _point(one) ^ _point(other)


def _point(peer_id: str) -> int:
    return int.from_bytes(hashlib.sha256(engine.peer_id_bytes(peer_id)).digest(), "big")


class Kademlia:
    """Answers and asks on one host."""

    def __init__(self, host: PeerHost, vouching: Vouching) -> None:
        self._host = host
        self._vouching = vouching
        self._asked = RateBudget(RATE)
        self._pace = Pace(RATE)
        self._searches = trio.CapacityLimiter(2)
        engine.handle(host.engine_host, PROTOCOL, self._on_asked)

    # Answering

    async def _on_asked(self, stream: engine.NetStream) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        try:
            if not self._asked.take(peer_id):
                self._host.penalise(peer_id, 1.0, "too_many_requests")
                return
            asked = await receive(stream, wire.Message, timeout_s=ASK_S)
            if asked.type != FindNode:
                return
            target = engine.peer_id_of_bytes(asked.key)
            with trio.move_on_after(ASK_S):
                await send(stream, self._nearest(target, peer_id))
                await stream.close()
        except (*BROKEN, Garbled, ValueError) as error:
            log.debug("a question about addresses came to nothing: %s", type(error).__name__)
            # Whoever looks no longer breaks off, or never comes to ask: only nonsense is blamed.
            if isinstance(error.__cause__ or error, DecodeError | ValueError):
                self._host.penalise(peer_id, 2.0, "bad_find_node")
        finally:
            await engine.drop(stream)

    def _nearest(self, target: str, asker: str) -> wire.Message:
        known = [one for one in self._vouching.peers() if one != asker]
        nearest = sorted(known, key=lambda one: distance(one, target))[:NEAR]
        answer = wire.Message(type=FindNode, key=engine.peer_id_bytes(target))
        for one in nearest:
            addrs = [engine.Multiaddr(addr).to_bytes() for addr in self._vouching.addrs(one)]
            answer.closerPeers.add(id=engine.peer_id_bytes(one), addrs=addrs)
        return answer

    # Asking

    def _group(self) -> list[str]:
        return [one.peer_id for one in self._host.peers() if one.network == self._host.network]

    @property
    def useful(self) -> bool:
        """Whether the group is larger than what everybody is connected to anyway."""
        return len(self._group()) >= LARGE_GROUP

    async def find(self, target: str) -> Sequence[str]:
        """Addresses of a peer, as others have reached it; empty when nobody knows."""
        if _inside.get() or target == self._host.peer_id:
            return ()
        token = _inside.set(True)
        try:
            async with self._searches:
                search = _Search(self, target)
                with trio.move_on_after(FIND_S):
                    await search.run(self._group())
                return search.found
        finally:
            _inside.reset(token)

    async def meet_neighbours(self) -> None:
        """Connect to the peers nearest to us, so that who looks for us asks somebody who knows us."""
        if not self.useful:
            return
        token = _inside.set(True)
        try:
            with trio.move_on_after(FIND_S):
                await _Search(self, self._host.peer_id).run(self._group())  # who is asked is connected
        finally:
            _inside.reset(token)

    async def ask(self, peer_id: str, target: str) -> list[tuple[str, list[str]]]:
        """Whom this peer names.

        Raises:
            PeerError: it is not reachable, or its answer makes no sense.
        """
        await self._host.connect(peer_id, timeout_s=DIAL_S)
        await self._pace.turn(peer_id)  # strangers who come and go make us look for them: others must not pay
        with trio.move_on_after(ASK_S):
            stream: engine.NetStream | None = None
            try:
                stream = await engine.negotiate_stream(self._host.engine_host, peer_id, PROTOCOL)
                await send(stream, wire.Message(type=FindNode, key=engine.peer_id_bytes(target)))
                said = await receive(stream, wire.Message, timeout_s=ASK_S, limit=MAX_MESSAGE)
            except (*BROKEN, Garbled, engine.MultiselectClientError) as error:
                raise PeerError("bad_answer", "The other peer does not say whom it knows.") from error
            finally:
                if stream is not None:
                    await engine.drop(stream)
            return _named(said)
        raise PeerError("peer_silent", "The other peer does not answer.")


class _Search:
    """One walk towards an id."""

    def __init__(self, kademlia: Kademlia, target: str) -> None:
        self.found: list[str] = []
        self.seen: dict[str, None] = {}
        self._kademlia = kademlia
        self._target = target
        self._asked: set[str] = set()

    async def run(self, start: list[str]) -> None:
        self.seen.update(dict.fromkeys(start))
        while not self.found and len(self._asked) < MAX_ASKED:
            nearest = sorted(self.seen, key=lambda one: distance(one, self._target))[:NEAR]
            due = [one for one in nearest if one not in self._asked][:AT_ONCE]
            if not due:
                return
            async with trio.open_nursery() as nursery:
                for one in due:
                    self._asked.add(one)
                    nursery.start_soon(self._ask, one)

    async def _ask(self, peer_id: str) -> None:
        host = self._kademlia._host  # noqa: SLF001 - a part of it
        try:
            named = await self._kademlia.ask(peer_id, self._target)
        except PeerError as error:
            log.debug("%s does not help: %s", peer_id, error.code)
            self.seen.pop(peer_id, None)
            return
        remote = host.paths.remote_address(peer_id)
        for one, claimed in named:
            usable = [addr for addr in claimed if addresses.fits(addr, remote)]
            if one == self._target:
                self.found += [addr for addr in usable if addr not in self.found]
            elif usable and one != host.peer_id:
                host.book.learn(one, usable)
                self.seen[one] = None


def _named(said: wire.Message) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for one in list(said.closerPeers)[:NEAR]:
        addrs: list[str] = []
        for raw in list(one.addrs)[:NEAR]:
            try:
                text, _ = addresses.split(str(engine.Multiaddr(raw)))
            except Exception as error:  # noqa: BLE001 - multiaddr raises many unrelated types for bad bytes
                log.debug("an address that makes no sense: %r", error)
                continue
            addrs.append(text)
        try:
            found.append((engine.peer_id_of_bytes(one.id), addrs))
        except ValueError:
            continue
    return found
