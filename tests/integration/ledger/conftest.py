from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ledger_lab import Clock

from openstall.ledger.anvil import find_anvil
from openstall.ledger.group_host import GroupHost

HostAt = Callable[[Path], GroupHost]


@pytest.fixture(scope="session")
def anvil() -> Path:
    found = find_anvil()
    if found is None:
        pytest.skip("anvil is not installed: python3 dev.py brings it by npm")
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host_at(anvil: Path, clock: Clock) -> Iterator[HostAt]:
    """Hosts that are stopped at the end, whatever happened."""
    with ExitStack() as stack:

        def make(folder: Path) -> GroupHost:
            host = GroupHost(folder, anvil, clock=clock)
            stack.callback(host.stop)
            return host

        yield make
