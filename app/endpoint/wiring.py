"""Served models of a node: questions of buyers to its jobs, and its own to the jobs that it rents."""

from __future__ import annotations

from pathlib import Path

import trio

from openstall.app.clock import Clock
from openstall.app.endpoint.listener import Endpoints
from openstall.app.logging import Secrets
from openstall.app.services.orders.job_provider import JobProvider
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.app.services.orders.serve_provider import ServeDesk
from openstall.app.threads import Workers
from openstall.p2p.host import PeerHost


class Serving:
    """The parts, joined."""

    def __init__(
        self,
        provider: JobProvider,
        *,
        peers: PeerHost,
        clock: Clock,
        secrets: Secrets,
        workers: Workers,
        file: Path,
    ) -> None:
        self._desk = ServeDesk(desk=provider.desk, peers=peers, provider=provider, agent=provider.agent)
        self.lines = ServeLines(desk=provider.desk, peers=peers)
        self.endpoints = Endpoints(lines=self.lines, clock=clock, secrets=secrets, workers=workers, file=file)

    def serve(self) -> None:
        """Take questions of buyers from now on."""
        self._desk.serve()

    async def run(self) -> None:
        """Hold streams and listeners, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.lines.run)
            nursery.start_soon(self.endpoints.run)
