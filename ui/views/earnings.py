"""Earnings minus electricity on the Sell compute page: as bars, per device and day, and as files."""

from __future__ import annotations

from datetime import date

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from openstall.ui import theme, words
from openstall.ui.house import DayEarning
from openstall.ui.widgets.day_bars import DayBar, DayBars, Swatch
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

_BY: dict[str, tuple[str, str, theme.Tone]] = {
    "measured": ("measured", "measured", "accent"),
    "claimed": ("the rig's word", "claimed", "care"),
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


_PARTS = (
    ("left", "left after electricity"),
    ("electricity", "electricity"),
    ("loss", "loss"),
    ("unknown", "electricity not known"),
)


def bars_of(days: list[DayEarning]) -> list[DayBar]:
    """The devices of each day together; one whose energy is not known makes the day's not known."""
    groups: dict[date, list[DayEarning]] = {}
    for one in days:
        groups.setdefault(date.fromisoformat(one.day), []).append(one)
    return [
        DayBar(
            day=day,
            jobs=sum(one.jobs for one in group),
            earned_micro=sum(one.earned_micro for one in group),
            cost_micro=None
            if any(one.net_micro is None for one in group)
            else sum(one.cost_micro for one in group),
        )
        for day, group in groups.items()
    ]


class EarningsPanel(Panel):
    """The days as bars and as a table, the newest first, and two buttons that write them down."""

    asked_to_save = Signal(str, str)
    """`csv` or `pdf`, and the chosen path."""

    def __init__(self) -> None:
        super().__init__("Earnings minus electricity")
        empty = EmptyState("coin", "Nothing earned yet", "Each day on which jobs ran gets a line here.")
        self.table = RowTable("Earnings", COLUMNS, lambda d: f"{d.day} {d.device}", empty)
        self.table.setMinimumHeight(128)
        self.bars = DayBars()
        self._said = Text("", "small")
        self.bars.chosen.connect(self._said.say)
        self._plot = QWidget()
        legend = [part for name, label in _PARTS for part in (Swatch(name), Text(label, "small", wrap=False))]
        self._plot.setLayout(column(row(*legend, 1), self.bars, self._said, spacing=theme.GRID // 2))
        self._plot.hide()
        self.body.addWidget(self._plot)
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
        self.bars.show_days(bars_of(days), date.today())  # noqa: DTZ011 - the owner's own day
        self._plot.setVisible(bool(days))
        self._buttons.setVisible(bool(days))

    def _choose(self, kind: str) -> None:
        path, _filter = QFileDialog.getSaveFileName(
            self, "Save the earnings", f"earnings.{kind}", f"{kind.upper()} (*.{kind})"
        )
        if path:
            self.asked_to_save.emit(kind, path)
