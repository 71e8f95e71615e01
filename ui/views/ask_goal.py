"""Ask for a model: the column to find out, when a model is good enough, and training data for the winner."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QWidget

from openstall.ui import theme, words
from openstall.ui.requests import FIGURE_WORDS, TableLook
from openstall.ui.widgets.inputs import Choice, FileDrop, Tick, mark_wrong
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.text import Text

METRICS = {"classification": ("accuracy", "macro_f1", "auc"), "regression": ("rmse", "mae")}
TASKS = (
    ("As the column looks", ""),
    ("One of several classes", "classification"),
    ("A number", "regression"),
)
BYTES_IN_MB = 1_000_000
NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?")
_TICK_WIDTH = 232


class LeftOut(QPushButton):
    """Columns that no model is given: a menu with a tick for each."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("none")
        self.setProperty("kind", "pick")
        self.setAutoDefault(False)
        self.setAccessibleName("Columns to leave out")
        self._menu = QMenu(self)
        self._menu.setAccessibleName("Columns to leave out")
        self.setMenu(self._menu)

    def offer(self, names: list[str]) -> None:
        """Let the reader choose among these; what was chosen stays so."""
        if [action.data() for action in self._menu.actions()] == names:
            return
        kept = set(self.names())
        self._menu.clear()
        for name in names:
            action = self._menu.addAction(words.one_line(name, 60).replace("&", "&&"))
            action.setData(name)
            action.setCheckable(True)
            action.setChecked(name in kept)
            action.toggled.connect(lambda _on: self._chosen())
        self._say()
        if set(self.names()) != kept:
            self.changed.emit()

    def names(self) -> list[str]:
        """Those that were chosen."""
        return [str(action.data()) for action in self._menu.actions() if action.isChecked()]

    def _chosen(self) -> None:
        self._say()
        self.changed.emit()

    def _say(self) -> None:
        names = self.names()
        shown = ", ".join(words.one_line(name, 24) for name in names[:3]).replace("&", "&&")
        self.setText(shown + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none")


class FloorRow(QWidget):
    """A second demand that can be switched on: a tick, its limit, and its unit."""

    changed = Signal()

    def __init__(self, name: str, label: str, example: str, unit: str) -> None:
        super().__init__()
        self.name = name
        self.on = Tick(label)
        self.on.setMinimumWidth(_TICK_WIDTH)
        self.limit = QLineEdit()
        self.limit.setPlaceholderText(example)
        self.limit.setFixedWidth(72)
        self.limit.setAccessibleName(f"{label}, {unit}" if unit else label)
        self.limit.setEnabled(False)
        self.group = Choice() if name == "fairness" else None
        line = row(self.on, self.limit)
        if unit:
            line.addWidget(Text(unit, "small", wrap=False))
        if self.group is not None:
            self.group.setAccessibleName("Column of the groups")
            self.group.setEnabled(False)
            self.group.setMinimumWidth(128)
            self.group.activated.connect(lambda _at: self.changed.emit())
            self.on.toggled.connect(self.group.setEnabled)
            line.addWidget(Text("groups of", "small", wrap=False))
            line.addWidget(self.group)
        line.addStretch(1)
        self.setLayout(line)
        self.on.toggled.connect(self.limit.setEnabled)
        self.on.toggled.connect(lambda _on: self._look())
        self.limit.textChanged.connect(lambda _text: self._look())

    @property
    def why(self) -> str:
        """What is missing; empty if nothing is, or it is off."""
        if not self.on.isChecked():
            return ""
        if NUMBER.fullmatch(self.limit.text().strip()) is None:
            return f"“{self.on.text()}” needs a number, such as {self.limit.placeholderText()}."
        return "" if self.group is None or self.group.currentData() else "Choose the column of the groups."

    def demand(self) -> dict[str, str]:
        """As the local API takes it."""
        limit = self.limit.text().strip()
        if self.name == "size":
            limit = str(int(Decimal(limit) * BYTES_IN_MB))
        return {"name": self.name, "limit": limit, "group": self.group.currentData() if self.group else ""}

    def _look(self) -> None:
        typed = self.limit.text().strip()
        wrong = self.on.isChecked() and bool(typed) and NUMBER.fullmatch(typed) is None
        mark_wrong(self.limit, wrong=wrong, why="Write a number with a point, such as 0.8." if wrong else "")
        self.changed.emit()


class GoalPanel(Panel):
    """What a model must find out, and how well."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("When it is good enough")
        self.target, self.measure, self.task = Choice(), Choice(), Choice(TASKS)
        self.left_out = LeftOut()
        self.threshold = QLineEdit()
        self.threshold.setPlaceholderText("for example 0.9")
        self.threshold.setMaximumWidth(160)
        self.floors = (
            FloorRow("robustness", "Answers that stay, at least", "0.8", "of 1, when inputs change a little"),
            FloorRow("fairness", "Gap between groups, at most", "0.1", ""),
            FloorRow("latency", "95 of 100 answers within", "5", "ms"),
            FloorRow("size", "A file of at most", "10", "MB"),
        )
        self.training = FileDrop("training data for the winner (optional)", "Tables (*.csv);;All files (*)")
        facts = Facts()
        facts.add("Column to predict", self.target)
        facts.add("Its answers are", self.task)
        facts.add("Columns to leave out", self.left_out)
        facts.add("Measured as", self.measure)
        facts.add("Threshold", self.threshold)
        self.body.addLayout(facts)
        self.body.addWidget(Text("More demands, if you need them", "strong"))
        self.body.addLayout(column(*self.floors, spacing=theme.GRID // 2))
        self.body.addSpacing(theme.GRID)
        self.body.addWidget(self.training)
        self._no_training = button("Without training data", self._drop_training, icon="cancel")
        self._no_training.hide()
        self.body.addLayout(row(self._no_training, 1))
        self.body.addWidget(
            Text(
                "Do not use the same rows for both: a model that has seen them is measured too well.", "small"
            )
        )
        self.training.picked.connect(lambda _path: self._trained())
        for choice in (self.target, self.task, self.measure):
            choice.activated.connect(lambda _at: self.changed.emit())
        self.left_out.changed.connect(self.changed)
        self.threshold.textChanged.connect(lambda _text: self.changed.emit())
        for floor in self.floors:
            floor.changed.connect(self.changed)

    def forget(self) -> None:
        """Another table was picked."""
        for choice in (self.target, self.measure):
            choice.clear()
        self.left_out.offer([])

    def show_way(self, *, contest: bool) -> None:
        """In a contest all developers build, so all have the training data."""
        who = "all" if contest else "the winner"
        self.training.ask_for(f"training data for {who} (optional)")

    def show_table(self, table: TableLook) -> None:
        """Offer its columns, and the figures that fit its answers."""
        names = [one.name for one in table.columns]
        if _values(self.target) != ["", *names]:
            _offer(
                self.target,
                [(f"{words.one_line(one.name, 80)} ({one.kind})", one.name) for one in table.columns],
            )
        self.left_out.offer([name for name in names if name != self.target.currentData()])
        group = self.floors[1].group
        others = [name for name in names if name != self.target.currentData()]
        if group is not None and _values(group) != ["", *others]:
            _offer(group, [(words.one_line(name, 60), name) for name in others])
        metrics = METRICS.get(table.task, ())
        if tuple(_values(self.measure)) != metrics:
            self.measure.clear()
            for name in metrics:
                self.measure.addItem(FIGURE_WORDS[name], name)

    def missing(self) -> str:
        """What is still to be filled in."""
        if not self.target.currentData():
            return "Choose the column to predict."
        if not self.threshold.text().strip():
            return "Say when a model is good enough."
        return next((floor.why for floor in self.floors if floor.why), "")

    def rows_body(self) -> dict[str, Any]:
        """As the local API takes it."""
        body: dict[str, Any] = {
            "target": self.target.currentData() or "",
            "task": self.task.currentData(),
            "ignore": self.left_out.names(),
        }
        if self.measure.currentData() and self.threshold.text().strip():
            body |= {"metric": self.measure.currentData(), "threshold": self.threshold.text().strip()}
        ready = [floor for floor in self.floors if floor.on.isChecked() and not floor.why]
        if ready:
            body["floors"] = [floor.demand() for floor in ready]
        if self.training.path:
            body["training_path"] = self.training.path
        return body

    def _trained(self) -> None:
        self._no_training.setVisible(bool(self.training.path))
        self.changed.emit()

    def _drop_training(self) -> None:
        self.training.empty()
        self._trained()


def _values(choice: Choice) -> list[str]:
    return [choice.itemData(at) for at in range(choice.count())]


def _offer(choice: Choice, options: list[tuple[str, str]]) -> None:
    chosen = choice.currentData()
    choice.clear()
    choice.addItem("Choose…", "")
    for label, value in options:
        choice.addItem(label, value)
    choice.setCurrentIndex(max(0, choice.findData(chosen)))
