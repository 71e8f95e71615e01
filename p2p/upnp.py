"""Asking the router for a port (UPnP IGD), by miniupnpc, for the time that the node runs."""

from __future__ import annotations

import logging
from typing import Any

import miniupnpc
import trio

from openstall.p2p import addresses

DISCOVER_MS = 2000
LEASE_S = 3600
RENEW_S = 1500.0
AGAIN_S = 1800.0
NAME = "Openstall"
TRIES = 4

log = logging.getLogger("openstall.p2p")


class Router:
    """One port of the router; `address` is where it leads to us from outside, or empty."""

    def __init__(self, *, interface: str = "", lease_s: int = LEASE_S) -> None:
        """`interface` is the IPv4 address of the card to look on; empty means any."""
        self.address = ""
        self._interface = interface
        self._lease_s = lease_s
        self._port = 0
        self._outer = 0
        self._igd: Any = None
        self._due = 0.0

    async def open(self, port: int) -> bool:
        """Ask for a mapping of our TCP port; False when no router offers that, or it was refused."""
        if not port or (self.address and port == self._port):
            return bool(self.address)
        if trio.current_time() < self._due:
            return False
        self._port = port
        self.address = await trio.to_thread.run_sync(self._open)
        self._due = trio.current_time() + (RENEW_S if self.address else AGAIN_S)
        return bool(self.address)

    async def renew(self) -> None:
        """Ask anew before the lease ends, and forget what the router does not give again."""
        if self.address and trio.current_time() >= self._due:
            self.address = await trio.to_thread.run_sync(self._open)
            self._due = trio.current_time() + (RENEW_S if self.address else AGAIN_S)

    def forget(self) -> None:
        """This computer is on another network now: its router may be another too."""
        self.address, self._due = "", 0.0

    async def close(self) -> None:
        """Give the port back."""
        if self.address:
            self.address = ""
            await trio.to_thread.run_sync(self._close)

    def _open(self) -> str:
        # miniupnpc raises bare Exception for whatever a router may answer.
        try:
            igd = miniupnpc.UPnP()
            igd.discoverdelay = DISCOVER_MS
            if self._interface:
                igd.multicastif = self._interface
            if igd.discover() == 0:
                return ""
            igd.selectigd()
            outside = igd.externalipaddress()
        except Exception as error:  # noqa: BLE001
            log.info("no router that opens ports: %s", error)
            return ""
        if not outside or not addresses.is_public(f"/ip4/{outside}/tcp/1"):
            log.info("the router has no address of its own in the internet")
            return ""
        for outer in range(self._port, self._port + TRIES):
            try:
                igd.addportmapping(outer, "TCP", igd.lanaddr, self._port, NAME, "", self._lease_s)
            except Exception as error:  # noqa: BLE001
                log.info("the router does not open port %d: %s", outer, error)
                continue
            self._igd, self._outer = igd, outer
            log.info("the router opened port %d", outer)
            return f"/ip4/{outside}/tcp/{outer}"
        return ""

    def _close(self) -> None:
        try:
            self._igd.deleteportmapping(self._outer, "TCP")
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            log.info("the router keeps the port until its lease ends: %s", error)
