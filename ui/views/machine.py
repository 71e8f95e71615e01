"""What this machine has, and whether it is fit to run the jobs of strangers."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from openstall.market.house import read_rules
from openstall.ui import theme, words
from openstall.ui.house import House
from openstall.ui.trade import Check, Inventory, RuntimeState
from openstall.ui.views.machine_gauges import readings, unread
from openstall.ui.widgets.gauge import Gauge
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture, Provenance
from openstall.ui.widgets.text import Text

GPU_CHECK = "graphics cards"
"""What the node calls the check without which no job gets a graphics card."""
_NO_GRAPHICS = "none; jobs run on the processor"
Mark = tuple[str, theme.Tone]
_FIT: Mark = ("done", "good")
_UNKNOWN: Mark = ("warning", "care")
_UNFIT: dict[str, Mark] = {"error": ("error", "bad"), "warning": _UNKNOWN, "info": ("info", "muted")}


class MachinePanel(Panel):
    """Gauges with the owner's limits drawn in; the rest in words."""

    def __init__(self) -> None:
        super().__init__("This machine")
        self.gauges: dict[str, Gauge] = {}
        self._lines = column(spacing=theme.GRID)
        self._unread, self._rest = Text("", "small"), Text("", "small")
        self._unread.tone("care")
        self._unread.hide()
        self.body.addLayout(row(Provenance("measured"), 1))
        self.body.addLayout(self._lines)
        for widget in (self._unread, self._rest):
            self.body.addWidget(widget)

    def show_machine(self, inventory: Inventory, house: House, network_today_bytes: int) -> None:
        """Show what was read now, and the limits that hold now."""
        rules = read_rules(house.rules)
        found = readings(inventory, rules, house.sensors, network_today_bytes)
        if [one.name for one in found] != list(self.gauges):
            clear(self._lines)
            self.gauges = {one.name: Gauge(one.name) for one in found}
            for gauge in self.gauges.values():
                self._lines.addWidget(gauge)
        for one in found:
            self.gauges[one.name].show_value(one.percent, one.text, one.limit)
        missing = ", ".join(unread(rules, house.sensors))
        self._unread.say(f"Your limits of these cannot be watched here, so jobs wait: {missing}.")
        self._unread.setVisible(bool(missing))
        gpus = ", ".join(
            f"{words.one_line(gpu.name, 60)} ({words.memory(gpu.memory_bytes)}"
            f"{', not fit for jobs' if gpu.passed is False else ''})"
            for gpu in inventory.gpus
        )
        self._rest.say(
            f"{words.one_line(inventory.cpu_name, 80)}. "
            f"Graphics: {'. '.join(part for part in (gpus, inventory.gpu_note) if part) or _NO_GRAPHICS}"
        )


class DoctorPanel(Panel):
    """The checks that failed, each with its cause and its cure; those that passed on demand; the runtime."""

    asked_to_check = Signal()
    asked_to_install = Signal(bool)
    """Whether the runtime for graphics cards is meant."""

    def __init__(self) -> None:
        super().__init__("Is this machine fit to run the jobs of strangers?")
        self._shown: list[Check] | None = None
        self._failed, self._fit, self._passed = column(spacing=theme.GRID), column(), QWidget()
        self._fit.setSpacing(theme.GRID)
        self._passed.setLayout(self._fit)
        self._passed.hide()
        self._sum = Text("", "muted")
        self._more = button("S&how them", self._toggle, kind="quiet")
        self._more.hide()
        self._runtime = Text("", "muted")
        self._install = button(
            "&Install the runtime", lambda: self.asked_to_install.emit(False), icon="download"
        )
        self._install_gpu = button(
            "Install for &graphics cards",
            lambda: self.asked_to_install.emit(True),
            icon="download",
            description="The runtime with NVIDIA's libraries: 3 GB to download.",
        )
        line = row(self._runtime, self._install, self._install_gpu)
        line.setStretch(0, 1)
        head = row(self._sum, self._more)
        head.setStretch(0, 1)
        self.body.addLayout(self._failed)
        self.body.addLayout(head)
        self.body.addWidget(self._passed)
        self.body.addLayout(line)
        self.body.addLayout(row(1, button("Check a&gain", self.asked_to_check.emit, icon="refresh")))

    def show_checks(self, checks: list[Check], runtime: RuntimeState) -> None:
        """Show what the doctor found."""
        self._runtime.say(
            f"Runtime for jobs: {runtime.words or runtime.state or 'not known yet'}"
            + (f" · {words.size(runtime.size_bytes)}" if runtime.size_bytes else "")
        )
        self._install.setVisible(bool(runtime.state) and runtime.state != "ready")
        without = any(check.name == GPU_CHECK and not check.ok for check in checks)
        self._install_gpu.setVisible(without and runtime.packages.get("torch", "").endswith("+cpu"))
        if checks == self._shown:
            return
        self._shown = checks
        clear(self._failed)
        clear(self._fit)
        fit = [check for check in checks if check.ok]
        for check in checks:
            if not check.ok:
                self._failed.addLayout(_line(check))
        for check in fit:
            self._fit.addLayout(_line(check))
        if not checks:
            self._sum.say("Not checked yet.")
        elif len(fit) == len(checks):
            self._sum.say(f"Yes: all {len(fit)} checks passed.")
        else:
            self._sum.say(f"{words.plural(len(fit), 'check')} passed.")
        self._more.setVisible(bool(fit))

    def _toggle(self) -> None:
        shows = self._passed.isHidden()
        self._passed.setVisible(shows)
        self._more.setText("&Hide them" if shows else "S&how them")
        self._more.setAccessibleName(self._more.text().replace("&", ""))


def _line(check: Check) -> QHBoxLayout:
    icon, tone = _FIT if check.ok else _UNFIT.get(check.severity, _UNKNOWN)
    texts = column(Text(words.one_line(check.name, 120), "strong"), Text(check.cause, "muted"), spacing=0)
    if check.fix and not check.ok:
        texts.addWidget(Text(check.fix, select=True))
    line = row()
    line.addWidget(Picture(icon, tone), 0, Qt.AlignmentFlag.AlignTop)
    line.addLayout(texts, 1)
    return line
