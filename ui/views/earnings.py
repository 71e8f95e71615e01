"""Earnings minus electricity on the Sell compute page: per device and day, and as files."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from openstall.ui import theme, words
from openstall.ui.house import DayEarning
from openstall.ui.widgets.layout import Panel, button, row
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable

_BY: dict[str, tuple[str, str, theme.Tone]] = {
    "measured": ("measured", "measured", "accent"),
    "stated": ("stated by you", "claimed", "care"),
    "unknown": ("not known", "warning", "muted"),
}

COLUMNS: list[Column[DayEarning]] = [
    Column(title="Day", text=lambda d: d.day, second=lambda d: d.device, stretch=True),
    Column(title="Jobs", text=lambda d: str(d.jobs), sort=lambda d: d.jobs, right=True, width=52),
    Column(
        title="Earned",
        text=lambda d: words.amount(d.earned_micro),
        sort=lambda d: d.earned_micro,
        right=True,
        width=84,
    ),
    Column(
        title="Electricity",
        text=lambda d: words.amount(-d.cost_micro) if d.energy_by != "unknown" else "—",
        sort=lambda d: d.cost_micro,
        right=True,
        width=96,
        tip=lambda d: f"{d.energy_j / 3600:.1f} Wh in {words.span(d.worked_s)} of work",
    ),
    Column(
        title="Energy is",
        text=lambda d: _BY[d.energy_by][0],
        icon=lambda d: _BY[d.energy_by][1:],
        width=136,
    ),
    Column(
        title="Net",
        text=lambda d: "—" if d.net_micro is None else words.amount(d.net_micro, sign=True),
        sort=lambda d: d.net_micro or 0,
        right=True,
        width=104,
        tip=lambda d: "" if d.net_micro is None else words.raw_amount(d.net_micro),
    ),
]


class EarningsPanel(Panel):
    """The days, the newest first, and two buttons that write them down."""

    asked_to_save = Signal(str, str)
    """`csv` or `pdf`, and the chosen path."""

    def __init__(self) -> None:
        super().__init__("Earnings minus electricity")
        empty = EmptyState("coin", "Nothing earned yet", "Each day on which jobs ran gets a line here.")
        self.table = RowTable("Earnings", COLUMNS, lambda d: f"{d.day} {d.device}", empty)
        self.table.setMinimumHeight(120)
        self.body.addWidget(self.table)
        self._buttons = QWidget()
        self._buttons.setLayout(
            row(
                1,
                button("Save as CS&V…", lambda: self._choose("csv"), icon="download"),
                button("Save as P&DF…", lambda: self._choose("pdf"), icon="download"),
            )
        )
        self.body.addWidget(self._buttons)

    def show_days(self, days: list[DayEarning]) -> None:
        """Show what the node says."""
        self.table.set_rows(days)
        self._buttons.setVisible(bool(days))

    def _choose(self, kind: str) -> None:
        path, _filter = QFileDialog.getSaveFileName(
            self, "Save the earnings", f"earnings.{kind}", f"{kind.upper()} (*.{kind})"
        )
        if path:
            self.asked_to_save.emit(kind, path)
