"""Reliability: of this machine with every change explained, and one's own experience with a provider."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.reliability import Reliability, ReliabilityChange
from openstall.ui.widgets.layout import Panel, column, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

_COUNTS = (
    ("done", "job done", "jobs done"),
    ("challenge_passed", "challenge passed", "challenges passed"),
    ("failed", "job failed by the provider", "jobs failed by the provider"),
    ("late", "job late", "jobs late"),
    ("owner_ended", "job ended by the owner", "jobs ended by the owner"),
    ("silent", "job never reported", "jobs never reported"),
    ("false_report", "untrue report", "untrue reports"),
    ("challenge_failed", "challenge failed", "challenges failed"),
    ("cheated", "time caught", "times caught"),
    ("bond_paid", "bond paid", "bonds paid"),
    ("job_failed", "job failed by itself", "jobs failed by themselves"),
    ("buyer_ended", "job ended by the buyer", "jobs ended by the buyer"),
)
CHAIN_AWAY = "The chain is away: bonds that paid since the last look are not counted yet."


def figure(score: int) -> str:
    """`87.42 %`."""
    return f"{score / 100:.2f} %"


def points(count: int) -> str:
    """`+0.62`, with a real minus."""
    return f"{count / 100:+.2f}".replace("-", words.MINUS)


def counts_words(found: Reliability) -> str:
    """`12 jobs done, 1 job late`."""
    return ", ".join(
        words.plural(found.counts[name], one, many) for name, one, many in _COUNTS if found.counts.get(name)
    )


def _happened(change: ReliabilityChange) -> str:
    return words.one_line(change.words, 300)


def _mend(change: ReliabilityChange) -> str:
    """What mends it; where nothing is to be mended, the order that it was."""
    back = ""
    if change.done_to_mend:
        back = f"{words.plural(change.done_to_mend, 'job')} done would bring it back."
    parts = [back, words.one_line(change.mend, 300)]
    said = " ".join(part for part in parts if part)
    return said or (f"Order {words.short_id(change.order_id)}" if change.order_id else "")


def _tip(change: ReliabilityChange) -> str:
    aged = f"{points(change.aged)} by age since the step before" if change.aged else ""
    order = f"Order {change.order_id}" if change.order_id else ""
    return "\n".join(part for part in (_happened(change), _mend(change), aged, order) if part)


def _mark(change: ReliabilityChange) -> tuple[str, theme.Tone]:
    moved = change.points or (change.aged if change.what == "older" else 0)
    return ("done", "good") if moved > 0 else ("warning", "care") if moved < 0 else ("info", "muted")


COLUMNS: list[Column[ReliabilityChange]] = [
    Column(title="When", text=lambda c: words.day(c.at), sort=lambda c: c.at, width=108),
    Column(
        title="What happened, and what mends it",
        text=_happened,
        second=_mend,
        icon=_mark,
        stretch=True,
        tip=_tip,
    ),
    Column(
        title="By age",
        text=lambda c: points(c.aged) if c.aged else "",
        sort=lambda c: c.aged,
        right=True,
        width=68,
        tip=lambda _c: "What was seen before counts for less with time: half after 90 days.",
    ),
    Column(
        title="Points",
        text=lambda c: points(c.points) if c.points else "0",
        second=lambda c: f"then {figure(c.score)}",
        sort=lambda c: c.points,
        right=True,
        width=104,
    ),
]


class ReliabilityPanel(Panel):
    """On Sell compute: the figure, the sentence behind it, and every change."""

    asked_for_order = Signal(str)

    def __init__(self) -> None:
        super().__init__("Reliability")
        self._figure = Text("", "title", wrap=False)
        self._words, self._counts, self._away = Text(""), Text("", "small"), Text(CHAIN_AWAY, "small")
        self._away.tone("care")
        self._away.hide()
        mark = Provenance(
            "measured",
            "From this node's own orders and challenges, and the chain. Buyers work it out themselves.",
        )
        texts = column(self._words, self._counts, row(mark, 1), self._away, spacing=4)
        head = row(self._figure, texts, spacing=2 * theme.GRID)
        head.setStretch(1, 1)
        self.body.addLayout(head)
        empty = EmptyState("done", "Nothing seen yet", "Each job and each challenge gets a line here.")
        self.table = RowTable("Changes of the reliability", COLUMNS, _key, empty, row_height=52)
        self.table.setMinimumHeight(190)
        self.table.opened.connect(self._open)
        self.body.addWidget(self.table)
        self.show_reliability(Reliability(words="It begins with your first job."))

    def show_reliability(self, found: Reliability) -> None:
        """Show what the node says."""
        self._figure.say(figure(found.score) if found.good_milli + found.bad_milli else "—")
        self._figure.setAccessibleName(f"Reliability {self._figure.text()}")
        self._words.say(found.words)
        self._counts.say(counts_words(found))
        self._counts.setVisible(bool(found.counts))
        self._away.setVisible(found.chain_away)
        self.table.set_rows(found.items)

    def _open(self, change: Any) -> None:
        if change.order_id:
            self.asked_for_order.emit(change.order_id)


def _key(change: ReliabilityChange) -> str:
    return f"{change.at} {change.what} {change.order_id} {change.score}"


class ExperiencePanel(Panel):
    """Beside an offer: what this node itself has seen of its provider."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Your own experience with this stall")
        self._desk = desk
        self._words, self._counts, self._last = Text("", "muted"), Text("", "small"), Text("", "small")
        self._mark = Provenance("verified", "From your own orders, your own challenges, and the chain.")
        self.body.addLayout(row(self._mark, 1))
        for part in (self._words, self._counts, self._last):
            self.body.addWidget(part)
        self._mark.hide()

    def load(self, peer_id: str) -> None:
        """Ask the node what it has seen of that peer."""
        self._desk.api.get(
            f"/v1/compute/reliability/{peer_id}", Reliability, self._show, owner=self, failed=self._failed
        )

    def _show(self, found: Reliability) -> None:
        seen = bool(found.total)
        self._mark.setVisible(seen)
        self._words.say(
            found.words if seen else "You have not rented here yet. Your node takes nobody's word."
        )
        self._counts.say(counts_words(found))
        self._counts.setVisible(seen)
        bad = next((change for change in found.items if change.points < 0), None)
        away = f"\n{CHAIN_AWAY}" if found.chain_away else ""
        self._last.say(f"Last trouble: {words.day(bad.at)}. {_happened(bad)}{away}" if bad else away.strip())
        self._last.setVisible(bool(self._last.text()))

    def _failed(self, failure: Failure) -> None:
        self._words.say(f"{failure.message} {failure.what_next}".strip())
