"""The 24 words of a new wallet: written down first, then tested."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QStackedWidget, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.views.backup import BackupTest
from openstall.ui.views.step import Step
from openstall.ui.widgets.layout import Panel
from openstall.ui.widgets.text import Text


class WordsStep(Step):
    """The 24 words to write down, then the test that they were."""

    passed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.testing = False
        self._grid = QGridLayout()
        self._grid.setSpacing(theme.GRID)
        shown = QWidget()
        shown.setLayout(self._grid)
        self._test = BackupTest(desk)
        self._test.passed.connect(self.passed.emit)
        self._test.failed.connect(self.failed.emit)
        tested = Panel("Type these words")
        tested.body.addWidget(self._test)
        tested.body.addStretch(1)
        self._stack = QStackedWidget()
        self._stack.addWidget(shown)
        self._stack.addWidget(tested)
        self.column.addWidget(self._stack)
        self.column.addStretch(1)
        self._say()

    def take(self, secret: list[str]) -> None:
        """Show these words; they are not kept anywhere else."""
        for at, word in enumerate(secret):
            self._grid.addWidget(_word(at + 1, word), at % 6, at // 6)
        self.show_again()

    def show_again(self) -> None:
        """Back from the test to the words."""
        self.testing = False
        self._stack.setCurrentIndex(0)
        self._say()

    def proceed(self) -> None:
        if self.testing:
            self._test.check()
            return
        self.testing = True
        self._stack.setCurrentIndex(1)
        self._test.ask()
        self._say()

    def _say(self) -> None:
        if self.testing:
            self.title, self.text, self.next_words = (
                "Do you have them?",
                "From the paper, not from memory.",
                "&Check them",
            )
        else:
            self.title = "Write these 24 words on paper"
            self.text = (
                "Whoever has them has your money. Without them a lost computer is lost money. "
                "They are shown only now. No photograph, no cloud."
            )
            self.next_words = "I &wrote them down"
        self.changed.emit()


def _word(number: int, word: str) -> QFrame:
    made = QFrame()
    made.setObjectName("word")
    made.setAccessibleName(f"Word {number}: {word}")
    line = QHBoxLayout(made)
    line.setContentsMargins(theme.GRID, theme.GRID // 2, theme.GRID, theme.GRID // 2)
    count = Text(str(number), "small", wrap=False)
    count.setFixedWidth(24)
    line.addWidget(count)
    line.addWidget(Text(words.one_line(word, 40), "strong", wrap=False))
    line.addStretch(1)
    return made
