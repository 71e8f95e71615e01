"""What was refused and why: records, connections, peers that are shut out, authors who deny themselves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QLineEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.network import Ban, Banned, CatalogueState, Contradictions, Penalty
from openstall.ui.people import about_name, called
from openstall.ui.views.network_section import Section
from openstall.ui.views.shut_out import ShutOutForm, shown, time_left
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import Banner, EmptyState
from openstall.ui.widgets.people import peer_column
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

MOST_LIARS = 6
"""Shown in full."""
REASONS = {
    "bad_signature": "signed by somebody else",
    "not_canonical": "not in its one form",
    "bad_schema": "of another form than its kind",
    "bad_text": "with characters that hide or reorder text",
    "other_network": "of another group",
    "other_chain": "that name another chain or contract",
    "expired": "that have expired",
    "future": "dated in the future",
    "bad_life": "whose dates make no sense",
    "bad_binding": "that claim a wallet which is not theirs",
    "too_large": "that are too large",
    "unknown_type": "of an unknown kind",
    "quota": "above what one author may have",
    "weak_key": "under a key that proves nothing",
}
_ACTS = {
    "invalid_record": "bad record",
    "too_many_requests": "asked too often",
    "frame_too_large": "sent more than is allowed",
    "bad_announcement": "announced nonsense",
    "announcement_flood": "announced too much",
    "bad_request": "asked for nonsense",
    "bad_find_node": "asked for nonsense",
    "bad_dial_back": "asked for nonsense",
    "bad_answer": "answered nonsense",
    "wrong_record": "sent another record than was asked for",
    "withheld_records": "did not give what it had listed",
    "wrong_manifest": "sent another file than was asked for",
    "corrupt_chunk": "sent wrong data of a file",
    "silent_source": "stopped sending a file",
    "bad": "answered nonsense",
}


def act_words(reason: str) -> str:
    """What a peer did, from the node's own short word for it."""
    word, _, detail = reason.partition(" ")
    said = _ACTS.get(word, "")
    why = f": {REASONS[detail]}" if word == "invalid_record" and detail in REASONS else ""
    return f"{said}{why}" if said else words.one_line(reason.replace("_", " "), 120)


def why_words(ban: Ban) -> str:
    """Why somebody is shut out."""
    if ban.by == "you":
        return words.one_line(ban.reason, 200) or "you gave no reason"
    return act_words(ban.reason)


class Deed(Penalty, frozen=True, kw_only=True):
    """The same of the same peer, told once: so many times, with all its points."""

    times: int = 1


def gathered(recent: Sequence[Penalty]) -> list[Deed]:
    """What each peer did, the newest first; what it did many times is one line."""
    same: dict[tuple[str, str], list[Penalty]] = {}
    for one in recent:
        same.setdefault((one.peer_id, one.reason), []).append(one)
    deeds = [
        Deed(
            peer_id=peer_id,
            name=acts[0].name,
            marks=acts[0].marks,
            reason=reason,
            points=sum(one.points for one in acts),
            at=max(one.at for one in acts),
            times=len(acts),
        )
        for (peer_id, reason), acts in same.items()
    ]
    return sorted(deeds, key=lambda deed: -deed.at)


def often(deed: Deed) -> str:
    """How many times, and when."""
    when = words.ago(deed.at, int(time.time()))
    return f"{deed.times:,} times, last {when}" if deed.times > 1 else when


DEEDS: list[Column[Deed]] = [
    peer_column("Peer", lambda d: (d.name, d.peer_id, d.marks), width=190),
    Column(
        title="What it did",
        text=lambda d: act_words(d.reason),
        second=often,
        sort=lambda d: d.at,
        stretch=True,
        tip=lambda d: f"{act_words(d.reason)} ({d.reason})",
    ),
    Column(title="Points", text=lambda d: str(d.points), sort=lambda d: d.points, right=True, width=72),
]
BANS: list[Column[Ban]] = [
    Column(
        title="Who",
        text=lambda b: called(b.name, shown(b.what), b.marks),
        second=why_words,
        icon=lambda b: ("warning" if b.marks else "cancel", "care"),
        stretch=True,
        tip=lambda b: f"{about_name(b.marks)} {b.what}: {why_words(b)}".strip(),
    ),
    Column(
        title="Time left",
        text=lambda b: time_left(b, int(time.time())),
        second=lambda b: "by you" if b.by == "you" else "by this node",
        sort=lambda b: b.until or 2**62,
        width=116,
    ),
]


def refused_words(refused: Mapping[str, int]) -> str:
    """How many records were refused, and why."""
    if not refused:
        return "No record was refused since the node started."
    parts = [
        f"{count:,} {REASONS.get(code, code.replace('_', ' '))}"
        for code, count in sorted(refused.items(), key=lambda pair: -pair[1])
    ]
    return f"Refused since the node started: {', '.join(parts)}."


