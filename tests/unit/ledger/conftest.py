from __future__ import annotations

from collections.abc import Iterator

import pytest
from ledger_lab import Clock, Lab

from openstall.ledger.memory_host import MemoryHost


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """One chain in memory for all unit tests of this room: they use orders of their own."""
    clock = Clock()
    host = MemoryHost(clock=clock)
    host.create("Unit tests")
    yield Lab(host, clock)
    host.stop()
