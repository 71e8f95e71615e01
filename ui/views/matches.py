"""A ranking with the reason for every place: developers for a request, or requests for a developer."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.people import author_of
from openstall.ui.requests import Match, Matches
from openstall.ui.widgets.layout import Panel, button, clear, row, rule
from openstall.ui.widgets.marks import Badge
from openstall.ui.widgets.people import caution_about
from openstall.ui.widgets.text import Text

SHOWN = 20
BY_LOT = "by lot"


class MatchList(QWidget):
    """Best first; each place says why."""

    def __init__(self, empty: str, *, action: tuple[str, Callable[[str], object]] | None = None) -> None:
        super().__init__()
        self._empty = empty
        self._action = action
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(theme.GRID)

    def show_matches(self, found: Matches) -> None:
        """Show a ranking."""
        clear(self._lines)
        if not found.items:
            self._lines.addWidget(Text(self._empty, "muted"))
        for place, match in enumerate(found.items[:SHOWN], 1):
            if place > 1:
                self._lines.addWidget(rule())
            self._show(place, match)
        if found.total > SHOWN:
            self._lines.addWidget(Text(f"{found.total - SHOWN:,} more fit less well.", "small"))

    def _show(self, place: int, match: Match) -> None:
        title = Text(f"{place}. {words.one_line(match.title, 120)}", "strong")
        head = row(title)
        head.setStretch(0, 1)
        if match.lane == "newcomer":
            head.addWidget(Badge(BY_LOT, "person", "muted"))
        if self._action is not None:
            label, go = self._action
            show = button(label, lambda: go(match.cid), icon="forward")
            show.setAccessibleName(f"{label} {words.one_line(match.title, 120)}")
            head.addWidget(show)
        self._lines.addLayout(head)
        self._lines.addWidget(Text(f"by {author_of(match)}", "small"))
        self._lines.addWidget(caution_about(match))
        for line in _reasons(match):
            self._lines.addWidget(line)


class FitPanel(Panel):
    """On the page of a request: to its requester who could build it, to others whether it fits their card."""

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__("Does it fit?")
        self._desk, self._cid = desk, cid
        self._said = Text("", "muted")
        self._list = MatchList("No developer of the group fits it yet. Cards come and go: look again later.")
        self._card = button("Your &card…", lambda: desk.go.emit("developer"), icon="person")
        self.body.addWidget(self._said)
        self.body.addWidget(self._list)
        self.body.addLayout(row(self._card, 1))
        self.hide()

    def look(self, *, mine: bool) -> None:
        """Ask the node, and show the answer."""
        self.heading.say("Developers who could build it" if mine else "Does it fit you?")
        path = f"/v1/requests/{self._cid}/developers" if mine else "/v1/developer/inbox"
        then = self._show_developers if mine else self._show_own
        self._desk.api.get(path, Matches, then, owner=self, failed=self._failed)

    def _show_developers(self, found: Matches) -> None:
        self._say("")
        self._list.show_matches(found)
        self._list.show()

    def _show_own(self, found: Matches) -> None:
        place, match = next(
            ((at, one) for at, one in enumerate(found.items, 1) if one.cid == self._cid), (0, None)
        )
        self._list.hide()
        if match is None:
            self._say("It does not fit your card: another task, or your card has no place left.", card=True)
            return
        lot = ", drawn by lot" if match.lane == "newcomer" else ""
        where = f"Place {place} of {words.plural(found.total, 'open request')} for your card{lot}."
        self._say("\n".join([where, *(words.one_line(reason, 300) for reason in match.reasons)]), card=True)

    def _failed(self, failure: Failure) -> None:
        self._list.hide()
        if failure.code == "no_card":
            self._say("You have no card as a developer. With one you are told what fits you.", card=True)
        else:
            self._say(f"{failure.message} {failure.what_next}".strip())

    def _say(self, text: str, *, card: bool = False) -> None:
        self._said.say(text)
        self._said.setVisible(bool(text))
        self._card.setVisible(card)
        self.show()


def _reasons(match: Match) -> list[Text]:
    return [Text(words.one_line(reason, 300)) for reason in match.reasons]
