"""What a buyer fills in for each kind of job."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePath
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from openstall.ui.widgets.inputs import Choice, FileDrop, NumberField, mark_wrong
from openstall.ui.widgets.layout import Facts
from openstall.ui.widgets.text import Text


class JobForm(QWidget):
    """The base of the forms: says when it changed, what is missing, and what the node is to be given."""

    changed = Signal()

    def watch(self, *fields: FileDrop | QLineEdit) -> None:
        """Emit `changed` when one of these fields does."""
        for one in fields:
            signal = one.picked if isinstance(one, FileDrop) else one.textChanged
            signal.connect(lambda _value: self.changed.emit())

    @abstractmethod
    def problem(self) -> str:
        """What is missing, in words; empty if the form is complete."""

    @abstractmethod
    def inputs(self) -> dict[str, str]:
        """The files by the names that the job knows."""

    @abstractmethod
    def params(self) -> dict[str, Any]:
        """The parameters as the node takes them; decimals as text."""


class RecipeForm(JobForm):
    """The declared recipe of a train job."""

    def __init__(self) -> None:
        super().__init__()
        self.data = FileDrop("a table (CSV)", "Tables (*.csv)", suffixes=(".csv",))
        self.task = Choice(
            (
                ("Classification: a class for each row", "classification"),
                ("Regression: a number for each row", "regression"),
            )
        )
        self.label = QLineEdit()
        self.label.setPlaceholderText("name of the column to predict")
        self.hidden = QLineEdit("32, 16")
        self.epochs = NumberField(60, 1, 10_000)
        self.rate = QLineEdit("0.01")
        self.batch = NumberField(32, 1, 4096)
        self.seed = NumberField(0, 0, 2**31 - 1)
        self.share = QLineEdit("0.2")
        for field in (self.hidden, self.rate, self.share):
            field.setMaximumWidth(160)
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Table", self.data)
        facts.add("Task", self.task)
        facts.add("Column to predict", self.label)
        facts.add("Hidden layers", self.hidden)
        facts.add("Epochs", self.epochs)
        facts.add("Learning rate", self.rate)
        facts.add("Batch size", self.batch)
        facts.add("Rows kept for the test", self.share)
        facts.add("Seed", self.seed)
        self.setLayout(facts)
        self.watch(self.data, self.label, self.hidden)

    def problem(self) -> str:
        if not self.data.path:
            return "Choose the table to train on."
        if not self.label.text().strip():
            return "Name the column to predict."
        layers_ok = all(
            part.strip().isdigit() and int(part) > 0 for part in self.hidden.text().split(",") if part.strip()
        )
        mark_wrong(self.hidden, wrong=not layers_ok)
        return "" if layers_ok else "Write hidden layers as whole numbers, like 32, 16."

    def inputs(self) -> dict[str, str]:
        return {"data.csv": self.data.path}

    def params(self) -> dict[str, Any]:
        return {
            "task": self.task.currentData(),
            "label": self.label.text().strip(),
            "hidden": [int(part) for part in self.hidden.text().split(",") if part.strip()],
            "epochs": self.epochs.value(),
            "learning_rate": self.rate.text().strip(),
            "batch_size": self.batch.value(),
            "seed": self.seed.value(),
            "test_fraction": self.share.text().strip(),
            "standardise": True,
        }


class RowsForm(JobForm):
    """The inputs of a job that runs a model; one that measures it needs the right answers."""

    def __init__(self, *, answers: bool) -> None:
        super().__init__()
        self._answers = answers
        self.model = FileDrop("a model (ONNX)", "Models (*.onnx)", suffixes=(".onnx",))
        self.rows = FileDrop("rows (CSV)", "Tables (*.csv)", suffixes=(".csv",))
        self.label = QLineEdit()
        self.label.setPlaceholderText(
            "name of the column" if answers else "only if the rows hold the right answers"
        )
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Model", self.model)
        facts.add("Rows", self.rows)
        facts.add("Column of answers", self.label)
        self.setLayout(facts)
        self.watch(self.model, self.rows, self.label)

    def problem(self) -> str:
        if not self.model.path:
            return "Choose the model to run."
        if not self.rows.path:
            return "Choose the rows to run it on."
        return "Name the column of answers." if self._answers and not self.label.text().strip() else ""

    def inputs(self) -> dict[str, str]:
        return {"model.onnx": self.model.path, "rows.csv": self.rows.path}

    def params(self) -> dict[str, Any]:
        label = self.label.text().strip()
        return {"label": label} if label else {}


class ScriptForm(JobForm):
    """A program of the buyer's own."""

    def __init__(self) -> None:
        super().__init__()
        self.script = FileDrop("a program (Python)", "Python programs (*.py)", suffixes=(".py",))
        self.data = FileDrop("its data, if it needs any", "All files (*)")
        self.arguments = QLineEdit()
        self.arguments.setPlaceholderText("words with spaces between, if it takes any")
        self.outputs = QLineEdit()
        self.outputs.setPlaceholderText("result.csv, model.onnx")
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Program", self.script)
        facts.add("Data", self.data)
        facts.add("Arguments", self.arguments)
        facts.add("Files it leaves", self.outputs)
        facts.add("", Text("It finds its data in /job/in, and writes into the folder it starts in.", "small"))
        self.setLayout(facts)
        self.watch(self.script, self.data, self.outputs)

    def problem(self) -> str:
        if not self.script.path:
            return "Choose the program to run."
        return "" if self._outputs() else "Name the files that the program leaves."

    def inputs(self) -> dict[str, str]:
        data = {PurePath(self.data.path).name: self.data.path} if self.data.path else {}
        return {**data, "script.py": self.script.path}

    def params(self) -> dict[str, Any]:
        return {"arguments": self.arguments.text().split(), "outputs": self._outputs()}

    def _outputs(self) -> list[str]:
        return [name.strip() for name in self.outputs.text().split(",") if name.strip()]


