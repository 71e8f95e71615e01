"""Your machines on the Sell compute page: this one and its rigs in one list, and what to do with each."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMessageBox, QPlainTextEdit, QPushButton, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.machines import Machine, Machines, PairingCode
from openstall.ui.widgets.gauge import Gauge
from openstall.ui.widgets.layout import Panel, button, column, row, rule
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.text import Text

_MARKS: dict[str, theme.Mark] = {
    "open": ("open", "done", "good"),
    "full": ("no new job", "warning", "care"),
    "closed": ("paused by a rule", "clock", "care"),
    "paused": ("paused by you", "stop", "care"),
    "refused": ("not fit", "error", "bad"),
    "starting": ("starting", "pending", "muted"),
    "off": ("runs no jobs", "stop", "muted"),
    "away": ("not connected", "warning", "care"),
}
_ALONE = (
    "Only this machine works for this node. Another computer of yours can work for it too: it needs "
    "Openstall and a way to reach this one over the network, but no wallet."
)


class MachineRow(QWidget):
    """One machine: state and why, gauges, jobs, buttons."""

    asked = Signal(str, str)
    """`pause`, `resume` or `unpair`, and the machine's key."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self._name, self._about = Text("", "strong"), Text("", "small")
        self._badge = Badge()
        self._words, self._jobs = Text("", "muted"), Text("", "small")
        self._cpu, self._memory = Gauge("Processor"), Gauge("Memory")
        self._pause = button("Pause", self._toggle, icon="stop")
        self._unpair = button(
            "Unpair…",
            lambda: self.asked.emit("unpair", self.machine.key),
            icon="cancel",
            description="The machine works for this node no more. Jobs on it are lost.",
        )
        buttons = row(self._pause, self._unpair)
        head = row(self._name, self._badge, 1, buttons)
        self._gauges = QWidget()
        self._gauges.setLayout(row(self._cpu, self._memory, spacing=3 * theme.GRID))
        parts = (head, self._about, self._words, self._gauges, self._jobs)
        self.setLayout(column(*parts, spacing=4))
        self.show_machine(machine)

    def show_machine(self, machine: Machine) -> None:
        """Show what the node says of it."""
        self.machine = machine
        name = "This machine" if machine.this else words.one_line(machine.name, 60)
        self._name.say(name)
        self._badge.mark(*_MARKS.get(machine.state, (machine.state, "warning", "muted")))
        self._about.say(_about(machine))
        self._about.setVisible(machine.connected)
        said = f"{machine.words} {machine.next_words}".strip()
        self._words.say(said)
        self._gauges.setVisible(machine.connected)
        if machine.connected:
            threads = words.plural(machine.threads, "thread")
            self._cpu.show_value(machine.load_percent, f"{machine.load_percent} % of {threads}")
            used = max(0, machine.memory_bytes - machine.memory_free_bytes)
            self._memory.show_value(
                words.percent(used, machine.memory_bytes),
                f"{words.memory(used)} of {words.memory(machine.memory_bytes)}",
            )
        self._jobs.say("\n".join(f"{words.one_line(job.title, 60)}: {job.stage}" for job in machine.jobs))
        self._jobs.setVisible(bool(machine.jobs))
        paused = machine.state == "paused"
        self._pause.setText("Resume" if paused else "Pause")
        self._pause.setAccessibleName(f"{self._pause.text()} {name}")
        self._unpair.setAccessibleName(f"Unpair {name}")
        # This machine has its own buttons at the top of the page.
        self._pause.setVisible(machine.connected and not machine.this)
        self._unpair.setVisible(not machine.this)

    def _toggle(self) -> None:
        self.asked.emit("resume" if self.machine.state == "paused" else "pause", self.machine.key)


