"""The owner's rules always win: real torch jobs are paused, not paid meanwhile, and go on, or end."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stage import Market, open_market
from touched_display import Display, touched_display

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for
from openstall.market.errors import OpenstallError

GAME = "quake-of-this-test"


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    with touched_display() as opened:
        yield opened


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, display: Display) -> Iterator[Market]:
    """Nodes that see the display of this test, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", display.name)
        for name in ("WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
            patch.delenv(name, raising=False)
        with open_market(tmp_path_factory.mktemp("market")) as opened:
            yield opened


@pytest.fixture(autouse=True)
def no_rules_before_and_after(market: Market) -> Iterator[None]:
    yield
    set_rules(market)


@contextmanager
def game(folder: Path) -> Iterator[None]:
    """A program of that name runs."""
    program = folder / GAME
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "600"]) as process:
        try:
            yield
        finally:
            process.kill()


def set_rules(market: Market, **rules: Any) -> dict[str, Any]:
    return market.provider.post("/v1/compute/house", rules=rules)


def house(market: Market) -> dict[str, Any]:
    return market.provider.get("/v1/compute/house")


def working(market: Market, order_id: str = "") -> str:
    """A job that has earned its first seconds."""
    order_id = order_id or market.rent_long(market.offer())
    market.seller.order_until(order_id, lambda order: order["job"]["seconds"] >= 1, 90)
    return order_id


def told(market: Market, order_id: str, words: str) -> None:
    """Until the buyer reads it in the job's log."""

    def look() -> bool | None:
        lines = market.seller.get(f"/v1/orders/{order_id}/log")["lines"]
        return any(words in line["text"] for line in lines) or None

    wait_for(look, 30, f"the buyer reads “{words}”")


def ended(market: Market, order_id: str) -> dict[str, Any]:
    return market.seller.order_until(
        order_id, lambda order: order["state"] == "settled" and order["job"]["result"] is not None, 120
    )


def test_a_job_waits_while_a_program_of_the_owner_runs_and_its_pause_is_not_paid(
    market: Market, tmp_path: Path
) -> None:
    set_rules(market, exclusive_apps=[GAME], stated_w=50, tariff_micro_per_kwh=300_000)
    params = {"task": "classification", "label": LABEL, "epochs": 2_500, "seed": 1}
    order_id = working(market, market.rent(market.offer(), params=params))
    with game(tmp_path):
        told(market, order_id, "[Paused: the owner of the machine needs it.")
        market.seller.order_until(
            order_id,
            lambda order: (order["progress"] or {}).get("stage", "").startswith("Paused by the provider"),
            30,
        )
        closed = house(market)
        assert (closed["state"], closed["jobs_waiting"], closed["jobs_running"]) == ("closed", 1, 0)
        assert GAME in closed["words"]
        assert closed["next_words"].startswith("One job waits")
        assert closed["returned"]["count"] >= 1
        seconds = market.seller.get(f"/v1/orders/{order_id}")["job"]["seconds"]
        wait_for(
            lambda: time.time() > closed["since"] + 6 or None, 20, "a pause that would show on the meter"
        )
        paused = market.seller.get(f"/v1/orders/{order_id}")
        assert paused["job"]["seconds"] == seconds
        assert paused["state"] == "running"
    told(market, order_id, "[The job goes on after a pause of")
    order = ended(market, order_id)
    assert order["job"]["result"]["state"] == "done"
    assert {item["name"] for item in order["job"]["artefacts"]} == {"model.onnx", "report.json"}
    assert order["paid_micro"] == order["job"]["seconds"] * 10_000
    begun = next(step["at"] for step in order["timeline"] if step["state"] == "running")
    stopped = next(step["at"] for step in order["timeline"] if step["state"] == "ended")
    assert order["job"]["seconds"] <= stopped - begun - 4
    said = "\n".join(line["text"] for line in market.seller.get(f"/v1/orders/{order_id}/log")["lines"])
    assert GAME not in said  # what the owner runs is nobody's business


def test_a_touch_of_the_owner_stops_a_job_until_the_computer_is_idle_again(
    market: Market, display: Display
) -> None:
    set_rules(market, idle_s=3)
    order_id = market.rent_long(market.offer())
    market.seller.order_until(order_id, lambda order: order["job"]["seconds"] >= 1, 90)
    display.touch()
    told(market, order_id, "[Paused: the owner of the machine needs it.")
    closed = house(market)
    assert closed["words"].endswith("you are using the computer.")
    assert "3 seconds after your last key press" in closed["next_words"]
    told(market, order_id, "[The job goes on after a pause of")
    market.provider.post("/v1/compute/stop", now=True)
    assert ended(market, order_id)["job"]["result"]["reason"] == "owner_stopped"


def test_a_job_that_has_waited_too_long_is_ended_and_paid_to_the_pause(
    market: Market, tmp_path: Path
) -> None:
    set_rules(market, exclusive_apps=[GAME], wait_s=2)
    order_id = working(market)
    with game(tmp_path):
        order = ended(market, order_id)
    assert order["job"]["result"]["reason"] == "house_rules"
    assert order["job"]["result"]["state"] == "cancelled"
    assert order["paid_micro"] == order["job"]["seconds"] * 10_000


