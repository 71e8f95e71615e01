"""The offer to look around first: a demo market beside one's own stall, in a window of its own."""

from __future__ import annotations

from pathlib import Path

from openstall.ui import theme
from openstall.ui.demo_process import DemoProcess
from openstall.ui.documents import Failure
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.text import Text

_OFFER = (
    "A whole market on this computer, with play money: one peer rents out its machine, one has trained a "
    "model on it and sells it, and you are the buyer. It is ready in less than a minute, needs no wallet "
    "and no network, and is gone when you close its window."
)
_OPEN = "It is open in a window of its own, and you are the buyer there. Close that window to end it."


class DemoOffer(Panel):
    """Starts the demo market, shows how far it is, and offers it again when it has ended."""

    def __init__(self, home: Path) -> None:
        super().__init__("Not sure yet? Try the demo market")
        self.process = DemoProcess(home, self)
        self.words = Text(_OFFER, "muted")
        self.start = button("Try the &demo market", self._start, icon="market")
        self._progress = ProgressRow()
        self._progress.cancelled.connect(self._cancel)
        line = row(column(self.words), self.start, spacing=3 * theme.GRID)
        line.setStretch(0, 1)
        self.body.addLayout(line)
        self.body.addWidget(self._progress)
        self.process.step.connect(self._step)
        self.process.opened.connect(self._opened)
        self.process.ended.connect(self._ended)

    def _start(self) -> None:
        self.words.tone("muted")
        self.words.say(_OFFER)
        self.start.setEnabled(False)
        self._step("Starting")
        self.process.start()

    def _step(self, stage: str) -> None:
        self._progress.step("Setting up the demo market", stage, 0, 0, "")

    def _cancel(self) -> None:
        self._step("Stopping its nodes")
        self.process.cancel()

    def _opened(self) -> None:
        self._progress.hide()
        self.words.say(_OPEN)

    def _ended(self, failure: Failure | None) -> None:
        self._progress.hide()
        self.start.setEnabled(True)
        if failure is None:
            self.words.say(_OFFER)
        else:
            self.words.tone("bad")
            self.words.say(f"{failure.message} {failure.what_next}")
