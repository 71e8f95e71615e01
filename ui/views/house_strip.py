"""The state of the house on the Sell compute page: why, what next, and how to have the machine back."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMessageBox, QPushButton, QWidget

from openstall.ui import theme, words
from openstall.ui.house import House
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.marks import Badge, Provenance
from openstall.ui.widgets.text import Text

_MARKS: dict[str, tuple[str, str, theme.Tone]] = {
    "open": ("open", "done", "good"),
    "full": ("no new job", "warning", "care"),
    "closed": ("paused by a rule", "clock", "care"),
    "paused": ("paused by you", "stop", "care"),
}


class HouseStrip(Panel):
    """One line of state, one of reasons, and what it took to have the machine back."""

    asked = Signal(str)
    """`pause` or `resume`."""
    asked_to_end = Signal()
    asked_for_rules = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._state = "open"
        self.waiting = 0
        self._badge = Badge("open", "done", "good")
        self._words, self._next = Text("", "strong"), Text("", "muted")
        self._returned = Text("", "small")
        self._measured = Provenance("measured", "From the last look that allowed jobs to their stop.")
        self._pause = button("&Pause now", self._toggle, icon="stop")
        self._end = button(
            "Stop no&w",
            self.asked_to_end.emit,
            icon="cancel",
            description="Takes the offer back and ends the running jobs. Their buyers pay until now.",
        )
        self._rules = button("House &rules…", self.asked_for_rules.emit, icon="settings")
        returned = row(self._measured, self._returned)
        returned.setStretch(1, 1)
        texts = column(row(self._badge, 1), self._words, self._next, returned, spacing=4)
        line = row(texts, self._rules, self._pause, self._end)
        line.setStretch(0, 1)
        self.body.addLayout(line)
        self._returned.hide()
        self._measured.hide()
        self._end.hide()

    def show_house(self, house: House) -> None:
        """Show what the node says."""
        self._state = house.state
        self._badge.mark(*_MARKS.get(house.state, _MARKS["open"]))
        self._words.say(house.words)
        self._next.say(house.next_words)
        self._next.setVisible(bool(house.next_words))
        self.waiting = house.jobs_waiting
        by_hand = house.state == "paused"
        self._pause.setText("&Resume" if by_hand else "&Pause now")
        self._pause.setAccessibleName(self._pause.text().replace("&", ""))
        self._end.setVisible(house.jobs_running + house.jobs_waiting > 0)
        returned = house.returned
        for part in (self._returned, self._measured):
            part.setVisible(returned is not None)
        if returned is not None:
            self._returned.say(
                f"You had the machine back within {seconds(returned.last_ms)} the last time, "
                f"{seconds(returned.worst_ms)} at worst, of {words.plural(returned.count, 'time')}."
            )

    def _toggle(self) -> None:
        self.asked.emit("resume" if self._state == "paused" else "pause")


def confirm_end(parent: QWidget) -> bool:
    """Ask before jobs are ended: the default leaves them alone."""
    box = QMessageBox(parent)
    box.setText("End the running jobs now?")
    box.setInformativeText("Their buyers pay until this second and get no result. The offer is taken back.")
    end = QPushButton("End them")
    box.addButton(end, QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("Let them finish", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.exec()
    return box.clickedButton() is end


def seconds(milliseconds: int) -> str:
    """`0.6 s`, or `12 ms` where that would be nothing."""
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 100 else f"{max(1, milliseconds)} ms"
