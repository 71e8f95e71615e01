"""The evidence about an order: a file for whoever decides, and for the arbiter what both sides have shown."""

from __future__ import annotations

from functools import partial

from PySide6.QtWidgets import QFileDialog, QVBoxLayout

from openstall.market.orders.words import seller_word
from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.talk import Finding, SavedEvidence, Shown, ShownBySides
from openstall.ui.trade import Order
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Picture
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

_MEANS = (
    "The signed contract, the steps on the chain, what was measured and what was written, in one file. "
    "Anybody with Openstall can check it. It holds no key and none of your data."
)
_UNPAID = frozenset({"", "proposed", "agreed", "declined", "lapsed"})


class EvidencePanel(Panel):
    """A button for a party; for the arbiter each side's evidence, checked by this node."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__("Evidence")
        self._desk, self._id = desk, order_id
        self.banner = Banner()
        self.body.addWidget(self.banner)
        self._inside = column(spacing=2 * theme.GRID)
        self.body.addLayout(self._inside)
        self._sides: list[Shown] | None = None
        self._role, self._seller = "", "seller"
        self._unfolded: set[str] = set()
        """The sides whose messages are being read; they stay open when there is more to show."""
        self.hide()

    def show_order(self, order: Order) -> None:
        """A party can save its evidence; an arbiter is shown that of a dispute."""
        arbiter = order.role == "arbiter"
        self._seller = seller_word(order.kind)
        signed = order.kind in ("sale", "custom") and order.state not in _UNPAID
        wanted = signed and (
            order.role in ("buyer", "seller") or (arbiter and order.state in ("disputed", "ruled"))
        )
        self.setVisible(wanted)
        if not wanted:
            return
        if arbiter:
            path = f"/v1/orders/{self._id}/evidence"
            self._desk.api.get(path, ShownBySides, self.show_sides, owner=self, failed=self.banner.fail)
        elif self._role != order.role:
            self._inside.addWidget(Text(_MEANS, "muted"))
            self._inside.addLayout(
                row(button("Save the &evidence…", partial(self._save, ""), icon="download"), 1)
            )
        self._role = order.role

    def show_sides(self, shown: ShownBySides) -> None:
        """Each side's evidence with what of it holds, what does not hold first."""
        if shown.items == self._sides:
            return
        self._sides = shown.items
        clear(self._inside)
        for side in ("buyer", "seller"):
            found = next((one for one in shown.items if one.by == side), None)
            if found is None:
                waits = f"The {self._word(side)} has shown nothing yet. Its node is asked by itself."
                self._inside.addLayout(row(Picture("clock", "care", 16), Text(waits, "muted")))
            else:
                self._inside.addLayout(self._side(found))

    def _word(self, side: str) -> str:
        return self._seller if side == "seller" else side

    def _side(self, shown: Shown) -> QVBoxLayout:
        mark = (
            Badge("all of it holds", "done", "good")
            if shown.holds
            else Badge("not all of it holds", "error", "bad")
        )
        word = self._word(shown.by)
        save = button(f"Save the {word}'s…", partial(self._save, shown.by), icon="download", kind="quiet")
        head = row(Text(f"Shown by the {word}", "strong", wrap=False), mark, 1, save)
        pieces = f"{words.plural(shown.items, 'piece')} of evidence, {words.moment(shown.at)}"
        made = column(head, Text(pieces, "small"))
        if shown.reason:
            made.addWidget(
                Text(f"Why the arbiter was called: {words.plain(shown.reason, 2000)}", select=True)
            )
        for one in sorted(shown.findings, key=lambda one: (one.holds is not False, one.holds is True)):
            made.addLayout(_finding(one))
        if shown.messages:
            made.addLayout(self._messages(shown))
        return made

    def _messages(self, shown: Shown) -> QVBoxLayout:
        """What was written, before the dispute too, behind a button: it may be long."""
        made = column()
        count = words.plural(len(shown.messages), "message")

        def unfold() -> None:
            self._unfolded.add(shown.by)
            clear(made)
            for one in shown.messages:
                head = Text(f"The {one.by}, {words.moment(one.at)}", "small")
                made.addLayout(column(head, Text(words.plain(one.text, 2000), select=True), spacing=2))

        if shown.by in self._unfolded:
            unfold()
            return made
        read = button(f"Read {count} in it", unfold, icon="down", kind="quiet")
        read.setAccessibleName(f"Read {count} that the {self._word(shown.by)} shows")
        made.addLayout(row(read, 1))
        return made

    def _save(self, side: str) -> None:
        name = f"order-{self._id[:8]}{'-' + side if side else ''}.evidence"
        path, _filter = QFileDialog.getSaveFileName(self, "Save the evidence", name)
        if path:
            self.save_to(path, side)

    def save_to(self, path: str, side: str = "") -> None:
        """Write the evidence to a new file."""

        def saved(done: SavedEvidence) -> None:
            pieces = words.plural(done.items, "piece")
            self.banner.say("good", f"The evidence is saved: {pieces}.", words.one_line(done.path, 300))

        self._desk.api.post(
            f"/v1/orders/{self._id}/evidence",
            {"path": path, "side": side},
            SavedEvidence,
            saved,
            owner=self,
            failed=self.banner.fail,
        )


def _finding(one: Finding) -> QVBoxLayout:
    icon, tone, word = {
        True: ("done", "good", "holds"),
        False: ("error", "bad", "does not hold"),
        None: ("circle", "muted", "not decided"),
    }[one.holds]
    picture = Picture(icon, tone, 16)  # type: ignore[arg-type]  # a tone
    picture.setAccessibleName(word)
    text = Text(f"{one.what[:1].upper()}{one.what[1:]}: {one.words}")
    line = row(picture, text)
    line.setStretch(1, 1)
    return column(line)
