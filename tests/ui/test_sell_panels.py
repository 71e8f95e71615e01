"""Parts of Sell compute: gauges with limits, earnings as bars, jobs, reliability, a price that moves."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.market.house import HouseRules
from openstall.ui import documents
from openstall.ui import theme as colours
from openstall.ui.autoprice import Autoprice
from openstall.ui.house import DayEarning, Sensors
from openstall.ui.main_window import MainWindow
from openstall.ui.reliability import Reliability, ReliabilityChange
from openstall.ui.theme import Theme
from openstall.ui.trade import Inventory, Order
from openstall.ui.views.demand import DemandPage
from openstall.ui.views.earnings import bars_of
from openstall.ui.views.jobs_panel import JobsPanel
from openstall.ui.views.machine_gauges import readings, unread
from openstall.ui.views.reliability import ReliabilityPanel
from openstall.ui.widgets.day_bars import DayBar, DayBars
from openstall.ui.widgets.gauge import Gauge, Limit, nearness

WAIT_MS = 60_000
TODAY = date(2026, 11, 28)
GIB = 2**30
MACHINE = Inventory(
    cores_logical=8,
    load_percent=40,
    memory_bytes=16 * GIB,
    memory_free_bytes=8 * GIB,
    disk_bytes=100 * GIB,
    disk_free_bytes=6 * GIB,
)


@pytest.fixture(autouse=True)
def _themed(app_theme: Theme) -> None:
    """Every widget is looked at in the real theme."""


def seen_colours(widget: QWidget) -> set[str]:
    image = widget.grab().toImage()
    return {
        QColor(image.pixel(x, y)).name() for x in range(0, image.width(), 2) for y in range(image.height())
    }


def test_a_gauge_draws_its_limit_and_says_when_it_is_near(qtbot: QtBot) -> None:
    gauge = Gauge("Temperature")
    qtbot.addWidget(gauge)
    gauge.resize(300, 60)
    limit = Limit(percent=80, words="your limit: 88 °C")
    gauge.show()
    gauge.show_value(50, "55 °C")
    text = QColor(colours.LIGHT.text).name()
    without = gauge._bar.grab().toImage()
    assert QColor(without.pixel(int(0.8 * without.width()), 2)).name() != text
    gauge.show_value(50, "55 °C", limit)
    drawn = gauge._bar.grab().toImage()
    assert QColor(drawn.pixel(int(0.8 * drawn.width()), 2)).name() == text
    assert gauge._bar.accessibleDescription() == "55 °C. your limit: 88 °C"
    gauge.show_value(75, "82 °C", limit)
    assert gauge._limit.text() == "your limit: 88 °C · near your limit"
    assert QColor(colours.LIGHT.care).name() in seen_colours(gauge)
    gauge.show_value(80, "88 °C", limit)
    assert gauge._limit.text() == "your limit: 88 °C · at your limit"
    assert QColor(colours.LIGHT.bad).name() in seen_colours(gauge)


@pytest.mark.parametrize(("percent", "near"), [(71, ""), (72, "near"), (79, "near"), (80, "at"), (99, "at")])
def test_how_near_a_figure_is(percent: int, near: str) -> None:
    assert nearness(percent, Limit(percent=80, words="")) == near
    assert nearness(percent, Limit(percent=80, words="", holds=False)) == ""
    assert nearness(percent, None) == ""


def test_every_limit_that_can_be_watched_stands_on_its_gauge() -> None:
    rules = HouseRules(
        threads_cap=4,
        memory_free_bytes_min=4 * GIB,
        disk_free_bytes_min=5 * GIB,
        temperature_c_max=77,
        fan_rpm_max=2_000,
        noise_percent_max=60,
        power_w_max=100,
        others_percent_max=50,
        network_bytes_day_cap=10 * GIB,
    )
    sensors = Sensors(temperature_c=70, fan_rpm=1_000, fan_percent=55, power_mw=95_000, others_percent=10)
    found = {one.name: one for one in readings(MACHINE, rules, sensors, 9 * GIB)}
    limits = {name: (one.limit.percent if one.limit else None) for name, one in found.items()}
    assert limits == {
        "Processor": None,
        "Processor for jobs": 50,
        "Other programs": 50,
        "Memory": 75,
        "Disk": 95,
        "Temperature": 70,
        "Fan": 80,
        "Fan noise": 60,
        "Power drawn": 80,
        "Network today": 80,
    }
    near = {name for name, one in found.items() if nearness(one.percent, one.limit)}
    assert near == {"Disk", "Temperature", "Fan noise", "Power drawn", "Network today"}
    assert found["Power drawn"].text == "95 W"
    assert found["Processor for jobs"].percent == 30
    plain = [one.name for one in readings(MACHINE, HouseRules(), Sensors(), 0)]
    assert plain == ["Processor", "Memory", "Disk"]


def test_a_limit_that_nothing_reads_is_named() -> None:
    rules = HouseRules(temperature_c_max=80, power_w_max=100)
    assert unread(rules, Sensors(power_mw=5)) == ["temperature"]


def earning(day: str, earned: int, cost: int | None, device: str = "processor") -> DayEarning:
    return DayEarning(
        day=day,
        device=device,
        jobs=2,
        earned_micro=earned,
        cost_micro=cost or 0,
        energy_by="unknown" if cost is None else "measured",
        net_micro=None if cost is None else earned - cost,
    )


def test_the_devices_of_a_day_are_one_bar_and_one_unknown_makes_it_unknown() -> None:
    days = [
        earning("2026-11-28", 100, 30),
        earning("2026-11-28", 50, 5, "gpu"),
        earning("2026-11-27", 100, 30),
        earning("2026-11-27", 50, None, "gpu"),
    ]
    assert bars_of(days) == [
        DayBar(day=date(2026, 11, 28), jobs=4, earned_micro=150, cost_micro=35),
        DayBar(day=date(2026, 11, 27), jobs=4, earned_micro=150, cost_micro=None),
    ]


@pytest.fixture
def bars(qtbot: QtBot) -> DayBars:
    made = DayBars()
    qtbot.addWidget(made)
    made.resize(600, 168)
    made.show()
    return made


def days_ago(count: int, earned: int, cost: int | None) -> DayBar:
    return DayBar(day=TODAY - timedelta(days=count), jobs=1, earned_micro=earned, cost_micro=cost)


def test_a_loss_lies_below_the_line_and_every_part_is_drawn(bars: DayBars, app_theme: Theme) -> None:
    shown = [days_ago(0, 500_000, 200_000), days_ago(3, 100_000, 400_000), days_ago(6, 300_000, None)]
    bars.show_days(shown, TODAY)
    assert bars._range() == (-300_000, 500_000)
    for palette in (colours.LIGHT, colours.DARK):
        app_theme.choose("light" if palette is colours.LIGHT else "dark")
        seen = seen_colours(bars)
        assert {QColor(one).name() for one in (palette.accent, palette.care, palette.bad)} <= seen
    assert bars.said == (
        "Last 30 days: earned 0.90, electricity 0.60, net 0.00 (without 1 day whose energy is not known)."
    )
    bars.show_days(shown[:2], TODAY)
    assert bars.said == "Last 30 days: earned 0.60, electricity 0.60, net 0.00."


def test_days_are_told_by_keyboard_and_to_those_who_listen(qtbot: QtBot, bars: DayBars) -> None:
    bars.show_days([days_ago(0, 500_000, 200_000), days_ago(1, 300_000, None)], TODAY)
    said: list[str] = []
    bars.chosen.connect(said.append)
    qtbot.keyClick(bars, Qt.Key.Key_Left)
    qtbot.keyClick(bars, Qt.Key.Key_Left)
    qtbot.keyClick(bars, Qt.Key.Key_Home)
    qtbot.keyClick(bars, Qt.Key.Key_Escape)
    assert said[0].endswith("1 job, earned 0.50, electricity 0.20, net +0.30.")
    assert said[1].endswith("1 job, earned 0.30; what the electricity cost is not known.")
    assert said[2].endswith(": no job.")
    assert said[3].startswith("Last 30 days")
    assert bars.accessibleDescription().startswith("Last 30 days")


def test_without_a_job_in_the_last_days_it_says_so(bars: DayBars) -> None:
    bars.show_days([days_ago(31, 5, 1)], TODAY)
    assert bars.said == "No job in the last 30 days."
    assert not bars.grab().isNull()


def job(order_id: str, state: str) -> Order:
    return Order(order_id=order_id, kind="compute", role="seller", title="Train", state=state)


def answer(label: str) -> None:
    """Press a button of the box that is about to open."""

    def press() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, press)
            return
        assert box.defaultButton().text() == "Let it finish"
        next(one for one in box.findChildren(QPushButton) if one.text() == label).click()

    QTimer.singleShot(0, press)


def test_the_running_job_is_on_top_and_chosen_and_is_ended_only_on_a_second_word(qtbot: QtBot) -> None:
    panel = JobsPanel()
    qtbot.addWidget(panel)
    panel.show()
    stopped: list[str] = []
    panel.asked_to_stop.connect(stopped.append)
    panel.show_jobs([job("a", "settled"), job("b", "running"), job("c", "funded")])
    assert panel.table.model.key_of(0) == "b"
    assert panel.table.current_key() == "b"
    answer("Let it finish")
    panel._stop.click()
    assert stopped == []
    answer("End it")
    panel._stop.click()
    assert stopped == ["b"]
    panel.table.choose("c")
    panel._stop.click()
    assert stopped == ["b", "c"], "one that only waits costs its buyer nothing"
    panel.table.choose("a")
    assert not panel._stop.isEnabled()


def test_each_change_of_the_reliability_has_its_date_points_and_remedy(qtbot: QtBot) -> None:
    panel = ReliabilityPanel()
    qtbot.addWidget(panel)
    panel.show()
    lost = ReliabilityChange(
        at=1_780_000_000,
        what="owner_ended",
        order_id="ab" * 32,
        aged=-4,
        points=-1_697,
        score=3_561,
        words="The owner stopped the job.",
        mend="Let it finish.",
        done_to_mend=3,
    )
    found = Reliability(
        words="New.", score=3_561, good_milli=3_000, counts={"done": 3}, items=[lost], total=1
    )
    panel.show_reliability(found)
    row = [panel.table.model.index(0, at).data() for at in range(4)]
    assert row[1:] == ["The owner stopped the job.", "\N{MINUS SIGN}0.04", "\N{MINUS SIGN}16.97"]
    assert row[0]
    assert "3 jobs done would bring it back. Let it finish." in panel.table.model.index(0, 1).data(
        Qt.ItemDataRole.ToolTipRole
    )
    assert (panel._figure.text(), panel._counts.text()) == ("35.61 %", "3 jobs done")
    panel.show_reliability(Reliability(words="Nothing has been seen yet."))
    assert panel._figure.text() == "—"


def test_the_price_follows_within_the_limits_that_were_written(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    window.show_view("demand")
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    page = shell.page
    assert isinstance(page, DemandPage)
    follow = page.follow
    assert follow._state.text() == "Off: the price stays as you set it."
    follow.on.setChecked(True)
    follow._save.click()
    assert "at least after electricity" in follow._state.text()
    assert peer.get("/v1/compute/autoprice")["on"] is False
    follow.floor.setText("0.02")
    follow.ceiling.setText("0.01")
    follow._save.click()
    qtbot.waitUntil(lambda: "ceiling lies below the floor" in follow._state.text(), timeout=WAIT_MS)
    follow.ceiling.setText("0.08")
    follow.step.setValue(7)
    follow.hours.setValue(6)
    follow._save.click()
    qtbot.waitUntil(lambda: "not on offer" in follow._state.text(), timeout=WAIT_MS)
    found = peer.get("/v1/compute/autoprice")
    assert found["on"] is True
    assert found["rules"] == {
        "floor_micro": 20_000,
        "ceiling_micro": 80_000,
        "step_bps": 700,
        "pace_s": 21_600,
    }
    exact = {"floor_micro": 7, "ceiling_micro": 9, "step_bps": 350, "pace_s": 4_000}
    follow._saved(documents.read(peer.post("/v1/compute/autoprice", on=False, rules=exact), Autoprice))
    follow._save.click()
    qtbot.waitUntil(follow._save.isEnabled, timeout=WAIT_MS)
    assert peer.get("/v1/compute/autoprice")["rules"] == exact, "what nobody changed stays to the last part"
