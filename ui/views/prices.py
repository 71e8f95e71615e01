"""How costs are laid out before money moves: the same lines on every page that asks for consent."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from openstall.ui import theme
from openstall.ui.desk import Desk
from openstall.ui.widgets.figures import Amount
from openstall.ui.widgets.layout import rule
from openstall.ui.widgets.text import Text


class Bill(QWidget):
    """Lines of a name and an amount, and a total under a rule."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(theme.GRID)
        self._grid.setHorizontalSpacing(3 * theme.GRID)
        self._grid.setColumnStretch(0, 1)

    def line(self, name: str, micro: int, *, total: bool = False) -> Amount:
        """Add a line; a total stands under a rule."""
        at = self._grid.rowCount()
        if total:
            self._grid.addWidget(rule(), at, 0, 1, 2)
            at += 1
        amount = Amount(micro, "strong" if total else "body", symbol=self._desk.symbol)
        self._grid.addWidget(Text(name, "strong" if total else "body"), at, 0, Qt.AlignmentFlag.AlignTop)
        self._grid.addWidget(amount, at, 1)
        return amount

    def note(self, text: str) -> None:
        """Add a sentence under the lines."""
        self._grid.addWidget(Text(text, "small"), self._grid.rowCount(), 0, 1, 2)


def chain_fee_words(desk: Desk) -> str:
    """What the chain itself takes."""
    if desk.play_money:
        return "The group chain takes no fee: what you see is what you pay."
    return "The public chain takes its own fee in its own coin; it is not part of this amount."


def play_money_words(desk: Desk) -> str:
    """The plain warning of a group chain; empty on a public one."""
    return desk.status.group.banner if desk.play_money else ""