class ServeForm(JobForm):
    """A model that answers for as long as it is rented."""

    def __init__(self) -> None:
        super().__init__()
        self.model = FileDrop("a model (ONNX)", "Models (*.onnx)", suffixes=(".onnx",))
        self.idle = NumberField(600, 1, 86_400, suffix=" s")
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Model", self.model)
        facts.add("Ends when idle for", self.idle)
        words = "It is loaded once, and answers rows or prompts until you stop it, until nobody has asked for"
        facts.add(
            "",
            Text(f"{words} that long, or until the longest time. Open its endpoint on the order.", "small"),
        )
        self.setLayout(facts)
        self.watch(self.model)

    def problem(self) -> str:
        return "" if self.model.path else "Choose the model that is to answer."

    def inputs(self) -> dict[str, str]:
        return {"model.onnx": self.model.path}

    def params(self) -> dict[str, Any]:
        return {"idle_s": self.idle.value()}


class BatchForm(JobForm):
    """One table in parts, on this provider and others at its price or less."""

    def __init__(self) -> None:
        super().__init__()
        self.model = FileDrop("a model (ONNX)", "Models (*.onnx)", suffixes=(".onnx",))
        self.table = FileDrop("a large table (CSV)", "Tables (*.csv)", suffixes=(".csv",))
        self.rows = NumberField(1000, 1, 10_000_000)
        self.at_once = NumberField(2, 1, 16)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("a new folder for the results, like /home/me/results")
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Model", self.model)
        facts.add("Table", self.table)
        facts.add("Rows in each part", self.rows)
        facts.add("Parts at once", self.at_once)
        facts.add("Results", self.folder)
        words = (
            "Each part is an order of its own, here or at whoever asks no more; failed ones are tried again."
        )
        facts.add("", Text(f"{words} The cap on the right is for all parts together.", "small"))
        self.setLayout(facts)
        self.watch(self.model, self.table, self.folder)

    def problem(self) -> str:
        if not self.model.path:
            return "Choose the model to run."
        if not self.table.path:
            return "Choose the table to run it on."
        return (
            "" if PurePath(self.folder.text().strip()).is_absolute() else "Name the folder for the results."
        )

    def inputs(self) -> dict[str, str]:
        return {}

    def params(self) -> dict[str, Any]:
        return {}

    def batch(self) -> dict[str, Any]:
        """What the node is given besides price, time and cap."""
        return {
            "model": self.model.path,
            "files": [self.table.path],
            "rows_per_part": self.rows.value(),
            "at_once": self.at_once.value(),
            "folder": self.folder.text().strip(),
        }
