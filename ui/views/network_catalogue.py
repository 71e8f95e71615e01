"""What the catalogue holds, whose it is, how much room it has, and how complete it is beside each peer's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from PySide6.QtWidgets import QProgressBar

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.network import CatalogueState, Kept, Standing
from openstall.ui.views.network_section import Section
from openstall.ui.widgets.inputs import NumberField
from openstall.ui.widgets.layout import Panel, button, row
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.notices import Banner, EmptyState
from openstall.ui.widgets.people import peer_column
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

MIB = 2**20
LEAST_MIB, MOST_MIB = 1, 2**20
_NAMES = {
    "listing": "model for sale|models for sale",
    "offer": "machine|machines",
    "request": "request|requests",
    "developer": "developer|developers",
    "peer": "known peer|known peers",
}
_TRUST = {
    "own": "your own",
    "traded": "of peers you have orders with",
    "seen": "of peers you were connected to",
    "stranger": "of strangers",
}


def standing_of(one: Standing) -> theme.Mark:
    """How the catalogue stands beside one peer's."""
    if not one.checked_at:
        return ("not compared yet", "clock", "muted")
    if one.equal:
        return ("the same", "done", "good")
    if one.complete:
        return ("nothing is missing", "done", "good")
    lacking = max(0, one.missing - one.admitted)
    return (f"{words.plural(lacking, 'record')} not taken", "warning", "care")


COLUMNS: list[Column[Standing]] = [
    peer_column("Peer", lambda one: (one.name, one.peer_id, one.marks), stretch=True),
    Column(
        title="Beside its catalogue",
        text=lambda one: standing_of(one)[0],
        icon=lambda one: standing_of(one)[1:],
        width=190,
    ),
    Column(
        title="Compared",
        text=lambda one: words.ago(one.checked_at, int(time.time())),
        sort=lambda one: one.checked_at,
        width=104,
    ),
]


class CataloguePanel(Panel):
    """Counts, room, completeness."""

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__("The catalogue here")
        self._desk, self._banner = desk, banner
        self._counts, self._whose = Text(""), Text("", "small")
        self.badge = Badge()
        self.body.addLayout(row(self.badge, 1))
        self.body.addWidget(self._counts)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setRange(0, 1000)
        self._bar.setFixedHeight(8)
        self._room = Text("", "small")
        self.body.addWidget(self._bar)
        self.body.addWidget(self._room)
        self.body.addWidget(self._whose)
        self.cap = NumberField(LEAST_MIB, LEAST_MIB, MOST_MIB, suffix="MiB")
        self.cap.setAccessibleName("Room for the catalogue")
        self._apply = button("&Change", self._change)
        self.body.addLayout(row(Text("Room for it", "muted", wrap=False), self.cap, self._apply, 1))
        empty = EmptyState(
            "network", "No member is connected", "Catalogues are compared with connected members."
        )
        self.table = RowTable("How complete it is", COLUMNS, lambda one: one.peer_id, empty, row_height=52)
        self.table.setMinimumHeight(150)
        self.body.addWidget(self.table, 1)

    def load(self) -> None:
        """Ask the node."""
        self._desk.api.get(
            "/v1/catalogue/state", CatalogueState, self.show_state, owner=self, failed=self._banner.fail
        )

    def show_state(self, state: CatalogueState) -> None:
        """Show what the node says."""
        compared = bool(state.peers) and all(one.checked_at for one in state.peers)
        if state.complete:
            self.badge.mark("complete", "done", "good")
        elif compared:
            self.badge.mark("records were not taken", "warning", "care")
        else:
            self.badge.mark("not compared yet" if state.peers else "nobody to compare with", "clock", "muted")
        self._counts.say(count_words(state.counts))
        share = state.used_bytes / state.cap_bytes if state.cap_bytes else 0.0
        self._bar.setValue(round(1000 * min(1.0, share)))
        self._room.say(
            f"{words.plural(state.records, 'record')}, {words.memory(state.used_bytes)} of "
            f"{state.cap_bytes // MIB:,} MiB. When it is full, records of strangers go first."
        )
        self._bar.setAccessibleName(self._room.text())
        self._whose.say(whose_words(state.by_trust))
        if not self.cap.hasFocus():
            self.cap.setValue(max(LEAST_MIB, state.cap_bytes // MIB))
        self.table.set_rows(state.peers)

    def _change(self) -> None:
        self._desk.api.post(
            "/v1/catalogue/storage",
            {"cap_bytes": self.cap.value() * MIB},
            CatalogueState,
            self._changed,
            owner=self,
            failed=self._banner.fail,
        )

    def _changed(self, _state: CatalogueState) -> None:
        self._banner.say("good", "The room for the catalogue is changed.")
        self.load()


def count_words(counts: Mapping[str, int]) -> str:
    """What there is to be found."""
    named = [words.plural(counts.get(type_, 0), *names.split("|")) for type_, names in _NAMES.items()]
    return f"{', '.join(named[:-1])} and {named[-1]}."


def whose_words(by_trust: Mapping[str, Kept]) -> str:
    """Whose records take the room."""
    said = [
        f"{kept.records:,} {_TRUST[level]}"
        for level in _TRUST
        if (kept := by_trust.get(level)) is not None and kept.records
    ]
    return f"Whose they are: {', '.join(said)}." if said else ""


class CatalogueSection(Section):
    """The catalogue."""

    title: ClassVar[str] = "Catalogue"
    name: ClassVar[str] = "catalogue"
    listens: ClassVar[frozenset[str]] = frozenset({"catalogue", "peers"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self.catalogue = CataloguePanel(desk, banner)
        self.body.addWidget(self.catalogue, 1)

    def load(self) -> None:
        self.catalogue.load()
        self.loaded.emit()
