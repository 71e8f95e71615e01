"""The house rules on the desktop: what is written there holds in the node; what cannot be read is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hands import push
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.main_window import MainWindow
from openstall.ui.views.house import HousePage
from openstall.ui.views.sell import SellPage

WAIT_MS = 60_000


@pytest.fixture(autouse=True)
def no_rules(peer: DemoPeer) -> Iterator[None]:
    peer.post("/v1/compute/house", rules={})
    yield
    peer.post("/v1/compute/house", rules={})


def show(qtbot: QtBot, window: MainWindow, spec: str) -> QWidget:
    window.show_view(spec)
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    return shell.page


def test_rules_that_are_written_hold_in_the_node(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    page = show(qtbot, window, "house")
    assert isinstance(page, HousePage)
    page._idle.on.setChecked(True)
    page._idle.number.setValue(7)
    page._apps.setText("steam, Blender")
    page._always.setChecked(False)
    page._days[5].setText("22:00-08:00")
    page._dates.setPlainText("2026-12-25 closed")
    page._maintenance.setPlainText("2026-12-24 18:00 to 2026-12-25 02:00 new fan")
    page._heat.on.setChecked(True)
    page._tariff.setText("0.35")
    page._watts.on.setChecked(True)
    page._memory.on.setChecked(True)
    push(qtbot, page, "Save the rules")
    qtbot.waitUntil(lambda: page.banner.message == "The rules hold from now on.", timeout=WAIT_MS)
    rules = peer.get("/v1/compute/house")["rules"]
    assert rules["idle_s"] == 420
    assert rules["exclusive_apps"] == ["steam", "Blender"]
    assert rules["hours"] == [[]] * 5 + [[{"start_min": 1320, "end_min": 480}], []]
    assert rules["exceptions"] == [{"day": "2026-12-25", "spans": []}]
    assert rules["maintenance"][0]["words"] == "new fan"
    assert rules["temperature_c_max"] == 80
    assert (rules["tariff_micro_per_kwh"], rules["stated_w"]) == (350_000, 60)
    assert rules["memory_bytes_cap"] == 2 * 2**30
    qtbot.waitUntil(lambda: "does not pay for the electricity" in page._floor.text(), timeout=WAIT_MS)


def test_what_cannot_be_read_is_said_and_nothing_is_saved(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    page = show(qtbot, window, "house")
    assert isinstance(page, HousePage)
    page._always.setChecked(False)
    page._days[0].setText("8 to 9")
    push(qtbot, page, "Save the rules")
    assert "8 to 9" in page.banner.message
    assert page._days[0].property("wrong")
    assert peer.get("/v1/compute/house")["rules"]["hours"] is None


def test_a_rule_that_nobody_changes_keeps_its_last_second(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    exact = {"idle_s": 90, "wait_s": 30, "memory_bytes_cap": 2**30 + 1, "devices_off": ["GPU-away"]}
    peer.post("/v1/compute/house", rules=exact)
    page = show(qtbot, window, "house")
    push(qtbot, page, "Save the rules")
    qtbot.waitUntil(lambda: page.banner.message == "The rules hold from now on.", timeout=WAIT_MS)
    rules = peer.get("/v1/compute/house")["rules"]
    assert {name: rules[name] for name in exact} == exact


def test_pause_and_resume(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    page = show(qtbot, window, "sell")
    assert isinstance(page, SellPage)
    push(qtbot, page, "Pause now")
    qtbot.waitUntil(lambda: "you paused it" in page._house._words.text(), timeout=WAIT_MS)
    assert peer.get("/v1/compute/house")["state"] == "paused"
    push(qtbot, page, "Resume")
    qtbot.waitUntil(lambda: page._house._words.text() == "Jobs may run.", timeout=WAIT_MS)
    assert peer.get("/v1/compute/house")["state"] == "open"


def test_from_the_page_to_the_rules_and_back(qtbot: QtBot, window: MainWindow) -> None:
    page = show(qtbot, window, "sell")
    push(qtbot, page, "House rules…")
    shell = window.shell
    assert shell is not None
    assert shell.spec == "house"
    push(qtbot, shell.page, "Back to Sell compute")
    assert shell.spec == "sell"
