"""List a model for sale: pick the file, see how it was checked, describe it, set price and times."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from openstall.ui import documents, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, UnreadableAnswer
from openstall.ui.trade import ModelCheck
from openstall.ui.views.page import Page
from openstall.ui.widgets.inputs import AmountField, Choice, FileDrop
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

LICENCES = (
    "Apache-2.0",
    "MIT",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "OpenRAIL-M",
    "LicenseRef-Commercial",
)
DELIVER = (("1 hour", 3600), ("6 hours", 21_600), ("1 day", 86_400), ("3 days", 259_200))
REVIEW = (("1 hour", 3600), ("1 day", 86_400), ("3 days", 259_200), ("7 days", 604_800))
_MARKS: dict[str, tuple[str, theme.Tone]] = {
    "error": ("error", "bad"),
    "warning": ("warning", "care"),
    "info": ("done", "good"),
}


class PublishPage(Page):
    """One form in the order in which a seller thinks; only a file that passed the check can be listed."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Sell a model",
            "Pick the file first. It is checked before anybody sees it.",
            back="Back to the market",
        )
        self._checked = ModelCheck()
        self._operation = ""
        self.file = FileDrop("an ONNX or safetensors file", "Models (*.onnx *.safetensors);;All files (*)")
        self.file.picked.connect(self.check)
        self._findings = column(spacing=theme.GRID // 2)
        self._progress = ProgressRow()
        self._progress.cancelled.connect(lambda: desk.operations.cancel(self._operation))
        picked = Panel("The model")
        picked.body.addWidget(self.file)
        picked.body.addLayout(self._findings)
        side = QWidget()
        side.setFixedWidth(368)
        side.setLayout(column(self._terms(), 1))
        self.body.addLayout(
            row(column(picked, self._words(), 1, spacing=2 * theme.GRID), side, spacing=2 * theme.GRID)
        )
        self.body.setStretch(0, 1)
        self._look()

    def _words(self) -> Panel:
        panel = Panel("What buyers read")
        self.name = QLineEdit()
        self.name.setMaxLength(120)
        self.summary = _paragraph("One or two sentences: what it does, for whom.")
        self.use = _paragraph("What it is meant for.")
        self.data = _paragraph("What it was trained on, and by whose permission.")
        self.limits = _paragraph("Where it fails, and what it must not be used for.")
        self.metric_name = QLineEdit("accuracy")
        self.metric_value = QLineEdit()
        self.metric_value.setPlaceholderText("for example 0.972")
        self.metric_data = QLineEdit()
        self.metric_data.setPlaceholderText("measured on …")
        facts = Facts()
        facts.add("Title", self.name)
        facts.add("Summary", self.summary)
        facts.add("Intended use", self.use)
        facts.add("Training data", self.data)
        facts.add("Limits", self.limits)
        figure = QWidget()
        figure.setLayout(row(self.metric_name, self.metric_value, self.metric_data))
        for field, label in (
            (self.metric_name, "Name of the figure"),
            (self.metric_value, "Value of the figure"),
            (self.metric_data, "Data of the figure"),
        ):
            field.setAccessibleName(label)
        facts.add("A figure you claim", figure)
        panel.body.addLayout(facts)
        self.name.textChanged.connect(lambda _text: self._look())
        return panel

    def _terms(self) -> Panel:
        panel = Panel("Terms")
        self.price = AmountField("", name="Price in credits")
        self.price.edited.connect(self._look)
        self.licence = Choice([(name, name) for name in LICENCES])
        self.licence.let_type("Licence")
        self.deliver = Choice(DELIVER, chosen=2)
        self.review = Choice(REVIEW, chosen=1)
        self.arbiter = QLineEdit()
        self.arbiter.setPlaceholderText("0x… (optional)")
        self.mirrors = QLineEdit()
        self.mirrors.setPlaceholderText("https://…/{cid} (optional)")
        self.mirrors.setMaxLength(1040)
        self.mirrors.setToolTip(
            "Web addresses, with a space between, where you will put the encrypted package, so that "
            "buyers get it while your node is busy. {cid} becomes the file's name. "
            "The package: Network → Files → Save a copy."
        )
        facts = Facts()
        facts.add("Price", self.price)
        facts.add("Licence", self.licence)
        facts.add("You deliver within", self.deliver)
        facts.add("Buyers check for", self.review)
        facts.add("Arbiter's wallet", self.arbiter)
        facts.add("Web mirrors", self.mirrors)
        panel.body.addLayout(facts)
        panel.body.addWidget(
            Text(
                "The file is encrypted on this computer. Buyers pay into escrow first; then your node "
                "hands out the key by "
                "itself while it runs. Without an arbiter a buyer cannot open a dispute.",
                "small",
            )
        )
        panel.body.addWidget(self._progress)
        self._why = Text("", "small")
        panel.body.addWidget(self._why)
        self._list = button("&List it for sale", self._publish, icon="upload", kind="primary")
        panel.body.addLayout(row(1, self._list))
        return panel

    def check(self, path: str) -> None:
        """Have the node look into the file."""
        self._checked = ModelCheck()
        clear(self._findings)
        self._begin("Checking the file")
        self.desk.operations.start(
            "/v1/models/check",
            {"path": path},
            owner=self,
            done=self._found,
            failed=self._stopped,
            progress=self._moved,
        )

    def _begin(self, title: str) -> None:
        self.banner.hide()
        self._progress.begin(title)
        self._look()

    def _moved(self, operation: documents.Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _stopped(self, failure: Failure) -> None:
        self._progress.hide()
        self.banner.fail(failure)
        self._look()

    def _found(self, result: Any) -> None:
        self._progress.hide()
        try:
            self._checked = documents.read(result, ModelCheck)
        except UnreadableAnswer:
            self._checked = ModelCheck()
        clear(self._findings)
        found = self._checked
        verdict = (
            "Passed the check: no code in it, only numbers and their structure."
            if found.ok
            else "This file cannot be listed."
        )
        self._findings.addLayout(_finding("info" if found.ok else "error", verdict))
        if found.ok:
            self._findings.addWidget(Text(f"{found.format.upper()} · {words.size(found.size)}", "small"))
        for finding in found.findings[:12]:
            self._findings.addLayout(_finding(finding.severity, finding.words))
        self._look()

    def _look(self) -> None:
        price = self.price.micro
        if not self.file.path:
            why = "Pick a file first."
        elif not self._checked.ok:
            why = "The file has not passed the check."
        elif len(self.name.text().strip()) < 3:
            why = "Give it a title of at least three letters."
        elif not price:
            why = self.price.why or "Set a price, above zero."
        else:
            why = ""
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._list.setEnabled(not why)

    def _publish(self) -> None:
        metric = {
            "name": self.metric_name.text().strip(),
            "value": self.metric_value.text().strip(),
            "data": self.metric_data.text().strip(),
        }
        body = {
            "path": self.file.path,
            "title": self.name.text().strip(),
            "summary": self.summary.toPlainText().strip(),
            "licence": self.licence.currentText().strip(),
            "price_micro": self.price.micro or 0,
            "card": {
                "intended_use": self.use.toPlainText().strip(),
                "training_data": self.data.toPlainText().strip(),
                "limits": self.limits.toPlainText().strip(),
                "metrics": [metric] if metric["name"] and metric["value"] else [],
            },
            "review_s": self.review.currentData(),
            "deliver_s": self.deliver.currentData(),
            "arbiter": self.arbiter.text().strip() or None,
            "mirrors": self.mirrors.text().split(),
        }
        self._list.setEnabled(False)
        self._begin("Encrypting and listing")
        self.desk.operations.start(
            "/v1/models/publish",
            body,
            owner=self,
            done=self._published,
            failed=self._stopped,
            progress=self._moved,
        )

    def _published(self, result: Any) -> None:
        self._progress.hide()
        cid = result.get("cid") if isinstance(result, dict) else None
        self.desk.go.emit(f"model:{cid}" if cid else "market")


def _paragraph(hint: str) -> QPlainTextEdit:
    made = QPlainTextEdit()
    made.setPlaceholderText(hint)
    made.setFixedHeight(56)
    made.setTabChangesFocus(True)
    return made


def _finding(severity: str, text: str) -> Any:
    icon, tone = _MARKS.get(severity, ("info", "muted"))
    label = Text(text, select=True)
    made = row(Picture(icon, tone), label)
    made.setStretch(1, 1)
    return made
