"""The ranking of a contest: every model on one scale against the threshold, with place and prize."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from openstall.ui import theme
from openstall.ui.contests import SHARES, Contest, ContestEntry
from openstall.ui.desk import Desk
from openstall.ui.people import NameMark, called
from openstall.ui.requests import AT_MOST, FIGURE_WORDS
from openstall.ui.widgets.figures import Amount
from openstall.ui.widgets.layout import column, row, rule
from openstall.ui.widgets.marks import Picture, Provenance
from openstall.ui.widgets.prize_bar import ordinal
from openstall.ui.widgets.text import Text
from openstall.ui.widgets.threshold_plot import Measured, ThresholdPlot, figure_words, span_of

SHOWN = 40
_MEASURED = (
    "Measured by the evaluators, each in its own sandbox; the ranking that more than half of them signed "
    "is on the chain."
)


class Leaderboard(QWidget):
    """All models on one scale, the best first; then those that missed."""

    def __init__(self, desk: Desk, contest: Contest) -> None:
        super().__init__()
        self._desk = desk
        self._at_most = contest.metric in AT_MOST
        body = QVBoxLayout(self)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(theme.GRID)
        head = row(
            Text(FIGURE_WORDS.get(contest.metric, contest.metric), "strong"),
            Provenance("measured", _MEASURED),
        )
        head.setStretch(0, 1)
        body.addLayout(head)
        ranked = sorted(contest.entries, key=lambda one: (one.place is None, one.place or 0, not one.passed))
        figures = {one.entrant: found for one in ranked if (found := _measured(one, contest)) is not None}
        span = span_of(list(figures.values())) if figures else None
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * theme.GRID)
        grid.setVerticalSpacing(theme.GRID)
        grid.setColumnStretch(1, 1)
        for entry in ranked[:SHOWN]:
            self._line(grid, entry, figures.get(entry.entrant), span)
        body.addLayout(grid)
        if len(ranked) > SHOWN:
            body.addWidget(Text(f"{len(ranked) - SHOWN:,} more.", "small"))

    def _line(
        self,
        grid: QGridLayout,
        entry: ContestEntry,
        measured: Measured | None,
        span: tuple[float, float] | None,
    ) -> None:
        at = grid.rowCount()
        if at > 1:
            grid.addWidget(rule(), at, 0, 1, 3)
            at += 1
        passed = bool(entry.passed)
        place = f"{ordinal(entry.place)}  " if entry.place else ""
        mark = row(
            Picture("done" if passed else "error", "good" if passed else "bad"),
            Text("passed" if passed else "missed", "small", wrap=False),
            1,
        )
        name = Text(f"{place}{who(entry)}", "strong" if entry.place else "body")
        named = QWidget()
        named.setFixedWidth(168)
        named.setLayout(column(name, mark, spacing=2))
        grid.addWidget(named, at, 0)
        if measured is None:
            grid.addWidget(Text("It could not be measured.", "muted"), at, 1)
        else:
            interval = f"{figure_words(measured.low)} to {figure_words(measured.high)}"
            said = Text(f"{figure_words(measured.value)}, 95 % interval {interval}", "small", wrap=False)
            shown = QWidget()
            shown.setLayout(
                column(ThresholdPlot(measured, at_most=self._at_most, span=span), said, spacing=0)
            )
            grid.addWidget(shown, at, 1)
        grid.addWidget(self._prize(entry), at, 2)

    def _prize(self, entry: ContestEntry) -> QWidget:
        made = QWidget()
        if not entry.prize_micro:
            made.setLayout(column(row(1, Text("no prize", "muted", wrap=False)), 1))
            return made
        taken = Text("paid" if entry.claimed else "not claimed yet", "small", wrap=False)
        made.setLayout(
            column(
                Amount(entry.prize_micro, "strong", symbol=self._desk.symbol),
                row(
                    1,
                    Picture("done" if entry.claimed else "clock", "good" if entry.claimed else "muted", 14),
                    taken,
                ),
                spacing=2,
            )
        )
        return made


def _measured(entry: ContestEntry, contest: Contest) -> Measured | None:
    figure = entry.figure
    if figure is None:
        return None
    return Measured(
        name=f"{who(entry)}, {FIGURE_WORDS.get(contest.metric, contest.metric)}",
        value=float(figure.value),
        low=float(figure.low),
        high=float(figure.high),
        threshold=float(contest.threshold),
        passed=bool(entry.passed),
        ceiling=1.0 if contest.metric in SHARES else None,
    )


def who(entry: ContestEntry) -> str:
    """Whose it is."""
    return "you" if entry.mine else named(entry.name, entry.entrant, entry.name_marks)


def named(name: str, wallet: str, marks: Sequence[NameMark]) -> str:
    """What a peer calls itself; else its wallet."""
    return called(name, wallet, marks, 40)
