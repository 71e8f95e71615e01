"""The first run, in five steps at most: roles, wallet, words, group, done."""

from __future__ import annotations

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, NewIdentity
from openstall.ui.views.demo_offer import DemoOffer
from openstall.ui.views.first_steps import DoneStep, GroupStep, RoleStep, WalletStep
from openstall.ui.views.page import Body
from openstall.ui.views.step import Step
from openstall.ui.views.words_step import WordsStep
from openstall.ui.widgets.layout import button, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

NAMES = ("What for", "Wallet", "24 words", "Group", "Ready")


class FirstRun(QWidget):
    """Leads a newcomer to an open wallet in a group; begins where an earlier run stopped."""

    finished = Signal(str)
    """The view to show first."""

    def __init__(self, desk: Desk, settings: QSettings) -> None:
        super().__init__()
        self.setObjectName("page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._desk = desk
        self._settings = settings
        self.banner = Banner()
        self.roles = RoleStep()
        self.wallet = WalletStep(desk)
        self.words = WordsStep(desk)
        self.group = GroupStep(desk)
        self.done = DoneStep(desk)
        self.steps: tuple[Step, ...] = (self.roles, self.wallet, self.words, self.group, self.done)
        self._stack = QStackedWidget()
        for step in self.steps:
            self._stack.addWidget(step)
            step.changed.connect(self._look)
            step.failed.connect(self._failed)
        self.wallet.passed.connect(self._wallet_made)
        self.words.passed.connect(lambda: self.go(3))
        self.group.passed.connect(lambda: self.go(4))
        self._crumbs = [_Crumb(at + 1, name) for at, name in enumerate(NAMES)]
        self._back = button("&Back", self._go_back)
        self._later = button("Test them &later", lambda: self.go(3), kind="quiet")
        self.next = button("&Next", self._go_next, kind="primary")
        self.demo = DemoOffer(desk.home)
        self._arrange()
        self.go(0)

    def _arrange(self) -> None:
        inner = QWidget()
        inner.setObjectName("page_body")
        inner.setMaximumWidth(880)
        self._title = Text("", "title")
        self._text = Text("", "muted")
        column = QVBoxLayout(inner)
        column.setContentsMargins(3 * theme.GRID, 4 * theme.GRID, 3 * theme.GRID, 3 * theme.GRID)
        column.setSpacing(2 * theme.GRID)
        name = Text("Openstall", "heading", wrap=False)
        crumbs = row(Picture("openstall", "accent", 28), name, 1, *self._crumbs, spacing=2 * theme.GRID)
        column.addLayout(crumbs)
        column.addSpacing(2 * theme.GRID)
        column.addWidget(self._title)
        column.addWidget(self._text)
        column.addWidget(self.banner)
        column.addWidget(self._stack, 1)
        column.addWidget(self.demo)
        column.addLayout(row(self._back, 1, self._later, self.next))
        area = QScrollArea()
        area.setObjectName("page_scroll")
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        holder = _Steps()
        line = QHBoxLayout(holder)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(inner)
        area.setWidget(holder)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)

    def resume(self) -> None:
        """Begin at the first step that is not done yet."""
        status = self._desk.status
        if status.identity.state == "none":
            self.go(0)
        else:
            self.go(3)

    def go(self, at: int) -> None:
        """Show a step."""
        self.banner.hide()
        step = self.steps[at]
        self._stack.setCurrentWidget(step)
        self._title.say(step.title)
        self._text.say(step.text)
        for position, crumb in enumerate(self._crumbs):
            crumb.mark("done" if position < at else "now" if position == at else "later")
        step.enter()
        self._look()

    def _look(self) -> None:
        at = self._stack.currentIndex()
        step = self.steps[at]
        self._title.say(step.title)
        self._text.say(step.text)
        self.next.setText(step.next_words)
        self.next.setAccessibleName(step.next_words.replace("&", ""))
        self.next.setEnabled(step.complete)
        self.next.setVisible(bool(step.next_words))
        self._back.setVisible(at == 1 or (step is self.words and self.words.testing))
        self._later.setVisible(step is self.words and self.words.testing)
        self.demo.setVisible(self.demo.process.running or step in (self.roles, self.group))

    def _go_back(self) -> None:
        if self._stack.currentWidget() is self.words:
            self.words.show_again()
        else:
            self.go(self._stack.currentIndex() - 1)
        self._look()

    def _go_next(self) -> None:
        at = self._stack.currentIndex()
        self.banner.hide()
        if at == 0:
            self._settings.setValue("roles", ",".join(self.roles.chosen))
            self.done.suit(self.roles.chosen)
            self.go(1)
        elif at == 4:
            self.finished.emit(self.done.first_view)
        else:
            self.steps[at].proceed()

    def _wallet_made(self, made: NewIdentity) -> None:
        self._desk.refresh()
        if made.words:
            self.words.take(made.words)
            self.go(2)
        else:
            self.go(3)

    def _failed(self, failure: Failure) -> None:
        self.banner.fail(failure)
        self._look()


class _Steps(Body):
    """Holds the stack of steps, whose preferred height is that of its tallest step at its narrowest."""

    def heightForWidth(self, width: int) -> int:
        layout = self.layout()
        # A scroll area gives its widget the preferred height; the least one is what must not be cut.
        return layout.minimumHeightForWidth(width) if layout is not None else super().heightForWidth(width)


class _Crumb(QWidget):
    """A step in the line of steps: done, now or later; by icon, weight and colour."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self._number = number
        self._name = name
        self._picture = Picture("circle", "muted", 16)
        self._label = Text(f"{number} {name}", "small", wrap=False)
        self.setLayout(row(self._picture, self._label, spacing=theme.GRID // 2))

    def mark(self, state: str) -> None:
        """Show whether the step is done, now or later."""
        icon, tone, label = {
            "done": ("done", "good", "done"),
            "now": ("forward", "accent", "now"),
            "later": ("circle", "muted", "to come"),
        }[state]
        self._picture.show_icon(icon, tone)  # type: ignore[arg-type]
        self._label.tone("accent" if state == "now" else "muted")
        self.setAccessibleName(f"Step {self._number}, {self._name}: {label}")
