"""Several machines of one owner: the node's own runs no jobs, a rig does; what happens when it is lost."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rig_lab import RigProcess, machine, rig_command, run_verb, running_rig, start_rig, wait_ready
from stage import CREDIT, RULES, START_MICRO, Market, open_market, restart

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for
from openstall.market.errors import OpenstallError

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


def _told(order: dict[str, Any]) -> bool:
    """Settled, with its report: the settlement can be seen on the chain before that has come."""
    return order["state"] == "settled" and bool(order["job"]["result"])


def listening(rig: RigProcess) -> list[Any]:
    """Where the rig, its agent or a sandbox takes connections."""
    own = psutil.Process(rig.process.pid)
    found = [
        one for process in (own, *own.children(recursive=True)) for one in process.net_connections("inet")
    ]
    return [one.laddr for one in found if one.status == psutil.CONN_LISTEN]


def test_a_job_runs_on_the_rig_and_is_paid(market: Market, rig: RigProcess) -> None:
    provider, seller = market.provider, market.seller
    this = machine(provider, "this machine")
    assert (this["state"], this["places"]) == ("off", 0)
    shown = machine(provider, "tower")
    assert shown["tier"] in ("full", "reduced")
    assert listening(rig) == []
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


def working(market: Market, offer: str = "", **terms: Any) -> str:
    """A job on the rig that has earned its first seconds and written a checkpoint."""
    order_id = market.rent(offer or market.offer(), params=LONG, max_s=300, cap_micro=3 * CREDIT, **terms)
    until(market.seller, order_id, lambda o: o["job"]["checkpoint"] and o["job"]["seconds"] > 0)
    assert [job["order_id"] for job in machine(market.provider, "tower")["jobs"]] == [order_id]
    return order_id


def until(peer: DemoPeer, order_id: str, look: Any) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        order = peer.get(f"/v1/orders/{order_id}")
        return order if look(order) else None

    order: dict[str, Any] = wait_for(found, 120, f"{peer.name}: order {order_id[:8]}")
    return order


def log_of(peer: DemoPeer, order_id: str) -> list[str]:
    return [line["text"] for line in peer.get(f"/v1/orders/{order_id}/log")["lines"]]


def test_the_rigs_own_rules_and_both_pauses_win(market: Market, rig: RigProcess) -> None:
    """The person at the rig pauses it there; the owner at the node does so from afar."""
    provider, seller = market.provider, market.seller
    order_id = working(market)
    rig_command(rig.home, "pause")
    wait_for(lambda: machine(provider, "tower")["state"] == "paused" or None, 30, "paused at the rig")
    until(seller, order_id, lambda o: o["progress"] and o["progress"]["stage"].startswith("Paused"))
    assert any("[Paused: the owner of the machine needs it." in line for line in log_of(seller, order_id))
    assert rig_command(rig.home, "show")["state"]["jobs_waiting"] == 1
    with pytest.raises(OpenstallError) as caught:  # no other machine may take a job now
        provider.post("/v1/compute/machines/pause", machine="tower")
    assert caught.value.code == "paused"
    all_on = provider.post("/v1/compute/machines/resume", machine="all")
    assert all_on["troubles"] == []
    wait_for(lambda: machine(provider, "tower")["state"] == "open" or None, 30, "open again")
    until(seller, order_id, lambda o: o["progress"] and not o["progress"]["stage"].startswith("Paused"))

    provider.post("/v1/compute/machines/pause", machine="tower")
    wait_for(lambda: rig_command(rig.home, "show")["state"]["jobs_waiting"] == 1 or None, 30, "paused")
    assert provider.post("/v1/compute/machines/resume", machine="tower")["items"][1]["name"] == "tower"
    seller.post(f"/v1/orders/{order_id}/cancel")
    ended = seller.order_until(order_id, _told, 120)
    assert (ended["job"]["result"]["state"], ended["job"]["result"]["reason"]) == ("cancelled", "cancelled")
    assert market.money() == 3 * START_MICRO


def test_a_rig_that_is_killed_in_the_middle_of_a_job(market: Market, rig: RigProcess) -> None:
    """The order ends at once and is paid until then; another provider goes on from the checkpoint."""
    provider, buyer, other = market.provider, market.seller, market.buyer
    offer = market.offer()
    order_id = working(market, offer, tries=2, patience_s=10)
    market.seen_by(buyer, other.post("/v1/compute/sell", **RULES)["cid"])
    rig.kill()
    first = buyer.order_until(order_id, _told, 120)
    assert first["job"]["result"]["reason"] == "agent_lost"
    assert first["paid_micro"] > 0
    second = until(buyer, order_id, lambda o: o["continued_by"])["continued_by"]
    wait_for(
        lambda: any("goes on from a checkpoint" in line for line in log_of(buyer, second)) or None,
        120,
        "resumed",
    )
    assert buyer.get(f"/v1/orders/{second}")["contract"]["seller"] == other.peer_id
    buyer.post(f"/v1/orders/{second}/cancel")
    buyer.order_until(second, _told, 120)
    other.post("/v1/compute/stop")
    assert market.money() == 3 * START_MICRO
    away = machine(provider, "tower")
    assert (away["connected"], away["state"], away["jobs"]) == (False, "away", [])
    refused = market.rent(offer, params=LONG)
    assert until(buyer, refused, lambda o: o["final"])["outcome"]["reason"] == "machine_busy"
    with pytest.raises(OpenstallError) as caught:
        market.offer()
    assert caught.value.code == "no_machine"
    rig.process = start_rig(rig.home).process
    wait_ready(provider, "tower", rig)


def test_a_node_that_is_killed_while_its_rig_works(market: Market, rig: RigProcess) -> None:
    """The rig ends the job, comes back by itself, and takes the next one; nothing is stranded."""
    provider, buyer = market.provider, market.seller
    order_id = working(market)
    restart(provider, WITHOUT_AGENT)
    order = buyer.order_until(order_id, _told, 120)
    assert order["job"]["result"]["reason"] == "provider_restarted"
    wait_ready(provider, "tower", rig)
    assert rig_command(rig.home, "show")["state"]["jobs_running"] == 0
    short = {**LONG, "epochs": 2}
    again = market.rent(market.offer(), params=short)
    assert buyer.order_until(again, _told, 120)["job"]["result"]["state"] == "done"
    assert market.money() == 3 * START_MICRO


def test_only_paired_rigs_and_a_code_only_once(market: Market, rig: RigProcess) -> None:
    provider, stranger = market.provider, market.folder / "stranger"
    stranger.mkdir()
    code = provider.post("/v1/compute/rigs/pair")["code"]
    second = market.folder / "second"
    second.mkdir()
    assert (
        rig_command(second, "pair", "--name", "second", "--code-file", "-", typed=code)["name"] == "provider"
    )
    used = run_verb(stranger, "pair", "--code-file", "-", typed=code)
    assert (used.returncode, json.loads(used.stdout or used.stderr)["error"]["code"]) == (1, "not_paired")
    names = [one["name"] for one in provider.get("/v1/compute/machines")["items"]]
    assert names == ["this machine", "tower", "second"]

    # a copy of the rig's book makes no rig: the node knows the key
    shutil.copytree(
        rig.home / "rig", stranger / "rig", dirs_exist_ok=True, ignore=shutil.ignore_patterns("peer.key")
    )
    wrong = start_rig(stranger)
    assert wrong.process.wait(60) == 1
    assert "not_paired" in wrong.said

    assert rig_command(second, "unpair")["node_told"]
    assert [one["name"] for one in provider.get("/v1/compute/machines")["items"]] == names[:2]


def test_the_owner_unpairs_a_rig(market: Market, rig: RigProcess) -> None:
    """The last one here: the rig ends by itself and works for nobody."""
    provider, buyer = market.provider, market.seller
    order_id = working(market)
    assert provider.post("/v1/compute/rigs/unpair", machine="tower")["name"] == "tower"
    assert rig.process.wait(60) == 1
    assert "unpaired" in rig.said
    assert rig_command(rig.home, "show")["node"] is None
    order = buyer.order_until(order_id, _told, 120)
    assert order["job"]["result"]["reason"] == "agent_lost"
    assert [one["name"] for one in provider.get("/v1/compute/machines")["items"]] == ["this machine"]
    assert market.money() == 3 * START_MICRO
