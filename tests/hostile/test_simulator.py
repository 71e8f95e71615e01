"""The simulator of a thousand peers (`dev.py bench --only simulation`), with a few: the nodes' own sync."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trio

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import bench_simulation
import simnet


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_simulation, "PEERS", 24)
    monkeypatch.setattr(bench_simulation, "RECORDS", 40)
    monkeypatch.setattr(bench_simulation, "LATE_RECORDS", 300)


def simulate(scenario: Any) -> Any:
    return simnet.simulate(scenario, seed=3)


def test_halves_that_meet_again_hold_the_same_and_a_run_can_be_repeated() -> None:
    first = simulate(bench_simulation.partition)
    assert first[0] is not None
    assert first[0] <= 2 * bench_simulation.SYNC_EVERY_S
    assert simulate(bench_simulation.partition) == first, "one seed is one history"


def test_a_late_joiner_gets_everything() -> None:
    took, received = simulate(bench_simulation.late_joiner)
    assert took is not None
    assert received > 300 * 1000


def test_liars_keep_nothing_from_the_honest() -> None:
    took, _ = simulate(lambda net, nursery: bench_simulation.liars(net, nursery, 0.4))
    assert took is not None


def test_a_sync_that_does_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator runs the real code: break that, and nothing converges."""
    from openstall.p2p.sync import Sync, SyncReport

    async def nothing(_: Sync, peer_id: str) -> SyncReport:
        await trio.lowlevel.checkpoint()
        return SyncReport(peer_id=peer_id, missing=0, admitted=0, equal=True, listed=0)

    monkeypatch.setattr(Sync, "with_peer", nothing)
    assert simulate(bench_simulation.partition)[0] is None
