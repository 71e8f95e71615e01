"""Why no job, in short, on the Sell compute page: the newest job that went by, and the price that moves."""

from __future__ import annotations

from PySide6.QtCore import Signal

from openstall.ui import words
from openstall.ui.demand import Demand
from openstall.ui.widgets.layout import Panel, button, row
from openstall.ui.widgets.text import Text


class LostPanel(Panel):
    """The newest of the jobs that went elsewhere, with what would have won it; the page behind it has all."""

    asked_for_all = Signal()

    def __init__(self) -> None:
        super().__init__("Jobs that went elsewhere")
        self._newest, self._change = Text("", "body"), Text("", "muted")
        self.body.addWidget(self._newest)
        self.body.addWidget(self._change)
        why = button("&Why no job?", self.asked_for_all.emit, icon="search", kind="quiet")
        self.body.addLayout(row(why, 1))
        self.show_demand(Demand())

    def show_demand(self, demand: Demand) -> None:
        """Show what the node says."""
        lost = demand.lost
        newest = lost.items[0] if lost.items else None
        self._change.setVisible(newest is not None)
        if newest is None:
            self._newest.say("No other provider got a job since this node watches, and none was turned away.")
            return
        reasons = " ".join(words.one_line(reason.words, 300) for reason in newest.reasons)
        changes = " ".join(words.one_line(reason.change, 300) for reason in newest.reasons if reason.change)
        others = f", the newest of {lost.total:,}" if lost.total > 1 else ""
        self._newest.say(f"{words.day(newest.at)}{others}: {reasons}")
        self._change.say(f"To win it: {changes}" if changes else "No change of yours would have won it.")
