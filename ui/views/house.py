"""House rules: when, how hot and how loud this computer may work for others, and what it costs the owner."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from openstall.market.errors import Refused
from openstall.market.house import HouseRules, read_rules
from openstall.market.house_hours import (
    format_dates,
    format_maintenance,
    format_times,
    parse_dates,
    parse_maintenance,
    parse_times,
)
from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.house import House
from openstall.ui.views.page import Page
from openstall.ui.widgets.inputs import AmountField, NumberField, Tick, mark_wrong
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.text import Text

GIB = 2**30
NO_READING = "cannot be read here"
MINUTE_S = 60
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LINES_HIGH = 66
FIELD_WIDTH = 96
LABEL_WIDTH = 212


class Limit(QWidget):
    """A rule that can be switched on: a tick, a number with its unit, and what the sensor says now."""

    def __init__(self, label: str, value: int, least: int, most: int, unit: str) -> None:
        super().__init__()
        self.on = Tick(label)
        self.on.setMinimumWidth(LABEL_WIDTH)
        self.number = NumberField(value, least, most, suffix=unit)
        self.number.setFixedWidth(FIELD_WIDTH)
        self.number.setAccessibleName(f"{label}, {unit}")
        self.now = Text("", "small", wrap=False)
        self.on.toggled.connect(self.number.setEnabled)
        self.number.setEnabled(False)
        self.setLayout(row(self.on, self.number, 1, self.now))

    def value(self) -> int | None:
        """The number, or None while the rule is off."""
        return self.number.value() if self.on.isChecked() else None

    def show_value(self, value: int | None) -> None:
        """Show a rule of the node."""
        self.on.setChecked(value is not None)
        if value is not None:
            self.number.setValue(value)

    def show_now(self, reading: str) -> None:
        """What the sensor says; an empty reading means that there is none."""
        self.now.say(reading or NO_READING)


class HousePage(Page):
    """The form; it is saved as a whole, and holds at once."""

    listens = frozenset({"status"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "House rules",
            "They always win. A job stands still when a rule says so, and costs its buyer nothing meanwhile.",
            back="Back to Sell compute",
        )
        self._filled = False
        self._rules = HouseRules()
        self._save = button("&Save the rules", self._send, icon="check", kind="primary")
        self._save.setEnabled(False)
        self.tools.addWidget(self._save)
        self._devices: dict[str, Tick] = {}
        left = column(self._use_panel(), self._hours_panel(), 1, spacing=2 * theme.GRID)
        right = column(
            self._limits_panel(), self._caps_panel(), self._money_panel(), 1, spacing=2 * theme.GRID
        )
        both = row(left, right, spacing=2 * theme.GRID)
        both.setStretch(0, 1)
        both.setStretch(1, 1)
        self.body.addLayout(both)
        self.body.addStretch(1)

    def _use_panel(self) -> Panel:
        panel = Panel("While you need the computer")
        self._idle = Limit("Untouched for at least", 5, 1, 1440, "min")
        self._mains = Tick("Only on mains power")
        self._unmetered = Tick("Only on a flat-rate network")
        self._mains_now, self._network_now = Text("", "small", wrap=False), Text("", "small", wrap=False)
        self._apps = QLineEdit()
        self._apps.setPlaceholderText("steam, blender")
        self._wait = NumberField(10, 0, 1440, suffix="min")
        self._wait.setFixedWidth(FIELD_WIDTH)
        for line in (
            self._idle,
            row(self._mains, 1, self._mains_now),
            row(self._unmetered, 1, self._network_now),
        ):
            panel.body.addWidget(line) if isinstance(line, QWidget) else panel.body.addLayout(line)
        facts = Facts()
        facts.add("Never while these programs run", self._apps)
        facts.add("A job that must wait is ended after", self._wait)
        panel.body.addLayout(facts)
        panel.body.addWidget(
            Text("Names of programs are compared on this computer only. Nobody else is told.", "small")
        )
        return panel

    def _hours_panel(self) -> Panel:
        panel = Panel("Hours")
        self._always = Tick("At any hour")
        self._always.toggled.connect(self._hours_changed)
        panel.body.addWidget(self._always)
        facts = Facts()
        facts.setVerticalSpacing(theme.GRID // 2)
        self._days = [QLineEdit() for _ in DAY_NAMES]
        for name, field in zip(DAY_NAMES, self._days, strict=True):
            field.setPlaceholderText("closed")
            facts.add(name, field)
        panel.body.addLayout(facts)
        panel.body.addWidget(
            Text("Write 18:00-08:00 for a night; 08:00-12:00, 13:00-17:00 for two parts.", "small")
        )
        self._dates, self._maintenance = QPlainTextEdit(), QPlainTextEdit()
        self._dates.setPlaceholderText("2026-12-25 closed")
        self._maintenance.setPlaceholderText("2026-12-24 18:00 to 2026-12-25 02:00 new fan")
        more = Facts()
        for name, lines in (("Other hours on a date", self._dates), ("Maintenance", self._maintenance)):
            lines.setFixedHeight(LINES_HIGH)
            lines.setTabChangesFocus(True)
            more.add(name, lines)
        panel.body.addLayout(more)
        panel.body.addWidget(Text("Buyers whose job a maintenance would hit are told in advance.", "small"))
        return panel

    def _limits_panel(self) -> Panel:
        panel = Panel("Limits")
        self._load = Limit("Other programs at most", 30, 1, 100, "%")
        self._heat = Limit("Temperature at most", 80, 30, 110, "°C")
        self._noise = Limit("Fan noise at most", 60, 1, 100, "%")
        self._fan = Limit("Fan speed at most", 2000, 100, 20_000, "rpm")
        self._power = Limit("Power drawn at most", 150, 1, 10_000, "W")
        self._limits = (self._load, self._heat, self._noise, self._fan, self._power)
        for limit in self._limits:
            panel.body.addWidget(limit)
        panel.body.addWidget(
            Text(
                "Fan noise is the fastest fan's part of its full speed. A rule that cannot be read here "
                "holds all jobs back until you switch it off.",
                "small",
            )
        )
        return panel

    def _caps_panel(self) -> Panel:
        panel = Panel("What jobs may take together")
        self._threads = Limit("Threads at most", 1, 1, 4096, "")
        self._memory = Limit("Memory at most", 2, 1, 4096, "GiB")
        self._disk = Limit("Disk at most", 2, 1, 4096, "GiB")
        self._network = Limit("Network in a day at most", 10, 1, 4096, "GiB")
        self._memory_free = Limit("Memory kept free", 1, 1, 4096, "GiB")
        self._disk_free = Limit("Disk kept free", 5, 1, 4096, "GiB")
        self._caps = {
            "memory_bytes_cap": self._memory,
            "disk_bytes_cap": self._disk,
            "network_bytes_day_cap": self._network,
            "memory_free_bytes_min": self._memory_free,
            "disk_free_bytes_min": self._disk_free,
        }
        for limit in (self._threads, *self._caps.values()):
            panel.body.addWidget(limit)
        self._device_lines = column(spacing=theme.GRID)
        panel.body.addLayout(self._device_lines)
        return panel

    def _money_panel(self) -> Panel:
        panel = Panel("Electricity")
        self._tariff = AmountField("", name="Price of a kilowatt-hour in credits")
        self._watts = Limit("Working draws more by", 60, 1, 10_000, "W")
        self._floor = Text("", "muted")
        facts = Facts()
        facts.add("Price of 1 kWh in credits", self._tariff)
        panel.body.addLayout(facts)
        panel.body.addWidget(self._watts)
        self._origins = {"measured": Provenance("measured"), "stated": Provenance("stated")}
        panel.body.addLayout(row(*self._origins.values(), 1))
        panel.body.addWidget(self._floor)
        return panel

    def load(self) -> None:
        self.desk.api.get("/v1/compute/house", House, self._show, owner=self, failed=self.fail)

    def _show(self, house: House) -> None:
        self._show_sensors(house)
        if not self._filled:
            try:
                self._fill(read_rules(house.rules))
            except Refused as error:
                self.banner.say("bad", error.message, error.what_next, code=error.code)
            self._filled = True
            self._save.setEnabled(True)
        self.mark_loaded()

    def _show_sensors(self, house: House) -> None:
        now = house.sensors
        self._idle.show_now(
            "" if now.input_idle_ms is None else f"last touch {words.span(now.input_idle_ms // 1000)} ago"
        )
        self._mains_now.say("now on its battery" if now.on_battery else "now on mains power")
        self._network_now.say(
            {None: NO_READING, True: "now paid by volume", False: "now flat-rate"}[now.metered]
        )
        readings = (now.others_percent, now.temperature_c, now.fan_percent, now.fan_rpm)
        for limit, reading, unit in zip(self._limits, readings, ("%", "°C", "%", "rpm"), strict=False):
            limit.show_now("" if reading is None else f"now {reading} {unit}")
        self._power.show_now("" if now.power_mw is None else f"now {now.power_mw / 1000:.0f} W")
        self._memory_free.show_now(f"now {words.memory(now.memory_free_bytes)}")
        self._disk_free.show_now(f"now {words.memory(now.disk_free_bytes)}")
        for device in now.devices:
            if device.id not in self._devices:
                tick = self._devices[device.id] = Tick(f"Rent out {words.one_line(device.name, 60)}")
                tick.setChecked(device.id not in self._rules.devices_off)
                self._device_lines.addWidget(tick)
        self._origins["measured"].setVisible(now.power_mw is not None)
        self._origins["stated"].setVisible(now.power_mw is None)
        if house.floor_price_micro is None:
            self._floor.say("With both figures you are told which price pays for the electricity.")
        else:
            price = words.amount(house.floor_price_micro, symbol=self.desk.symbol)
            self._floor.say(f"A price below {price} per second does not pay for the electricity.")

    def _fill(self, rules: HouseRules) -> None:
        self._rules = rules
        self._idle.show_value(None if rules.idle_s is None else _whole(rules.idle_s, MINUTE_S))
        self._mains.setChecked(rules.mains_only)
        self._unmetered.setChecked(rules.unmetered_only)
        self._apps.setText(", ".join(rules.exclusive_apps))
        self._wait.setValue(_whole(rules.wait_s, MINUTE_S))
        self._always.setChecked(rules.hours is None)
        for field, spans in zip(self._days, rules.hours or [()] * len(self._days), strict=True):
            field.setText(format_times(spans))
        self._dates.setPlainText(format_dates(rules.exceptions))
        self._maintenance.setPlainText(format_maintenance(rules.maintenance))
        self._load.show_value(rules.others_percent_max)
        self._heat.show_value(rules.temperature_c_max)
        self._noise.show_value(rules.noise_percent_max)
        self._fan.show_value(rules.fan_rpm_max)
        self._power.show_value(rules.power_w_max)
        self._threads.show_value(rules.threads_cap)
        for name, limit in self._caps.items():
            held = getattr(rules, name)
            limit.show_value(_whole(held, GIB) if held else None)
        self._tariff.setText(words.amount(rules.tariff_micro_per_kwh) if rules.tariff_micro_per_kwh else "")
        self._watts.show_value(rules.stated_w)

    def _hours_changed(self, always: bool) -> None:  # noqa: FBT001 - a slot
        for field in self._days:
            field.setEnabled(not always)

    def _send(self) -> None:
        try:
            rules = self._form()
        except Refused as error:
            self.banner.say("care", error.message, error.what_next, code=error.code)
            return
        self._save.setEnabled(False)
        self.desk.api.post(
            "/v1/compute/house", {"rules": rules}, House, self._saved, owner=self, failed=self._not_saved
        )

    def _saved(self, house: House) -> None:
        self._save.setEnabled(True)
        self._filled = False
        self._show(house)
        self.banner.say("good", "The rules hold from now on.", house.words)

    def _not_saved(self, failure: Any) -> None:
        self._save.setEnabled(True)
        self.banner.fail(failure)

    def _form(self) -> dict[str, Any]:
        """The rules as the node takes them.

        Raises:
            Refused: a field cannot be read.
        """
        idle_min, tariff = self._idle.value(), self._tariff.micro
        if self._tariff.text().strip() and tariff is None:
            raise Refused("bad_amount", self._tariff.why)
        apps = [name.strip() for name in self._apps.text().split(",") if name.strip()]
        off = [one for one in self._rules.devices_off if one not in self._devices]
        off += [one for one, tick in self._devices.items() if not tick.isChecked()]
        caps = {
            name: _exact(limit.value() or 0, GIB, getattr(self._rules, name))
            for name, limit in self._caps.items()
        }
        value = {
            "idle_s": None if idle_min is None else _exact(idle_min, MINUTE_S, self._rules.idle_s),
            "hours": None if self._always.isChecked() else [self._day(field) for field in self._days],
            "exceptions": parse_dates(self._dates.toPlainText()),
            "maintenance": parse_maintenance(self._maintenance.toPlainText()),
            "exclusive_apps": apps,
            "mains_only": self._mains.isChecked(),
            "unmetered_only": self._unmetered.isChecked(),
            "others_percent_max": self._load.value(),
            "temperature_c_max": self._heat.value(),
            "noise_percent_max": self._noise.value(),
            "fan_rpm_max": self._fan.value(),
            "power_w_max": self._power.value(),
            "threads_cap": self._threads.value(),
            **{name: held or (None if name.endswith("_cap") else 0) for name, held in caps.items()},
            "devices_off": off,
            "wait_s": _exact(self._wait.value(), MINUTE_S, self._rules.wait_s),
            "tariff_micro_per_kwh": tariff or 0,
            "stated_w": self._watts.value(),
        }
        plain: dict[str, Any] = msgspec.to_builtins(read_rules(msgspec.to_builtins(value)))
        return plain

    def _day(self, field: QLineEdit) -> list[Any]:
        text = field.text().strip()
        try:
            spans = parse_times(text) if text else []
        except Refused as error:
            mark_wrong(field, wrong=True, why=error.message)
            raise
        mark_wrong(field, wrong=False)
        return spans


def _whole(value: int, unit: int) -> int:
    """In whole units, rounded up."""
    return -(-value // unit)


def _exact(shown: int, unit: int, before: int | None) -> int:
    """What a number of units means: the value before, to the last second or byte, while nobody changed it."""
    return before if before is not None and _whole(before, unit) == shown else shown * unit
