"""The node as a process: lock, log, store, signals, and the way out."""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import AsyncIterator

import trio

from openstall.app import logging
from openstall.app.api.server import serve_api
from openstall.app.clock import SystemClock
from openstall.app.config import NodeConfig
from openstall.app.lock import HomeLock
from openstall.app.node import Node
from openstall.market import schema
from openstall.store.database import Store


def run_node(config: NodeConfig) -> None:
    """Run a node in this process until it is told to stop (SIGTERM, SIGINT, local API).

    Raises:
        OpenstallError: another node holds the home, or the store or the peer key cannot be used.
    """
    faulthandler.enable()  # a crash in native code leaves its stack in the output
    schema.prepare_for_threads()
    config.home.create()
    with HomeLock(config.home.lock):
        # What a killed node left behind would send clients to a port that is somebody else's by now.
        config.home.api.unlink(missing_ok=True)
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
            await node.run(serve_api)
            nursery.cancel_scope.cancel()


async def _stop_on_signal(node: Node, received: AsyncIterator[int]) -> None:
    async for number in received:
        node.stop(f"signal {signal.Signals(number).name}")
