"""What the window shows before there is an open wallet: waiting for the node, a failure, or a lock."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.views.step import Step
from openstall.ui.widgets.layout import Facts, Panel, button, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner, ProgressRow
from openstall.ui.widgets.text import Text

WIDTH = 520


class _Centred(QWidget):
    """A narrow column in the middle, under the name of the program."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setObjectName("page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName(title)
        self.panel = Panel()
        self.panel.setFixedWidth(WIDTH)
        self.panel.body.setSpacing(2 * theme.GRID)
        self.panel.body.addLayout(
            row(Picture("openstall", "accent", 32), Text("Openstall", "title", wrap=False), 1)
        )
        self.banner = Banner(closable=False)
        self.panel.body.addWidget(self.banner)
        outer = QVBoxLayout(self)
        outer.addStretch(2)
        # In a line of its own: an aligned item is measured as wide as the window, and its texts are cut.
        outer.addLayout(row(1, self.panel, 1))
        outer.addStretch(3)


class StartPage(_Centred):
    """Waiting for the node, with the reason; or why it did not come."""

    again = Signal()

    def __init__(self) -> None:
        super().__init__("Starting")
        self._progress = ProgressRow(cancel=False)
        self._again = button("&Try again", self.again.emit, icon="refresh", kind="primary")
        self._again.hide()
        self.panel.body.addWidget(self._progress)
        self.panel.body.addLayout(row(1, self._again))
        self.wait("Looking for the node on this computer…")

    def wait(self, words: str) -> None:
        """Say what is waited for."""
        self.banner.hide()
        self._again.hide()
        self._progress.begin(words)

    def fail(self, failure: Failure) -> None:
        """Say why the node is not there, and offer to try again."""
        self._progress.hide()
        self.banner.fail(failure)
        self._again.show()
        self._again.setFocus()

    def stopped(self) -> None:
        """The reader stopped the node."""
        self._progress.hide()
        self.banner.say("accent", "The node is stopped.", "Your orders and your money are where they were.")
        self._again.show()


class UnlockStep(Step):
    """The passphrase of a locked wallet."""

    passed = Signal()
    title = "Open your wallet"
    next_words = "&Open"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.field = QLineEdit()
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.returnPressed.connect(self.proceed)
        self.field.textChanged.connect(self._field_changed)
        facts = Facts()
        facts.add("Passphrase", self.field)
        self.column.addLayout(facts)

    @property
    def complete(self) -> bool:
        return bool(self.field.text())

    def proceed(self) -> None:
        passphrase = self.field.text()
        self.field.clear()
        self._desk.api.post(
            "/v1/identity/unlock",
            {"passphrase": passphrase},
            Nothing,
            lambda _: self.passed.emit(),
            owner=self,
            failed=self.failed.emit,
        )


class UnlockPage(_Centred):
    """Asks for the passphrase of a locked wallet."""

    passed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__("Open your wallet")
        self.step = UnlockStep(desk)
        self.step.passed.connect(self.passed.emit)
        self.step.failed.connect(self.banner.fail)
        self._open = button(self.step.next_words, self.step.proceed, kind="primary")
        self._open.setEnabled(False)
        self.step.changed.connect(lambda: self._open.setEnabled(self.step.complete))
        self.panel.body.addWidget(
            Text("Your wallet is locked. Without it your node cannot buy, sell or answer.", "muted")
        )
        self.panel.body.addWidget(self.step)
        self.panel.body.addLayout(row(1, self._open))
