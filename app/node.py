"""The node: one process, one home folder; wires all services and runs them until it is stopped.

Start-up order: lock, log, store, identity, local API, then the parts that may be away: chain, peers,
agent, orders. Each step leaves the disk in a state that the same order can start from again.
"""

from __future__ import annotations

import signal
from typing import Any

import trio

from openstall.app import logging, version
from openstall.app.api.server import ApiServer
from openstall.app.clock import Clock, SystemClock
from openstall.app.config import NodeConfig
from openstall.app.events import EventBus
from openstall.app.lock import HomeLock
from openstall.app.operations import Operations
from openstall.app.services.identity import IdentityService
from openstall.app.supervisor import Part, PartState
from openstall.app.threads import Workers
from openstall.store.database import Store
from openstall.store.settings import Settings

STOP_GRACE_S = 10.0

log = logging.get_logger("openstall.node")


class Node:
    """Composition root. Make it and call `run` once, inside the home's lock."""

    def __init__(self, config: NodeConfig, store: Store, *, secrets: logging.Secrets, clock: Clock) -> None:
        """Wire everything; nothing starts before `run`."""
        self.config = config
        self.home = config.home
        self.store = store
        self.secrets = secrets
        self.clock = clock
        self.workers = Workers()
        self.bus = EventBus()
        self.settings = Settings(store)
        self.operations = Operations(bus=self.bus, clock=clock)
        self.identity = IdentityService(
            home=self.home,
            settings=self.settings,
            workers=self.workers,
            bus=self.bus,
            secrets=secrets,
            on_open=self._identity_opened,
        )
        self.parts: list[Part] = []
        self.started_at = clock.now()
        self._stopping = trio.Event()

    async def run(self) -> None:
        """Run until `stop`; raises OpenstallError where the node cannot even serve its API."""
        self.bus.bind()
        await self.identity.start(passphrase_file=self.config.passphrase_file)
        async with trio.open_nursery() as nursery:
            api_stopping, api_ready = trio.Event(), trio.Event()
            nursery.start_soon(ApiServer(self).run, api_stopping, api_ready.set)
            await api_ready.wait()
            async with trio.open_nursery() as work:
                self.operations.bind(work)
                for part in self.parts:
                    work.start_soon(part.supervise, name=part.name)
                log.info("node started", version=version(), peer=self.identity.peer_id)
                await self._stopping.wait()
                work.cancel_scope.cancel()
            self.bus.close()
            api_stopping.set()
        log.info("node stopped")

    def stop(self, reason: str) -> None:
        """Begin the shutdown; `run` returns when everything has ended. Call from the trio thread."""
        if not self._stopping.is_set():
            log.info("node stopping", reason=reason)
            self._stopping.set()

    async def status(self) -> dict[str, Any]:
        """What the top of every window shows."""
        return {
            "version": version(),
            "home": str(self.home.root),
            "started_at": self.started_at,
            "identity": self.identity.as_dict(),
            "group": {"state": "none", "name": None, "chain_id": None, "network": None, "banner": None},
            "network": {"peers": 0, "addrs": []},
            "agent": {"state": "off", "reason": None, "fix": None},
            "selling": False,
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[dict[str, str]]:
        return [part.error for part in self.parts if part.state is PartState.FAILED and part.error]

    def _identity_opened(self) -> None:
        for part in self.parts:
            if part.state is not PartState.READY:
                part.restart()


def run_node(config: NodeConfig) -> None:
    """Run a node in this process until it is told to stop (SIGTERM, SIGINT, local API).

    Raises:
        OpenstallError: another node holds the home, or the store or the peer key cannot be used.
    """
    config.home.create()
    with HomeLock(config.home.lock):
        secrets = logging.Secrets()
        logging.configure(config.home.log, level=config.log_level, secrets=secrets)
        store = Store(config.home.store)
        try:
            trio.run(_main, config, store, secrets)
        finally:
            store.close()


async def _main(config: NodeConfig, store: Store, secrets: logging.Secrets) -> None:
    node = Node(config, store, secrets=secrets, clock=SystemClock())
    signals = {signal.SIGINT, signal.SIGTERM}
    if hasattr(signal, "SIGBREAK"):
        signals.add(signal.SIGBREAK)
    with trio.open_signal_receiver(*signals) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, node, received)
            await node.run()
            nursery.cancel_scope.cancel()


async def _stop_on_signal(node: Node, received: Any) -> None:
    async for number in received:
        node.stop(f"signal {signal.Signals(number).name}")
