"""Start selling: what is checked before the offer is announced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from openstall.app.services.cards import Cards
from openstall.app.services.renting import OfferTerms, Renting
from openstall.compute_agent.specs import GIB, GPU_CHECK, Check, Gpu
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

SWITCHED_OFF = "The house rules switch off every graphics card that could be rented out."


class Agent:
    """A script in the place of a process: cards that pass the doctor or not, and how often it was asked.

    No machine of the tests has a graphics card.
    """

    tier = "full"

    def __init__(self, **passes: bool) -> None:
        self.passes, self.asked = passes, 0

    async def probe(self) -> Any:
        gpus = [
            Gpu(
                id=name,
                name=f"Card {name}",
                memory_bytes=GIB,
                driver="1",
                passed=passed if self.asked else None,
            )
            for name, passed in self.passes.items()
        ]
        return SimpleNamespace(
            cores_logical=4, memory_bytes=2**33, cpu_name="A processor", gpus=gpus, gpu_note="none"
        )

    async def doctor(self) -> list[Check]:
        self.asked += 1
        if not self.passes:
            return []
        whole = all(self.passes.values())
        return [Check(name=GPU_CHECK, severity="warning", ok=whole, cause="what was found", fix="do so")]


class Rules:
    """A house that keeps some cards for itself."""

    def __init__(self, *off: str) -> None:
        self.off = off

    async def rules(self) -> HouseRules:
        return HouseRules(devices_off=self.off)


def made(agent: Agent, folder: Path, *off: str) -> Renting:
    house = cast("Any", Rules(*off))
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


@pytest.mark.parametrize(
    ("passes", "off", "offered"),
    [
        ({"a": True, "b": True}, (), ["Card a", "Card b"]),
        ({"a": True, "b": False}, (), ["Card a"]),
        ({"a": True, "b": True}, ("a",), ["Card b"]),
    ],
)
def test_the_cards_that_pass_and_are_not_switched_off_are_offered(
    tmp_path: Path, passes: dict[str, bool], off: tuple[str, ...], offered: list[str]
) -> None:
    agent = Agent(**passes)
    shown = trio.run(made(agent, tmp_path, *off)._check_this, TERMS)
    assert [gpu.name for gpu in shown.gpus] == offered
    assert agent.asked == 1


@pytest.mark.parametrize(
    ("passes", "off", "words"),
    [
        ({}, (), "There is no graphics card for jobs here. none"),
        ({"a": False}, (), "what was found"),
        ({"a": False, "b": False}, ("a",), "what was found"),
        ({"a": True, "b": False}, ("a",), SWITCHED_OFF),
        ({"a": True}, ("a",), SWITCHED_OFF),
    ],
)
def test_an_offer_of_cards_without_one_is_refused(
    tmp_path: Path, passes: dict[str, bool], off: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SandboxError) as caught:
        trio.run(made(Agent(**passes), tmp_path, *off)._check_this, TERMS)
    assert (caught.value.code, caught.value.message) == ("no_gpu", words)


def test_cards_that_nobody_looked_at_since_the_agent_started_are_looked_at_before_they_are_offered(
    tmp_path: Path,
) -> None:
    agent = Agent(a=True, b=False)
    cards = made(agent, tmp_path).cards
    assert trio.run(cards.ids) == ("a", "b")  # the agent looks itself before it lends one
    assert [gpu.name for gpu in trio.run(cards.shown, GIB // 2)] == ["Card a"]
    assert (agent.asked, trio.run(cards.ids)) == (1, ("a",))
