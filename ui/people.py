"""What the local API says of the people behind names, and how a name of a peer is shown everywhere."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from collections.abc import Sequence

from openstall.ui import words
from openstall.ui.documents import Document

OUTSIDE = "Leads outside: nobody from Openstall will ask you to go there."
_SHORT = {
    "looks_like": "look-alike name",
    "claims_office": "no such office",
    "mixed_scripts": "mixed alphabets",
    "direction": "runs both ways",
}


class NameMark(Document, frozen=True, kw_only=True):
    """What is odd about a name."""

    code: str = ""
    words: str = ""


class WayOut(Document, frozen=True, kw_only=True):
    """An address, number or link in a text, by which one would leave the app."""

    kind: str = ""
    text: str = ""


class Authored(Document, frozen=True, kw_only=True):
    """What a peer has signed; `author_roles` are those of its key, `author_marks` are about its name."""

    author: str = ""
    author_name: str = ""
    author_roles: list[str] = []
    author_marks: list[NameMark] = []
    ways_out: list[WayOut] = []


def called(name: str, peer_id: str, marks: Sequence[NameMark], cap: int = 60) -> str:
    """A peer's name on one line, with a short word behind it where something is odd about it."""
    shown = words.one_line(name, cap) or words.short_id(peer_id) or "no name given"
    return f"{shown} ({warning(marks)})" if marks else shown


def author_of(item: Authored, cap: int = 60) -> str:
    """Who has signed a record."""
    return called(item.author_name, item.author, item.author_marks, cap)


def warning(marks: Sequence[NameMark]) -> str:
    """The first mark in two words; empty where there is none."""
    return _SHORT.get(marks[0].code, "odd name") if marks else ""


def about_name(marks: Sequence[NameMark]) -> str:
    """All marks in full."""
    return " ".join(words.one_line(one.words, 300) for one in marks)


def leads_outside(ways: Sequence[WayOut]) -> str:
    """What to say of a text that names ways out, and which; empty where it names none."""
    named = ", ".join(f"{words.one_line(one.kind, 30)} {words.one_line(one.text, 80)}" for one in ways[:5])
    more = f" and {len(ways) - 5} more" if len(ways) > 5 else ""
    return f"{OUTSIDE} The text names: {named}{more}." if ways else ""
