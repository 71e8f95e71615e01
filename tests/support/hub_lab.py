"""A node's hub of rigs on a real host, and a rig of the test's own that says whatever the test wants."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from ledger_lab import Clock

from openstall.app.config import NodeConfig
from openstall.app.events import EventBus
from openstall.app.logging import Secrets
from openstall.app.paths import Home
from openstall.app.services.identity import IdentityService
from openstall.app.services.network import NetworkService
from openstall.app.services.rigs.code import PairingCode, read_code
from openstall.app.services.rigs.files import RigFiles
from openstall.app.services.rigs.hub import RigHub
from openstall.app.services.rigs.wire import (
    MAX_FRAME,
    PROTOCOL,
    FromNode,
    FromRig,
    Hello,
    State,
    read_from_node,
    write,
)
from openstall.app.threads import Workers
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.store.database import Store
from openstall.store.settings import Settings

WELL = State(
    house="open",
    words="Jobs may run.",
    next_words="",
    tier="full",
    places=2,
    threads=4,
    memory_bytes=8 * 2**30,
    disk_bytes=2**40,
    job_threads=4,
    job_memory_bytes=8 * 2**30,
    closes_at=0,
    stated_w=0,
    cpu="A processor",
    cores=4,
    load_percent=3,
    memory_total_bytes=8 * 2**30,
    memory_free_bytes=7 * 2**30,
    disk_free_bytes=2**40,
    gpus=(),
)


@dataclass(slots=True, kw_only=True)
class HubLab:
    """The owner's node, as far as rigs need it."""

    hub: RigHub
    host: PeerHost
    clock: Clock
    folder: Path
    rigs: list[ModelRig] = field(default_factory=list)
    stack: AsyncExitStack

    def code(self) -> PairingCode:
        """A fresh code."""
        return read_code(self.hub.pair()["code"], now=self.clock.now())

    async def rig(self) -> ModelRig:
        """A host with a key of its own that listens nowhere."""
        host = PeerHost(seed=secrets.token_bytes(32), listen=())
        files = RigFiles.fresh(self.folder / host.peer_id)
        files.serve(host)
        await self.stack.enter_async_context(host)
        return ModelRig(host=host, node=self.host, files=files)

    async def paired(self) -> ModelRig:
        """A rig that is paired, connected, and has told that it is well."""
        rig = await self.rig()
        stream = await rig.call(proof=self.code().proof(rig.host.peer_id))
        answer = await rig.hear()
        assert answer.welcome, answer
        await stream.send(write(FromRig(state=WELL)))
        while not any(link.peer_id == rig.host.peer_id for link in self.hub.links):
            await trio.testing.wait_all_tasks_blocked(0.001)
        return rig


@dataclass(slots=True, kw_only=True)
class ModelRig:
    """Speaks the protocol by hand."""

    host: PeerHost
    node: PeerHost
    files: RigFiles
    stream: Framed | None = None

    async def call(self, *, proof: str = "", name: str = "tower") -> Framed:
        """Dial the node and say hello."""
        self.host.book.learn(self.node.peer_id, [one.split("/p2p/")[0] for one in self.node.addrs])
        self.stream = await self.host.open_stream(
            self.node.peer_id, PROTOCOL, timeout_s=20, max_frame=MAX_FRAME
        )
        await self.say(FromRig(hello=Hello(name=name, proof=proof)))
        return self.stream

    async def say(self, message: FromRig) -> None:
        assert self.stream is not None
        await self.stream.send(write(message))

    async def hear(self) -> FromNode:
        """The next frame that says something."""
        assert self.stream is not None
        while True:
            with trio.fail_after(20):
                raw = await self.stream.receive()
            assert raw is not None, "the node hung up"
            message = read_from_node(raw)
            if message != FromNode():
                return message

    async def hung_up(self) -> bool:
        """Whether the node ends the stream."""
        from openstall.market.errors import PeerError

        assert self.stream is not None
        with trio.fail_after(20):
            try:
                while await self.stream.receive() is not None:
                    pass
            except PeerError:
                return True
        return True


@asynccontextmanager
async def hub_lab(folder: Path) -> AsyncIterator[HubLab]:
    """Open the node's side for one test."""
    home, clock, bus, workers = Home(folder / "node"), Clock(), EventBus(), Workers()
    home.create()
    store = Store(home.store)
    settings = Settings(store)
    identity = IdentityService(
        home=home, settings=settings, workers=workers, bus=bus, secrets=Secrets(), on_open=lambda: None
    )
    network = NetworkService(
        config=NodeConfig(home=home, listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, agent=False),
        identity=identity,
        settings=settings,
        workers=workers,
        bus=bus,
    )
    hub = RigHub(
        home=home,
        settings=settings,
        workers=workers,
        bus=bus,
        clock=clock,
        identity=identity,
        network=network,
    )
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        await identity.start(passphrase_file=None)
        await hub.load()
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(network.run, lambda: None)
        host = await network.wait_up()
        inner = await stack.enter_async_context(AsyncExitStack())
        yield HubLab(hub=hub, host=host, clock=clock, folder=folder, stack=inner)
        await inner.aclose()
        nursery.cancel_scope.cancel()


def plain(message: Any) -> bytes:
    """A frame as somebody writes it who does not keep to the schema."""
    from openstall.market import canonical

    return canonical.encode(message)
