"""Warnings beside names and texts of others, in full words, and what part a key plays in the group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.people import Authored, NameMark, WayOut, about_name, leads_outside, warning
from openstall.ui.widgets.layout import clear, column, row
from openstall.ui.widgets.marks import Badge, Picture
from openstall.ui.widgets.table import Column
from openstall.ui.widgets.text import Text

R = TypeVar("R")
Who = tuple[str, str, Sequence[NameMark]]
"""A peer's name, its id, and what is odd about the name."""

_ROLES = {
    "host": ("hosts the group's chain", "group"),
    "arbiter": ("arbiter", "scales"),
    "partner": ("you have traded", "orders"),
}


class Caution(QWidget):
    """What is odd about a name and where a text leads; hidden where all is well."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = column(spacing=theme.GRID // 2)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self.setLayout(self._lines)
        self.hide()

    def say(
        self, *, marks: Sequence[NameMark] = (), roles: Sequence[str] = (), ways: Sequence[WayOut] = ()
    ) -> None:
        """Show this and nothing else."""
        clear(self._lines)
        badges = [Badge(*_ROLES[role], "accent") for role in roles if role in _ROLES]
        if badges:
            self._lines.addLayout(row(*badges, 1))
        said = [one for one in (about_name(marks), leads_outside(ways)) if one]
        for sentence in said:
            icon, text = Picture("warning", "care", 16), Text(sentence, "small")
            line = row(icon, text)
            line.setAlignment(icon, Qt.AlignmentFlag.AlignTop)
            line.setStretch(1, 1)
            self._lines.addLayout(line)
        self.setAccessibleName(" ".join(said))
        self.setVisible(bool(said or badges))

    def about(self, item: Authored) -> None:
        """Of a record's author and texts."""
        self.say(marks=item.author_marks, roles=item.author_roles, ways=item.ways_out)


def caution_about(item: Authored) -> Caution:
    """A new one."""
    made = Caution()
    made.about(item)
    return made


def peer_column(title: str, who: Callable[[R], Who], *, width: int = 0, stretch: bool = False) -> Column[R]:
    """The column of a table that names a peer: its name, under it the warning and the id; all in the tip."""

    def said(row: R) -> str:
        name, peer_id, marks = who(row)
        parts = (warning(marks), words.short_id(peer_id) if name else "")
        return " · ".join(part for part in parts if part)

    def icon(row: R) -> tuple[str, theme.Tone] | None:
        _name, peer_id, marks = who(row)
        return ("warning", "care") if marks else ("person", "muted") if peer_id else None

    return Column(
        title=title,
        text=lambda row: words.one_line(who(row)[0], 60) or words.short_id(who(row)[1]) or "no name given",
        second=said,
        icon=icon,
        tip=lambda row: f"{about_name(who(row)[2])} {who(row)[1]}".strip(),
        width=width,
        stretch=stretch,
    )
