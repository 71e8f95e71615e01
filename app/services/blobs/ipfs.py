"""IPFS beside the peers: the owner's gateway as a source of packages, the owner's node to pin them on.

Nothing here is asked unless the owner has named it, and no address comes from a peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.services.blobs import kubo
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound, OpenstallError, Refused
from openstall.p2p import unixfs
from openstall.p2p.blob_manifest import BlobInfo
from openstall.p2p.blobs import BlobStore
from openstall.p2p.ipfs import Gateway, gateway_address, own_address, web_for
from openstall.p2p.web_guard import Web
from openstall.store.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

MAX_PINS = 4096
_ADDRESSES, _PINS = "ipfs.addresses", "ipfs.pins"

log = get_logger("openstall.ipfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """As the owner typed them; empty where he named none."""

    gateway: str = ""
    node: str = ""


@dataclass(slots=True, kw_only=True)
class Ipfs:
    """The owner's view of IPFS."""

    blobs: BlobStore
    settings: Settings
    workers: Workers
    bus: EventBus
    _addresses: Addresses = field(default_factory=Addresses)
    _webs: dict[str, Web] = field(default_factory=dict)
    """By gateway; a fetch may still use one that was named before."""
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def start(self) -> None:
        """Use what was saved."""
        self._addresses = Addresses(**await self.workers.store(self.settings.get, _ADDRESSES, {}))

    async def aclose(self) -> None:
        """Close connections to gateways."""
        while self._webs:
            await self._webs.popitem()[1].aclose()

    def sources(self, address: str) -> Sequence[Gateway]:
        """The gateway as a source of the file with an address in IPFS; none where either is missing."""
        gateway = self._addresses.gateway
        if not gateway or not address:
            return []
        if gateway not in self._webs:
            self._webs[gateway] = web_for(gateway)
        return [Gateway(gateway, address, web=self._webs[gateway])]

    def pins_now(self) -> dict[str, str]:
        """The address in IPFS of each file that is pinned there. Blocking."""
        pins: dict[str, str] = self.settings.get(_PINS, {})
        return pins

    def view_now(self) -> dict[str, Any]:
        """The addresses and what is pinned. Blocking."""
        pins = [{"cid": cid, "ipfs": address} for cid, address in sorted(self.pins_now().items())]
        return {"gateway": self._addresses.gateway, "node": self._addresses.node, "pins": pins}

    async def change(self, *, gateway: str | None, node: str | None) -> dict[str, Any]:
        """Name the gateway or the node; an empty text takes it away, None leaves it as it is.

        Raises:
            Refused: it is no address that may be named.
            Conflict: files are pinned on the node that would be forgotten.
        """
        async with self._lock:
            new = Addresses(
                gateway=self._addresses.gateway if gateway is None else gateway and gateway_address(gateway),
                node=self._addresses.node if node is None else node and _node_address(node),
            )
            pins = await self.workers.store(self.pins_now)
            if pins and new.node != self._addresses.node:
                raise Conflict(
                    "pinned_there",
                    "Files of yours are pinned on the IPFS node that is named now.",
                    "Unpin them first.",
                )
            saved = {"gateway": new.gateway, "node": new.node}
            await self.workers.store(self.settings.set, _ADDRESSES, saved)
            self._addresses = new
        self.bus.publish("blobs", {"event": "ipfs"})
        return await self.workers.store(self.view_now)

    async def pin(self, info: BlobInfo, *, sealed: bool, progress: Progress) -> dict[str, Any]:
        """Give an encrypted package to the owner's IPFS node, which keeps it and gives it to everybody.

        Raises:
            Refused: no node was named, the file is not encrypted, or the node gives it another address.
            NodeTrouble: the node is away, or refuses.
        """
        node = self._node()
        if not sealed:
            raise Refused(
                "not_encrypted",
                "That file is not encrypted: in IPFS everybody could read it.",
                "Only encrypted packages are pinned there.",
            )
        async with self._lock:
            pins = await self.workers.store(self.pins_now)
            if len(pins) >= MAX_PINS:
                raise Conflict("too_many_pins", f"{MAX_PINS} files are pinned in IPFS.", "Unpin one first.")
            progress("Reading the file")
            ours = await self.workers.work(self._address_now, info.cid)
            theirs = await self._told(self._add_now, node, info, partial(progress.soon, "Pinning in IPFS"))
            if theirs != ours:
                raise await self._another(node, ours, theirs)
            await self.workers.store(self.settings.set, _PINS, {**pins, info.cid: ours})
        self.bus.publish("blobs", {"event": "pinned"})
        log.info("pinned in IPFS", cid=info.cid, ipfs=ours)
        return {"cid": info.cid, "ipfs": ours}

    async def unpin(self, cid: str) -> dict[str, Any]:
        """Let the owner's IPFS node drop a file.

        Raises:
            NotFound: it is not pinned there.
            NodeTrouble: the node is away, or refuses; the file stays pinned.
        """
        async with self._lock:
            pins = await self.workers.store(self.pins_now)
            if cid not in pins:
                raise NotFound("not_pinned", "That file is not pinned in IPFS.", "See: openstall blobs ipfs")
            await self._told(kubo.unpin, self._node(), pins[cid])
            left = {one: address for one, address in pins.items() if one != cid}
            await self.workers.store(self.settings.set, _PINS, left)
        self.bus.publish("blobs", {"event": "unpinned"})
        return {"cid": cid, "ipfs": pins[cid]}

    async def _told(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the IPFS node answers. It may take minutes; this node stops without waiting for it."""
        return await trio.to_thread.run_sync(
            lambda: ask(*args, **kwargs),
            abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs are of an older trio
        )

    def _node(self) -> str:
        if not self._addresses.node:
            raise Refused(
                "no_ipfs_node",
                "You have not named an IPFS node.",
                "With Kubo on this machine: openstall blobs ipfs --node http://127.0.0.1:5001",
            )
        return self._addresses.node

    def _address_now(self, cid: str) -> str:
        with self.blobs.open(cid) as file:
            return unixfs.cid_of(file)

    def _add_now(self, node: str, info: BlobInfo, told: Callable[[int, int, str], None]) -> str:
        with self.blobs.open(info.cid) as file:
            return kubo.add(node, file, lambda done: told(done, info.size, "bytes"))

    async def _another(self, node: str, ours: str, theirs: str) -> Refused:
        """Take back what was pinned under an address that no record names."""
        kept = "It was not kept."
        try:
            await self._told(kubo.unpin, node, theirs)
        except OpenstallError as error:
            kept = f"It is pinned there still: {error.message}"
        return Refused(
            "other_address",
            f"Your IPFS node gives the file the address {theirs}; records name {ours}. {kept}",
            "The node must cut files as Kubo does by itself: pieces of 256 KiB, 174 links in a block.",
        )


def _node_address(text: str) -> str:
    found = own_address(text.strip())
    if not found:
        raise Refused(
            "bad_ipfs_node",
            "An IPFS node is named by its address on this machine: who reaches it governs it.",
            "For example http://127.0.0.1:5001",
        )
    return found
