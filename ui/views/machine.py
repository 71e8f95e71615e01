"""What this machine has, and whether it is fit to run the jobs of strangers."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal

from openstall.ui import theme, words
from openstall.ui.trade import Check, Inventory, RuntimeState
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
    """Gauges of processor and memory; the rest in words."""

    def __init__(self) -> None:
        super().__init__("This machine")
        self._cpu, self._ram = Gauge("Processor"), Gauge("Memory")
        self._rest = Text("", "muted")
        self.body.addLayout(row(Provenance("measured"), 1))
        for widget in (self._cpu, self._ram, self._rest):
            self.body.addWidget(widget)

    def show_inventory(self, inventory: Inventory) -> None:
        """Show what was probed."""
        threads = words.plural(inventory.cores_logical, "thread")
        self._cpu.show_value(inventory.load_percent, f"{inventory.load_percent} % of {threads} busy")
        used = max(0, inventory.memory_bytes - inventory.memory_free_bytes)
        self._ram.show_value(
            words.percent(used, inventory.memory_bytes),
            f"{words.memory(used)} of {words.memory(inventory.memory_bytes)} used",
        )
        gpus = ", ".join(
            f"{words.one_line(gpu.name, 60)} ({words.memory(gpu.memory_bytes)})" for gpu in inventory.gpus
        )
        self._rest.say(
            f"{words.one_line(inventory.cpu_name, 80)}\n"
            f"{words.size(inventory.disk_free_bytes)} free on the disk\n"
            f"Graphics: {'. '.join(part for part in (gpus, inventory.gpu_note) if part) or _NO_GRAPHICS}"
        )


class DoctorPanel(Panel):
    """The checks, the failed ones first, each with its cause and its cure; and the runtime of jobs."""

    asked_to_check = Signal()
    asked_to_install = Signal(bool)
    """Whether the runtime for graphics cards is meant."""

    def __init__(self) -> None:
        super().__init__("Is this machine fit to run the jobs of strangers?")
        self._shown: list[Check] | None = None
        self._checks = column(spacing=theme.GRID)
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
        self.body.addLayout(self._checks)
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
        clear(self._checks)
        if not checks:
            self._checks.addWidget(Text("Not checked yet.", "muted"))
        for check in sorted(checks, key=lambda c: c.ok):
            icon, tone = _FIT if check.ok else _UNFIT.get(check.severity, _UNKNOWN)
            texts = column(
                Text(words.one_line(check.name, 120), "strong"), Text(check.cause, "muted"), spacing=0
            )
            if check.fix and not check.ok:
                texts.addWidget(Text(check.fix, select=True))
            line = row()
            line.addWidget(Picture(icon, tone), 0, Qt.AlignmentFlag.AlignTop)
            line.addLayout(texts, 1)
            self._checks.addLayout(line)
