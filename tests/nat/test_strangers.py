"""A sale, a job and letters between real nodes behind routers that let nobody in; it takes minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from campaign import OWN_WORLD, obstacle  # noqa: E402 - a script beside this one

STORY_S = 900
MIB = 1 << 20
ALL_MICRO = 3_000_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that happened; one internet for all tests."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    paths = [str(HERE), str(HERE.parent / "support")]
    environment = {
        **os.environ,
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    folder = tmp_path_factory.mktemp("street")
    command = [*OWN_WORLD, sys.executable, str(HERE / "strangers.py"), str(folder)]
    ran = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=STORY_S, env=environment
    )
    assert ran.returncode == 0, ran.stderr[-6000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_only_the_public_one_is_reached_directly(story: dict[str, Any]) -> None:
    assert story["states"] == {"hall": "direct", "seller": "relayed", "buyer": "relayed"}
    assert story["start"] == ALL_MICRO


def test_a_model_larger_than_a_circuit_is_found_bought_and_paid_over_a_relay(story: dict[str, Any]) -> None:
    sale = story["sale"]
    assert sale["whole"]
    assert sale["way"] == "relayed"
    assert sale["carried"] > 40 * MIB, "it went over the relay and not past it"
    assert sale["circuits"] >= 1, "more than one circuit carries"
    assert sale["money"] == ALL_MICRO


def test_a_job_runs_behind_a_router_and_survives_a_move_to_another(story: dict[str, Any]) -> None:
    job = story["job"]
    assert job["state"] == "done"
    assert job["moved_while_working"]
    assert job["circuits"] >= 1, "the old circuit ended with the old network"
    assert job["lines"] == list(range(len(job["lines"])))
    assert job["ended"]
    assert set(job["files"]) >= {"model.onnx", "report.json"}
    assert job["vouchers"] >= 1
    assert job["paid"]
    assert job["way"] == "relayed"
    assert job["money"] == ALL_MICRO


def test_an_order_goes_on_by_letters_where_two_are_never_on_together(story: dict[str, Any]) -> None:
    letters = story["letters"]
    assert letters["state"] == "delivered"
    assert letters["way"] == "relayed"
    assert letters["money"] == ALL_MICRO
