"""Hostile outputs: a simple collector takes the harm home, ours takes nothing, or only harmless bytes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from artefacts import ALLOWED, ATTACKS, Attack, harm, prepare, taken_by_simple_means  # noqa: E402

from openstall.compute_agent.collector import collect  # noqa: E402
from openstall.market.errors import SandboxError  # noqa: E402

CASES = [
    pytest.param(
        attack,
        id=attack.name,
        marks=pytest.mark.skipif(attack.root_only and os.geteuid() != 0, reason="only root can prepare it"),
    )
    for attack in ATTACKS
]


@pytest.mark.parametrize("attack", CASES)
def test_a_hostile_output_is_refused_or_harmless(attack: Attack, tmp_path: Path) -> None:
    out, target = prepare(tmp_path, attack)
    assert taken_by_simple_means(out, target), "the attack itself does not work"
    out, target = prepare(tmp_path, attack)
    fd = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    refused: SandboxError | None = None
    try:
        taken = collect(fd, ALLOWED, target)
    except SandboxError as error:
        refused = error
    finally:
        os.close(fd)
    assert harm(target) == ""
    if refused is None:
        assert {item.name for item in taken} == set(ALLOWED)
        return
    assert refused.code.startswith("output_")
    assert refused.what_next
    assert list(target.iterdir()) == []
    # the words are for a person: whatever the name was, nothing of it commands a terminal
    assert refused.message.isprintable()
