"""The owner's node: pairs rigs by a code, listens to those that are paired, and to no one else.

Who is paired is kept in the settings, by peer id; a code lives in memory for ten minutes and pairs one rig.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.paths import Home
from openstall.app.services.identity import IdentityService
from openstall.app.services.network import NetworkService
from openstall.app.services.rigs.code import PairingCode, new_code, proof_of, write_code
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.link import RigLink
from openstall.app.services.rigs.wire import (
    HELLO_BYTES,
    MAX_FRAME,
    PROTOCOL,
    FromNode,
    Hello,
    read_from_rig,
    refusal_of,
    write,
)
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound, OpenstallError, PeerError, Refused
from openstall.market.text import clean
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost, Rate
from openstall.store.settings import Settings

MAX_RIGS = 32
FIRST_FRAME_S = 15.0
RATE = Rate(per_s=0.5, burst=8)
_SETTING = "rigs"

log = get_logger("openstall.rigs")


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """A rig that this node listens to; times are Unix seconds, `seen_at` 0 before the first connection."""

    peer_id: str
    name: Annotated[str, Meta(max_length=60)]
    paired_at: int
    seen_at: int = 0


class RigHub:
    """Serves `/openstall/rig/1`. Call from the trio thread."""

    def __init__(
        self,
        *,
        home: Home,
        settings: Settings,
        workers: Workers,
        bus: EventBus,
        clock: Clock,
        identity: IdentityService,
        network: NetworkService,
    ) -> None:
        self._home = home
        self._settings = settings
        self._workers = workers
        self._bus = bus
        self._clock = clock
        self._identity = identity
        self._network = network
        self._paired: dict[str, Paired] = {}
        self._links: dict[str, RigLink] = {}
        self._code: PairingCode | None = None
        self._files: RigFiles | None = None
        self._listeners: list[Callable[[], None]] = []
        self._keeping = trio.Lock()
        network.offer(self._serve)

    async def load(self) -> None:
        """Read who is paired; once, before the network starts."""
        kept = await self._workers.store(self._settings.get, _SETTING, [])
        self._paired = {one.peer_id: one for one in msgspec.convert(kept, list[Paired])}
        self._files = await self._workers.store(RigFiles.fresh, self._home.root / "rig-files")

    @property
    def paired(self) -> list[Paired]:
        """Every paired rig, in the order of pairing."""
        return list(self._paired.values())

    @property
    def links(self) -> list[RigLink]:
        """The rigs that are connected and have told how they are."""
        return [link for link in self._links.values() if link.state is not None]

    def name(self, peer_id: str) -> str:
        """What a rig calls itself; its peer id where it is paired no more."""
        rig = self._paired.get(peer_id)
        return rig.name if rig is not None else peer_id

    def link(self, peer_id: str) -> RigLink | None:
        """One connected rig, or None."""
        return self._links.get(peer_id)

    async def watch(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a rig comes, goes, or has more or less room, until cancelled."""
        self._listeners.append(listener)
        try:
            await trio.sleep_forever()
        finally:
            self._listeners.remove(listener)

    def pair(self) -> dict[str, Any]:
        """A new code, which takes the place of the one before.

        Raises:
            Conflict: there are as many rigs as this version looks after.
            PeerError: this node is not connected to the network.
        """
        if len(self._paired) >= MAX_RIGS:
            raise Conflict("too_many_rigs", f"{MAX_RIGS} machines are paired already.", "Unpair one first.")
        addrs = self._network.host.addrs
        if not addrs:
            raise PeerError("offline", "This node listens nowhere, so no machine can reach it.")
        self._code = new_code(node=self._identity.peer_id, addrs=addrs, now=self._clock.now())
        return {"code": write_code(self._code), "expires_at": self._code.expires}

    async def unpair(self, peer_id: str) -> None:
        """Listen to a rig no more; its jobs are lost.

        Raises:
            NotFound: no such rig is paired.
        """
        self._known(peer_id)
        await self._keep({one: rig for one, rig in self._paired.items() if one != peer_id})
        link = self._links.get(peer_id)
        if link is not None:
            await link.unpair()
        self._changed()

    async def pause(self, peer_id: str) -> None:
        """Have a rig's jobs stand still.

        Raises:
            NotFound: no such rig is paired.
            PeerError: it is not connected.
            SandboxError: it refused.
        """
        await self._connected(peer_id).pause()

    async def resume(self, peer_id: str) -> None:
        """Take that back; raises as `pause`."""
        await self._connected(peer_id).resume()

    def find(self, words: str) -> str:
        """The peer id of the rig of that name, or whose peer id begins or ends so.

        Raises:
            NotFound: there is none, or more than one.
        """
        wanted = words.strip()
        found = [
            one.peer_id
            for one in self._paired.values()
            if wanted
            and (one.name == wanted or one.peer_id.startswith(wanted) or one.peer_id.endswith(wanted))
        ]
        if len(found) != 1:
            which = "No machine is" if not found else "More than one machine is"
            raise NotFound(
                "no_such_rig",
                f"{which} called “{clean(wanted)[:60]}”.",
                "See `openstall compute machines`; its peer id is always clear.",
            )
        return found[0]

    def _known(self, peer_id: str) -> Paired:
        rig = self._paired.get(peer_id)
        if rig is None:
            raise NotFound("no_such_rig", "That machine is not paired with this node.")
        return rig

    def _connected(self, peer_id: str) -> RigLink:
        name = self._known(peer_id).name
        link = self._links.get(peer_id)
        if link is None:
            raise PeerError(
                "rig_gone",
                f"{name} is not connected.",
                "See that it is switched on and that `openstall rig run` runs there.",
            )
        return link

    def _serve(self, host: PeerHost) -> None:
        if self._files is None:
            raise RuntimeError("the network was started before the rigs were read")
        self._files.serve(host)
        host.serve_stream(PROTOCOL, self._converse, max_frame=MAX_FRAME, per_peer_rate=RATE)

    async def _converse(self, peer_id: str, stream: Framed) -> None:
        raw = await stream.receive(max_frame=HELLO_BYTES, timeout_s=FIRST_FRAME_S)
        if raw is None:
            return
        hello = read_from_rig(raw).hello
        try:
            if hello is None:
                raise PeerError("bad_frame", "A machine did not say who it is.")
            await self._let_in(peer_id, hello)
        except OpenstallError as error:
            log.info("rig refused", peer=peer_id, code=error.code)
            await stream.send(write(FromNode(refusal=refusal_of(error))))
            return
        await self._look_after(peer_id, stream)

    async def _let_in(self, peer_id: str, hello: Hello) -> None:
        now, name = self._clock.now(), clean(hello.name) or "Rig"
        known = self._paired.get(peer_id)
        if known is None:
            self._check_proof(peer_id, hello.proof)
            self._code = None  # before anything is awaited: two rigs at once must not both get in
            log.info("rig paired", peer=peer_id, name=name)
        paired_at = known.paired_at if known is not None else now
        rig = Paired(peer_id=peer_id, name=name, paired_at=paired_at, seen_at=now)
        await self._keep({**self._paired, peer_id: rig})

    def _check_proof(self, peer_id: str, proof: str) -> None:
        code = self._code
        if code is not None and self._clock.now() > code.expires:
            code = self._code = None
        fits = code is not None and hmac.compare_digest(
            proof, proof_of(code.secret, node=self._identity.peer_id, rig=peer_id)
        )
        if not fits:
            raise Refused(
                "not_paired",
                "The node does not know this machine, and the code is not the one it waits for: it was used, "
                "is older than ten minutes, or is of another node.",
                "Ask for a new code on the computer of the node: `openstall compute rigs pair`.",
            )

    async def _look_after(self, peer_id: str, stream: Framed) -> None:
        if self._files is None:
            raise RuntimeError("a rig came before the rigs were read")
        before = self._links.get(peer_id)
        if before is not None:
            before.close()  # it came back before this side noticed that it had gone
        link = RigLink(peer_id=peer_id, name=self._paired[peer_id].name, stream=stream, files=self._files)
        self._links[peer_id] = link
        log.info("rig connected", peer=peer_id, name=link.name)
        try:
            await link.serve(self._identity.name or "your node", self._changed)
        finally:
            if self._links.get(peer_id) is link:
                del self._links[peer_id]
            log.info("rig gone", peer=peer_id, left=link.left)
            with trio.CancelScope(shield=True):
                if link.left:
                    await self._keep({one: rig for one, rig in self._paired.items() if one != peer_id})
                elif peer_id in self._paired:
                    seen = msgspec.structs.replace(self._paired[peer_id], seen_at=self._clock.now())
                    await self._keep({**self._paired, peer_id: seen})
            self._changed()

    async def _keep(self, paired: dict[str, Paired]) -> None:
        self._paired = paired
        async with self._keeping:
            plain = msgspec.to_builtins(list(self._paired.values()))
            await self._workers.store(self._settings.set, _SETTING, plain)

    def _changed(self) -> None:
        self._bus.publish("status", {"part": "machines"})
        for listener in tuple(self._listeners):
            listener()