def test_pause_by_hand_holds_until_resumed_and_outlives_a_new_order(market: Market) -> None:
    order_id = working(market)
    paused = market.provider.post("/v1/compute/pause")
    assert paused["state"] == "paused"
    assert paused["jobs_waiting"] == 1
    assert paused["returned_ms"] >= 0
    with pytest.raises(OpenstallError) as again:
        market.provider.post("/v1/compute/pause")
    assert again.value.code == "paused"
    told(market, order_id, "[Paused: the owner of the machine needs it.")
    market.provider.post("/v1/compute/resume")
    told(market, order_id, "[The job goes on after a pause of")
    market.seller.post(f"/v1/orders/{order_id}/cancel")
    assert ended(market, order_id)["job"]["result"]["reason"] == "cancelled"


def test_an_order_is_refused_while_the_house_is_closed_and_before_it_closes(market: Market) -> None:
    offer = market.offer()
    set_rules(market, hours=[[]] * 7)
    refused = market.rent(offer)
    order = market.seller.order_until(refused, lambda order: order["final"] or bool(order["trouble"]), 30)
    assert "owner of this machine needs it" in str(order)
    set_rules(market, maintenance=[soon(150, 3600)])
    short = market.rent(offer, max_s=200)
    order = market.seller.order_until(short, lambda order: order["final"] or bool(order["trouble"]), 30)
    assert "for rent for another" in str(order["timeline"]) + str(order["trouble"]), order


def test_the_days_traffic_has_a_cap(market: Market) -> None:
    offer = market.offer()
    set_rules(market, network_bytes_day_cap=100)
    order_id = market.rent(offer)
    order = market.seller.order_until(order_id, lambda order: order["final"] or bool(order["trouble"]), 30)
    assert "no room for the job's data today" in str(order)


def test_a_price_below_the_electricity_is_told(market: Market) -> None:
    set_rules(market, stated_w=1000, tariff_micro_per_kwh=1_000_000)
    terms = {
        "max_job_s": 300,
        "memory_bytes": 2**30,
        "threads": 1,
        "kinds": ["train"],
    }
    cheap = market.provider.post("/v1/compute/sell", price_per_s_micro=277, **terms)
    assert (cheap["floor_price_micro"], cheap["below_cost"]) == (278, True)
    fair = market.provider.post("/v1/compute/sell", price_per_s_micro=278, **terms)
    assert not fair["below_cost"]


def soon(after_s: int, long_s: int) -> dict[str, str]:
    """Maintenance that begins in a while, on the owner's clock."""
    moments = (time.time() + after_s, time.time() + after_s + long_s)
    starts, ends = (time.strftime("%Y-%m-%dT%H:%M", time.localtime(moment)) for moment in moments)
    return {"starts": starts, "ends": ends, "words": "new fan"}


def test_maintenance_is_announced_to_those_whom_it_will_hit(market: Market) -> None:
    order_id = working(market)
    set_rules(market, maintenance=[soon(7200, 3600)])
    told(market, order_id, "[The provider announces maintenance from")
    market.seller.post(f"/v1/orders/{order_id}/cancel")
    ended(market, order_id)


def test_an_offer_above_the_owners_caps_is_refused_both_ways(market: Market) -> None:
    market.offer(threads=1)
    with pytest.raises(OpenstallError) as caught:
        set_rules(market, memory_bytes_cap=2**30)
    assert caught.value.code == "above_cap"
    market.provider.post("/v1/compute/stop")
    set_rules(market, memory_bytes_cap=2**30)
    with pytest.raises(OpenstallError) as caught:
        market.offer()
    assert caught.value.code == "above_cap"


def test_earnings_minus_electricity_are_shown_and_written(market: Market, tmp_path: Path) -> None:
    """After the jobs above: what was earned is what was paid, and one line is by the owner's word."""
    set_rules(market, stated_w=50, tariff_micro_per_kwh=300_000)
    before = market.provider.get("/v1/compute/earnings")["items"]
    order_id = working(market)
    market.seller.post(f"/v1/orders/{order_id}/cancel")
    order = ended(market, order_id)
    [today] = wait_for(
        lambda: (
            [
                row
                for row in market.provider.get("/v1/compute/earnings")["items"]
                if row["jobs"] == (before[0]["jobs"] if before else 0) + 1
            ]
            or None
        ),
        30,
        "the job is in the books",
    )
    assert today["earned_micro"] == (before[0]["earned_micro"] if before else 0) + order["paid_micro"]
    assert today["energy_by"] in ("stated", "unknown", "measured")
    assert today["energy_j"] >= (before[0]["energy_j"] if before else 0) + 50
    files = {"csv": str(tmp_path / "earnings.csv"), "pdf": str(tmp_path / "earnings.pdf")}
    written = market.provider.post("/v1/compute/earnings/save", **files)["items"]
    assert written == list(files.values())
    lines = Path(files["csv"]).read_text().splitlines()
    assert lines[0].startswith("day,device,jobs,seconds,earned")
    assert lines[1].split(",")[2] == str(today["jobs"])
    assert Path(files["pdf"]).read_bytes().startswith(b"%PDF-1.4")
    with pytest.raises(OpenstallError) as caught:
        market.provider.post("/v1/compute/earnings/save", **files)
    assert caught.value.code == "file_exists"