class MachinesPanel(Panel):
    """The list, a code for another machine, and one button that has all of them back."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__("Your machines")
        self.desk = desk
        self.found = Machines()
        self._rows: dict[str, MachineRow] = {}
        self._words = Text("", "muted")
        self._list = column(spacing=2 * theme.GRID)
        self._code = QPlainTextEdit()
        self._code.setReadOnly(True)
        self._code.setAccessibleName("Pairing code")
        self._code.setFixedHeight(72)
        self._code_words = Text("", "small")
        self._copy = button("&Copy the code", self._copy_code, icon="copy")
        self._pair = button("Pair another machine…", self._ask_code, icon="network")
        self._all = button("Pause all", self._toggle_all, icon="stop")
        self._coded = QWidget()
        self._coded.setLayout(column(self._code_words, self._code, row(1, self._copy), spacing=theme.GRID))
        self._coded.hide()
        self.body.addWidget(self._words)
        self.body.addLayout(self._list)
        self.body.addWidget(self._coded)
        self.body.addLayout(row(1, self._all, self._pair))
        self._show(self.found)

    @property
    def has_rigs(self) -> bool:
        """Whether there is more than this machine."""
        return len(self.found.items) > 1

    @property
    def rig_ready(self) -> bool:
        """Whether a machine other than this one can take jobs."""
        return any(one.connected and not one.this and one.tier != "none" for one in self.found.items)

    @property
    def largest(self) -> tuple[int, int]:
        """The most threads and bytes of memory that a job may have on one of the machines."""
        there = [one for one in self.found.items if one.connected]
        return (
            max((one.most_threads for one in there), default=0),
            max((one.most_memory_bytes for one in there), default=0),
        )

    def refresh(self) -> None:
        """Ask the node how they are."""
        self.desk.api.get("/v1/compute/machines", Machines, self._show, owner=self, failed=self._failed)

    def _show(self, found: Machines) -> None:
        rigs = [one for one in found.items if not one.this]
        if len(rigs) > len([one for one in self.found.items if not one.this]):
            self._coded.hide()  # the code has done its work
        self.found = found
        self._words.say(
            _ALONE
            if not rigs
            else "\n".join(f"{one.machine}: {one.message} {one.what_next}" for one in found.troubles)
        )
        self._words.setVisible(not rigs or bool(found.troubles))
        self._fill(found.items if rigs else [])
        paused = all(one.state == "paused" for one in found.items if one.connected)
        self._all.setText("Resume all" if paused else "Pause all")
        self._all.setAccessibleName(self._all.text())
        self._all.setVisible(bool(rigs))
        self.changed.emit()

    def _fill(self, machines: list[Machine]) -> None:
        if list(self._rows) != [one.key for one in machines]:
            while self._list.count():
                item = self._list.takeAt(0)
                widget = item.widget() if item is not None else None
                if widget is not None:
                    widget.hide()
                    widget.deleteLater()
            self._rows = {}
            for one in machines:
                if self._rows:
                    self._list.addWidget(rule())
                made = self._rows[one.key] = MachineRow(one)
                made.asked.connect(self._act)
                self._list.addWidget(made)
        for one in machines:
            self._rows[one.key].show_machine(one)

    def _act(self, action: str, key: str) -> None:
        if action == "unpair":
            self._unpair(self._rows[key].machine)
            return
        self._do(action, key)

    def _do(self, action: str, machine: str) -> None:
        self.desk.api.post(
            f"/v1/compute/machines/{action}",
            {"machine": machine},
            Machines,
            self._show,
            owner=self,
            failed=self._failed,
        )

    def _toggle_all(self) -> None:
        self._do("resume" if self._all.text() == "Resume all" else "pause", "all")

    def _unpair(self, machine: Machine) -> None:
        if confirm_unpair(self, machine):
            self.desk.api.post(
                "/v1/compute/rigs/unpair",
                {"machine": machine.key},
                Nothing,
                lambda _: self.refresh(),
                owner=self,
                failed=self._failed,
            )

    def _ask_code(self) -> None:
        self.desk.api.post(
            "/v1/compute/rigs/pair", {}, PairingCode, self._show_code, owner=self, failed=self._failed
        )

    def _show_code(self, code: PairingCode) -> None:
        self._code.setPlainText(words.one_line(code.code, 4000))
        self._code_words.say(
            "On the other machine run “openstall rig pair” and paste this code, then “openstall rig run”. "
            f"It is good for one machine, until {words.moment(code.expires_at)}. Show it to nobody else."
        )
        self._coded.show()

    def _copy_code(self) -> None:
        QGuiApplication.clipboard().setText(self._code.toPlainText())
        self._code_words.say("The code is on the clipboard. Show it to nobody else.")

    def _failed(self, failure: Failure) -> None:
        self._words.say(f"{failure.message} {failure.what_next}".strip())
        self._words.show()


def confirm_unpair(parent: QWidget, machine: Machine) -> bool:
    """Ask before a machine is let go: the default keeps it."""
    box = QMessageBox(parent)
    box.setTextFormat(Qt.TextFormat.PlainText)  # the name is the other machine's
    box.setText(f"Unpair {words.one_line(machine.name, 60)}?")
    jobs = f" {words.plural(len(machine.jobs), 'job')} on it will be lost." if machine.jobs else ""
    box.setInformativeText(f"It works for this node no more.{jobs}")
    end = QPushButton("Unpair it")
    box.addButton(end, QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("Keep it", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.exec()
    return box.clickedButton() is end


def _about(machine: Machine) -> str:
    graphics = ", ".join(words.one_line(name, 60) for name in machine.gpus)
    parts = [
        words.one_line(machine.cpu, 80),
        graphics,
        f"sandbox: {machine.tier} tier",
        f"{words.plural(len(machine.jobs), 'job')} of {machine.places}",
    ]
    return " · ".join(part for part in parts if part)
