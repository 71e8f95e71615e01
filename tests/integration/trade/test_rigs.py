"""Several machines of one owner: the node's own runs no jobs, a rig does; what happens when it is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig_lab import RigProcess, machine, rig_command, run_verb, running_rig, start_rig, wait_ready
from stage import CREDIT, START_MICRO, Market, open_market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for

WITHOUT_AGENT = (sys.executable, str(Path(__file__).parents[2] / "support" / "without_agent.py"))
LONG = {"task": "classification", "label": LABEL, "epochs": 10_000, "seed": 7, "checkpoint_s": 1}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market whose provider has no agent of its own."""
    with open_market(tmp_path_factory.mktemp("rigs"), provider=WITHOUT_AGENT) as opened:
        yield opened


@pytest.fixture(scope="module")
def rig(market: Market) -> Iterator[RigProcess]:
    with running_rig(market.folder / "tower", market.provider, "tower") as running:
        yield running


def test_a_job_runs_on_the_rig_and_is_paid(market: Market, rig: RigProcess) -> None:
    provider, seller = market.provider, market.seller
    this = machine(provider, "this machine")
    assert (this["state"], this["places"]) == ("off", 0)
    shown = machine(provider, "tower")
    assert shown["tier"] in ("full", "reduced")
    offer = market.offer()
    before = provider.balance_micro()
    order_id = market.rent(offer)
    wait_for(
        lambda: [job["order_id"] for job in machine(provider, "tower")["jobs"]] == [order_id] or None,
        60,
        "the job on the rig",
    )
    order = seller.order_until(
        order_id,
        lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]),
        180,
    )
    assert order["job"]["result"]["state"] == "done"
    assert [Path(one["path"]).name for one in order["job"]["artefacts"]] == ["model.onnx", "report.json"]
    assert provider.balance_micro() > before
    assert market.money() == 3 * START_MICRO
    days = provider.get("/v1/compute/earnings")["items"]
    assert [day["device"] for day in days] == ["tower"]
    left = [path for path in (rig.home / "rig" / "rig-files").rglob("*") if path.is_file()]
    assert left == []
    assert list((rig.home / "rig" / "jobs").iterdir()) == []
