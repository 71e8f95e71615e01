"""What waits to be sent, and who keeps letters: a part of the Network page."""

from __future__ import annotations

import time

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.documents import Nothing
from openstall.ui.mail import Mailboxes, OutboxItems, Waiting
from openstall.ui.people import about_name, called, warning
from openstall.ui.widgets.layout import Panel, button, row
from openstall.ui.widgets.notices import Banner, EmptyState
from openstall.ui.widgets.people import peer_column
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text


def where_words(item: Waiting) -> str:
    """Where it waits; why it was not sent comes first."""
    odd = warning(item.keeper_marks)
    return item.trouble or (f"{item.state_words} The mailbox: {odd}." if odd else item.state_words)


COLUMNS: list[Column[Waiting]] = [
    Column(
        title="What",
        text=lambda w: w.what,
        second=where_words,
        tip=lambda w: f"{w.state_words} {about_name(w.keeper_marks)} {w.trouble}",
        icon=lambda w: ("clock", "muted") if w.state == "posted" else ("pending", "care"),
        stretch=True,
    ),
    peer_column("To", lambda w: (w.to_name, w.to, w.to_marks), width=190),
    Column(
        title="Since",
        text=lambda w: words.ago(w.written_at, int(time.time())),
        sort=lambda w: w.written_at,
        width=120,
        tip=lambda w: words.moment(w.written_at),
    ),
]


class OutboxPanel(Panel):
    """Loads by itself when it is told to; what goes wrong is said in the page's banner."""

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__("Waits to be sent")
        self._desk = desk
        self._banner = banner
        self._boxes = Mailboxes()
        empty = EmptyState(
            "send",
            "Nothing waits",
            "What you write while others are off is kept here, and sent by itself when you are both online.",
        )
        self.table = RowTable("What waits to be sent", COLUMNS, lambda w: w.id, empty, row_height=56)
        self.table.setMinimumHeight(180)
        self.table.chosen.connect(lambda _row: self._look())
        self._drop = button("&Take it back", self._take_back, icon="cancel", kind="quiet")
        by_hand = button("&Exchange by file…", lambda: desk.go.emit("exchange"), icon="file")
        self._mine = Text("", "small")
        self._serves = Text("", "small")
        self._serve = button("", self._change, kind="quiet")
        self.body.addWidget(self.table, 1)
        self.body.addLayout(row(self._drop, 1, by_hand))
        self.body.addWidget(self._mine)
        foot = row(self._serves, self._serve)
        foot.setStretch(0, 1)
        self.body.addLayout(foot)
        self._look()

    def load(self) -> None:
        """Ask the node."""
        self._desk.api.get("/v1/outbox", OutboxItems, self._show, owner=self, failed=self._banner.fail)
        self._desk.api.get("/v1/mailbox", Mailboxes, self._show_boxes, owner=self, failed=self._banner.fail)

    def _show(self, found: OutboxItems) -> None:
        self.table.set_rows(found.items)
        self._drop.setVisible(bool(found.items))
        self._look()

    def _show_boxes(self, found: Mailboxes) -> None:
        self._boxes = found
        names = ", ".join(called(box.name, box.peer_id, box.marks) for box in found.mine)
        away = any(box.trouble for box in found.mine)
        self._mine.say(
            f"While you are off, letters for you are kept by {names}{', not reachable now' if away else ''}."
            if names
            else "Nobody keeps letters for you: others reach you while you are online."
        )
        kept = found.kept
        held = (
            f" {words.plural(kept.letters, 'letter')} for {words.plural(kept.peers, 'peer')} now,"
            f" {words.memory(kept.bytes)}."
            if kept.letters
            else ""
        )
        self._serves.say(
            f"You keep letters for members of your group that are off; they are sealed.{held}"
            if found.serves
            else f"You keep no letters for others.{held}"
        )
        self._serve.setText("Keep no more" if found.serves else "&Keep letters for others")
        self._serve.setAccessibleName(self._serve.text().replace("&", ""))

    def _look(self) -> None:
        chosen = self.table.current()
        self._drop.setEnabled(chosen is not None and chosen.may_drop)

    def _take_back(self) -> None:
        chosen = self.table.current()
        if chosen is not None:
            self._desk.api.post(
                f"/v1/outbox/{chosen.id}/drop",
                {},
                Nothing,
                lambda _: self.load(),
                owner=self,
                failed=self._banner.fail,
            )

    def _change(self) -> None:
        self._desk.api.post(
            "/v1/mailbox/serve",
            {"on": not self._boxes.serves},
            Mailboxes,
            self._show_boxes,
            owner=self,
            failed=self._banner.fail,
        )
