"""Honest hosts on loopback, and what a test does to them as somebody else."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from openstall.p2p.host import PeerHost
from openstall.p2p.nurseries import single_errors

NewHost = Callable[..., Awaitable[PeerHost]]


@pytest.fixture
def new_host(nursery: trio.Nursery) -> NewHost:
    """Hosts that run until the test ends; one that fails fails the test."""

    async def make(**options: Any) -> PeerHost:
        host = PeerHost(**{"seed": os.urandom(32), "network": "test", **options})
        with single_errors():
            await nursery.start(host.run)
        return host

    return make
