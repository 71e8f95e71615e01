"""The offer of a machine while its owner changes it: what he said last is what is announced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from openstall.app.clock import SystemClock
from openstall.app.services.offer_terms import OfferTerms
from openstall.app.services.renting import Renting
from openstall.app.threads import Workers
from openstall.market.errors import NotFound
from openstall.store.database import Store
from openstall.store.settings import Settings

TERMS: dict[str, Any] = {
    "price_per_s_micro": 10, "max_job_s": 60, "memory_bytes": 2**30, "disk_bytes": 2**30, "threads": 1,
    "ttl_s": 3600, "jobs_at_once": 1, "withdraw_delay_s": 3600,
}  # fmt: skip


class Board:
    """What the network was told."""

    def __init__(self) -> None:
        self.offers: list[dict[str, Any]] = []
        self.up = False

    async def publish(self, _type: str, _key: str, body: dict[str, Any], *, life_s: int) -> Any:
        self.offers.append({"body": body, "expires": SystemClock().now() + life_s})
        self.up = True
        return SimpleNamespace(cid=f"cid-{len(self.offers)}")

    async def own(self, _type: str, _key: str) -> dict[str, Any]:
        if not self.up:
            raise NotFound("no_record", "There is none.")
        return self.offers[-1]

    async def withdraw(self, _type: str, _key: str) -> None:
        self.up = False


class Agent:
    """Looks at the machine at once, but for the first time, when it is let."""

    def __init__(self) -> None:
        self.asked, self.go = trio.Event(), trio.Event()
        self.tier = "full"

    async def probe(self) -> Any:
        if not self.asked.is_set():
            self.asked.set()
            await self.go.wait()
        return SimpleNamespace(
            cpu_name="Toaster 9", machine="x86_64", cores_logical=8, memory_bytes=2**34, gpu_note=""
        )

    async def doctor(self) -> list[Any]:
        return []

    async def keep_warm(self, _stock: Any) -> None:
        return None


def renting(folder: Path, board: Board, agent: Agent) -> Renting:
    async def nothing() -> Any:
        return None

    async def none_open() -> int:
        return 0

    async def own_holds(_needs: Any) -> bool:
        return True

    async def rules() -> Any:
        return SimpleNamespace(threads_cap=None, memory_bytes_cap=None, disk_bytes_cap=None)

    others: dict[str, Any] = {
        "catalogue": board,
        "agent": agent,
        "machines": SimpleNamespace(own=True, rig_for=lambda _needs: None, own_holds=own_holds),
        "cards": SimpleNamespace(),
        "house": SimpleNamespace(suggest_rules=nothing, rules=rules),
    }
    return Renting(
        settings=Settings(Store(folder / "store.sqlite")), workers=Workers(), open_jobs=none_open,
        wallet="0x" + "0a" * 20, chain_id=7, channel="0x" + "0b" * 20, clock=SystemClock(),
        warm_folder=folder, **others,
    )  # fmt: skip


@pytest.mark.parametrize("then", ["changed", "stopped"])
async def test_a_renewal_that_is_under_way_never_undoes_what_the_owner_has_said(
    tmp_path: Path, then: str
) -> None:
    board, agent = Board(), Agent()
    machine = renting(tmp_path, board, agent)
    await machine._keep(OfferTerms(**TERMS, kinds=("infer",)))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.keep_alive)
            await agent.asked.wait()  # the renewal has read the terms, and looks at the machine
            if then == "stopped":
                await machine.stop()
            else:
                await machine.start(OfferTerms(**TERMS, kinds=("train",)))
            agent.go.set()
            await trio.testing.wait_all_tasks_blocked(0.3)
            nursery.cancel_scope.cancel()
    if then == "stopped":
        assert not board.up
    else:
        assert board.offers[-1]["body"]["kinds"] == ["train"]
