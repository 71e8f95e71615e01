"""What happened, told to every client that listens: the desktop, the command line.

An event says that something changed and carries the new state; nothing depends on seeing all of
them. A client that does not keep up is dropped with a last event `dropped`, and reads again.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

CLIENT_QUEUE = 512
MAX_CLIENTS = 32

NAMES = (
    "operation", "order", "job_log", "catalogue", "wallet", "peers", "status", "mail", "blobs", "batch",
    "contest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """A name of `NAMES` (or `dropped`) and a JSON object."""

    name: str
    data: dict[str, Any]


class EventBus:
    """Fan-out within the node. For the trio thread only."""

    def __init__(self) -> None:
        self._clients: set[_Client] = set()
        self._closed = False

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """Tell all clients; never blocks."""
        event = Event(name, data)
        for client in tuple(self._clients):
            client.put(event)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        """A channel of events from now on; it ends when the client is dropped or the node stops."""
        client = _Client()
        if self._closed or len(self._clients) >= MAX_CLIENTS:
            client.drop("Too many listeners, or the node is stopping.")
        else:
            self._clients.add(client)
        try:
            yield client.receive
        finally:
            self._clients.discard(client)
            client.receive.close()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for client in tuple(self._clients):
            client.drop("The node is stopping.")
        self._clients.clear()


class _Client:
    """One listener's bounded queue; the last place is kept for the word that it was dropped."""

    def __init__(self) -> None:
        # Unbounded in the channel, bounded by hand: the farewell must always fit.
        self._send, self.receive = trio.open_memory_channel[Event](math.inf)
        self._open = True

    def put(self, event: Event) -> None:
        if not self._open:
            return
        if self.receive.statistics().current_buffer_used >= CLIENT_QUEUE:
            self.drop("This listener was too slow; read the present state again.")
            return
        try:
            self._send.send_nowait(event)
        except trio.BrokenResourceError:
            self._open = False

    def drop(self, why: str) -> None:
        if self._open:
            self._open = False
            try:
                self._send.send_nowait(Event("dropped", {"message": why}))
            except trio.BrokenResourceError:
                return
            finally:
                self._send.close()
