"""What the agent knows of each graphics card."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from openstall.compute_agent.cards import Cards
from openstall.compute_agent.inventory import probe_machine
from openstall.compute_agent.sandbox import gpu_check
from openstall.compute_agent.sandbox.gpu import no_gpu
from openstall.compute_agent.sandbox.gpu_check import Proved
from openstall.compute_agent.specs import Gpu

GPUS = tuple(Gpu(id=name, name=name, memory_bytes=2**30, driver="1") for name in ("a", "b"))
"""Two cards that no machine of the tests has."""


def passed(cards: Cards) -> dict[str, bool | None]:
    machine = msgspec.structs.replace(probe_machine(), gpus=GPUS)
    return {gpu.id: gpu.passed for gpu in cards.looked_at(machine).gpus}


async def test_a_card_that_fails_is_named_by_its_place_among_all_also_while_another_is_lent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look(*_rest: Any, **_more: Any) -> Any:
        return SimpleNamespace(name="Card c", looked=2**20)

    def grant(names: list[str]) -> Any:
        if names == ["b"]:
            raise no_gpu("its driver is away")

    monkeypatch.setattr(gpu_check, "_look", look)  # no machine of the tests has a card
    monkeypatch.setattr(gpu_check, "find_grant", grant)
    gpus = (*GPUS, msgspec.structs.replace(GPUS[0], id="c"))
    facilities = cast("Any", SimpleNamespace(tier="full", landlock=1))
    found = await gpu_check.prove_gpus(facilities, cast("Any", None), gpus, lent=frozenset({"a"}))
    assert found.ids == ("c",)
    assert found.words.startswith("card 2 (b) is not rented out: ")


def test_of_each_card_is_told_whether_it_passed_once_the_doctor_has_looked() -> None:
    cards = Cards()
    assert passed(cards) == {"a": None, "b": None}
    cards.examined(Proved(ids=("b",), words=""), cards.lent)
    assert passed(cards) == {"a": False, "b": True}
    cards.examined(Proved(ids=(), words="none passes"), cards.lent)
    assert passed(cards) == {"a": False, "b": False}


def test_a_card_that_a_job_has_stands_as_before_when_the_doctor_looks_again() -> None:
    cards = Cards()
    cards.examined(Proved(ids=("a", "b"), words=""), cards.lent)
    cards._lent["job"] = ("a",)
    cards.examined(Proved(ids=(), words="the other one fails now"), cards.lent)
    assert passed(cards) == {"a": True, "b": False}


def test_a_card_whose_job_ends_while_the_doctor_looks_stands_as_before() -> None:
    cards = Cards()
    cards.examined(Proved(ids=("a", "b"), words=""), cards.lent)
    cards._lent["job"] = ("a",)
    lent = cards.lent
    cards.take_back("job")
    cards.examined(Proved(ids=("b",), words="only this one was looked at"), lent)
    assert passed(cards) == {"a": True, "b": True}
