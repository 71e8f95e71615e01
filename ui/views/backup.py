"""Testing the back-up: re-enter some of the 24 words, as the node asks for them."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QLineEdit, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.documents import BackupQuestion, Failure, Nothing
from openstall.ui.views.page import Page
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.text import Text


class BackupTest(QWidget):
    """Fields for the words that the node asks for."""

    passed = Signal()
    failed = Signal(object)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._fields: dict[int, QLineEdit] = {}
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(2 * theme.GRID)
        self._grid.setVerticalSpacing(theme.GRID)
        self.setLayout(column(self._grid))

    def ask(self) -> None:
        """Let the node choose words."""
        self._desk.api.get(
            "/v1/identity/backup", BackupQuestion, self._asked, owner=self, failed=self.failed.emit
        )

    def _asked(self, question: BackupQuestion) -> None:
        clear(self._grid)
        self._fields = {}
        if not question.positions:
            self.passed.emit()
            return
        for at, position in enumerate(question.positions):
            field = QLineEdit()
            field.setMaximumWidth(220)
            field.setMaxLength(40)
            field.setAccessibleName(f"Word number {position}")
            field.returnPressed.connect(self.check)
            label = Text(f"Word {position}", "muted", wrap=False)
            label.setBuddy(field)
            self._grid.addWidget(label, at, 0)
            self._grid.addWidget(field, at, 1)
            self._fields[position] = field
        self._grid.setColumnStretch(2, 1)
        next(iter(self._fields.values())).setFocus()

    def check(self) -> None:
        """Have the node compare."""
        entered = {str(position): field.text().strip().lower() for position, field in self._fields.items()}
        self._desk.api.post(
            "/v1/identity/backup",
            {"words": entered},
            Nothing,
            lambda _: self.passed.emit(),
            owner=self,
            failed=self._wrong,
        )

    def _wrong(self, failure: Failure) -> None:
        """After a mistake the node asks for other words."""
        self.failed.emit(failure)
        self.ask()


class BackupPage(Page):
    """The test by itself, for a reader who put it off."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, "Test your back-up", "Take the paper with your 24 words.", back="Back to the wallet"
        )
        self._test = BackupTest(desk)
        self._test.passed.connect(self._passed)
        self._test.failed.connect(self.fail)
        panel = Panel("Type these words")
        panel.setMaximumWidth(640)
        panel.body.addWidget(self._test)
        panel.body.addLayout(row(1, button("&Check them", self._test.check, icon="check", kind="primary")))
        self.body.addWidget(panel)
        self.body.addStretch(1)

    def load(self) -> None:
        self._test.ask()
        self.mark_loaded()

    def _passed(self) -> None:
        self.banner.say(
            "good",
            "The back-up works.",
            "Keep the paper where only you find it.",
            action=("Back to the &wallet", lambda: self.desk.go.emit("wallet")),
        )
        self.desk.refresh()