class RefusedSection(Section):
    """Three tables: what peers did, who is shut out, and whose records contradict each other."""

    title: ClassVar[str] = "Refused"
    name: ClassVar[str] = "refused"
    listens: ClassVar[frozenset[str]] = frozenset({"peers", "catalogue"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self._records, self._connections = Text(""), Text("", "small")
        nothing = EmptyState("done", "Nothing to tell", "No peer broke a rule since the node started.")
        self.deeds = RowTable(
            "What peers did", DEEDS, lambda d: f"{d.peer_id} {d.reason}", nothing, row_height=52
        )
        acts = Panel("What was refused, and why")
        acts.body.addWidget(self._records)
        acts.body.addWidget(self._connections)
        acts.body.addWidget(self.deeds, 1)
        acts.body.addWidget(
            Text(
                "100 points shut a peer out for ten minutes, the next time for longer. A point fades in two "
                "seconds.",
                "small",
            )
        )
        self._liars = LiarsPanel()
        both = row(
            acts, column(self._out_panel(), self._liars, spacing=2 * theme.GRID), spacing=2 * theme.GRID
        )
        both.setStretch(0, 3)
        both.setStretch(1, 2)
        self.body.addLayout(both, 1)
        self._look()

    def _out_panel(self) -> Panel:
        nobody = EmptyState(
            "person", "Nobody is shut out", "You shut a peer out under Peers, or by its id below."
        )
        self.bans = RowTable("Shut out", BANS, lambda b: b.what, nobody, row_height=52)
        self.bans.setMinimumHeight(180)
        self.bans.chosen.connect(lambda _ban: self._look())
        self._ends = QTimer(self)
        self._ends.setSingleShot(True)
        self._ends.timeout.connect(lambda: self.load() if self.isVisible() else None)
        self._unban = button("&Let it in again", self._let_in, icon="back", kind="quiet")
        self.who = QLineEdit()
        self.who.setPlaceholderText("12D3Koo… or 192.0.2.0/24")
        self.who.setAccessibleName("Peer id, or network of addresses, to shut out")
        self.who.setMaxLength(100)
        self.who.textChanged.connect(lambda _text: self._look())
        self.who.returnPressed.connect(self._ask)
        self.shut_out = button("S&hut out…", self._ask, icon="cancel")
        line = row(self.who, self.shut_out)
        line.setStretch(0, 1)
        below = QWidget()
        below.setLayout(column(row(self._unban, 1), line))
        self.form = ShutOutForm(self.desk, self.banner, self.bans, below)
        self.form.done.connect(self._changed)
        out = Panel("Shut out")
        out.body.addWidget(self.bans, 1)
        out.body.addWidget(self.form, 1, Qt.AlignmentFlag.AlignTop)
        out.body.addWidget(below)
        return out

    def load(self) -> None:
        ask = self.desk.api.get
        ask("/v1/peers/banned", Banned, self._show, owner=self, failed=self.fail)
        ask("/v1/catalogue/state", CatalogueState, self._show_records, owner=self, failed=self.fail)
        ask(
            "/v1/catalogue/contradictions",
            Contradictions,
            self._liars.show_liars,
            owner=self,
            failed=self.fail,
        )

    def _show(self, found: Banned) -> None:
        self.deeds.set_rows(gathered(found.recent))
        self.bans.set_rows(found.items)
        ends = [ban.until for ban in found.items if ban.until]
        if ends:
            self._ends.start(1000 * max(1, min(min(ends) + 1 - int(time.time()), 86_400)))
        refused = words.plural(found.refused_connections, "connection was", "connections were")
        self._connections.say(f"{refused} turned away before a word was spoken.")
        self._connections.setVisible(found.refused_connections > 0)
        self._unban.setVisible(bool(found.items))
        self._look()
        self.loaded.emit()

    def _show_records(self, state: CatalogueState) -> None:
        self._records.say(refused_words(state.refused))

    def _look(self) -> None:
        self._unban.setEnabled(self.bans.current() is not None)
        self.shut_out.setEnabled(bool(self.who.text().strip()))

    def _ask(self) -> None:
        if what := self.who.text().strip():
            self.form.ask(what, shown(what))

    def _changed(self) -> None:
        self.who.clear()
        self.load()

    def _let_in(self) -> None:
        ban = self.bans.current()
        if ban is not None:
            self.form.let_in(ban.what)


class LiarsPanel(Panel):
    """Who has contradicted itself; hidden where nobody has."""

    def __init__(self) -> None:
        super().__init__("Contradicted themselves")
        self.body.addWidget(
            Text(
                "These peers have signed two things that cannot both be: they may have told different people "
                "different things, or gone back to an old back-up. The proof is kept, and goes to others.",
                "small",
            )
        )
        self._named = column()
        self.body.addLayout(self._named)
        self.hide()

    def show_liars(self, found: Contradictions) -> None:
        """Show these."""
        clear(self._named)
        for one in found.items[:MOST_LIARS]:
            icon = Picture("warning", "bad")
            who = Text(called(one.author_name, one.author, one.author_marks), "strong")
            who.setToolTip(words.tooltip(f"{about_name(one.author_marks)} {one.author}".strip()))
            said = Text(f"{words.one_line(one.words, 200)} Found {words.moment(one.found_at)}.")
            line = row(icon, column(who, said, spacing=0))
            line.setAlignment(icon, Qt.AlignmentFlag.AlignTop)
            line.setStretch(1, 1)
            self._named.addLayout(line)
        if found.total > MOST_LIARS:
            more = found.total - min(MOST_LIARS, len(found.items))
            self._named.addWidget(
                Text(f"And {more:,} more: “openstall catalogue contradictions” lists them.", "small")
            )
        self.setVisible(bool(found.items))
