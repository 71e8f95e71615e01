"""Start selling: what is checked before the offer is announced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from openstall.app.services.cards import Cards
from openstall.app.services.renting import OfferTerms, Renting
from openstall.compute_agent.specs import GPU_CHECK, Check
from openstall.market.errors import SandboxError
from openstall.market.house import HouseRules

TERMS = OfferTerms(
    kinds=("train",),
    price_per_s_micro=1_000,
    threads=1,
    memory_bytes=2**30,
    disk_bytes=2**30,
    max_job_s=600,
    jobs_at_once=1,
    ttl_s=3600,
    withdraw_delay_s=60,
    gpus=True,
)


class Agent:
    """A script in the place of a process: a machine whose card passes or not, and how often it was asked."""

    tier = "full"

    def __init__(self, *, passes: bool) -> None:
        self.asked = 0
        self.found = Check(name=GPU_CHECK, severity="warning", ok=passes, cause="what was found", fix="do so")

    async def probe(self) -> Any:
        return SimpleNamespace(
            cores_logical=4, memory_bytes=2**33, cpu_name="A processor", gpus=(), gpu_note="none"
        )

    async def doctor(self) -> list[Check]:
        self.asked += 1
        return [self.found]


class NoRules:
    """A house without rules."""

    async def rules(self) -> HouseRules:
        return HouseRules()


def made(agent: Agent, folder: Path) -> Renting:
    house = cast("Any", NoRules())
    rest: dict[str, Any] = dict.fromkeys(("catalogue", "settings", "workers", "open_jobs", "clock"))
    return Renting(
        agent=cast("Any", agent),
        machines=cast("Any", SimpleNamespace(own=True)),
        cards=Cards(agent=cast("Any", agent), house=house),
        house=house,
        wallet="",
        chain_id=1,
        channel="",
        warm_folder=folder,
        **rest,
    )


@pytest.mark.parametrize("passes", [True, False])
def test_with_graphics_cards_the_doctor_runs_once(tmp_path: Path, *, passes: bool) -> None:
    agent = Agent(passes=passes)

    async def start() -> None:
        renting = made(agent, tmp_path)
        if passes:
            await renting._check_this(TERMS)
            return
        with pytest.raises(SandboxError) as caught:
            await renting._check_this(TERMS)
        assert (caught.value.code, caught.value.message) == ("no_gpu", "what was found")

    trio.run(start)
    assert agent.asked == 1
