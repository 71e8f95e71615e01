"""Names that look like other names: how a peer that pretends to be somebody else is found out.

A name proves nothing, a key does; but people read names. The skeleton of a name is what the eye keeps of it
(Unicode Technical Standard 39): two names with one skeleton are taken for each other. We go further than the
standard, since a warning costs little: case, accents, spaces and marks do not tell two names apart either.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Role = Literal["you", "host", "partner", "arbiter"]
"""Whom one knows, the closest first: oneself, the group's host, who trades with one, who decides disputes."""
Code = Literal["looks_like", "claims_office", "mixed_scripts", "direction"]

RANK: tuple[Role, ...] = ("you", "host", "partner", "arbiter")
OFFICES = (
    "support", "helpdesk", "helpcenter", "customerservice", "admin", "administrator", "moderator",
    "openstall", "official", "escrow", "arbiter", "arbitration", "refunds",
)  # fmt: skip
"""What impostors call themselves. Nobody holds such an office here: disputes are decided by a key."""

_WRITING: tuple[frozenset[str], ...] = (
    frozenset({"HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"HAN", "HANGUL"}),
    frozenset({"HAN", "BOPOMOFO"}),
)
"""Scripts that one language mixes (UTS 39, section 5.1); Latin letters beside these are usual."""
_COMMON = frozenset({"COMMON", "INHERITED", "UNKNOWN"})
_WORD = re.compile(r"\w+")
_TURNS = re.compile("[\u061c\u200e\u200f]")
_LEFT, _RIGHT = frozenset({"L"}), frozenset({"R", "AL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A peer whose name others might borrow."""

    peer_id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is odd about a name, in words for whoever reads it."""

    code: Code
    words: str


def skeletons(name: str) -> frozenset[str]:
    """What the eye keeps of a name; names that share one of these are taken for each other.

    There are two, because case can hide a likeness: a capital I looks like l, a small i does not.
    """
    plain = unicodedata.normalize("NFKD", name)
    found = {_bare(_prototype(plain).casefold()), _bare(plain.casefold())}
    return frozenset(one for one in found if one)


def alike(one: str, other: str) -> bool:
    """Whether two names are taken for each other."""
    return not skeletons(one).isdisjoint(skeletons(other))


def office(name: str) -> str:
    """The office that a name claims to hold, or empty: it is a word of the name, or how it begins or ends."""
    words = frozenset[str]().union(*map(skeletons, _WORD.findall(name)))
    whole = skeletons(name)
    for title, bones in _offices().items():
        if bones in words or any(one.startswith(bones) or one.endswith(bones) for one in whole):
            return title
    return ""


def marks_of(peer_id: str, name: str, known: Sequence[Known]) -> list[Mark]:
    """What to say beside a peer's name; nothing where all is well, and nothing about oneself.

    Of two that one knows and that are called alike, the one that one knows better is not suspected.
    """
    own = min((RANK.index(one.role) for one in known if one.peer_id == peer_id), default=len(RANK))
    if own == 0:
        return []
    marks = [_looks_like(one) for one in _copied(peer_id, name, known, own)[:1]]
    claimed = office(name)
    if claimed and own == len(RANK):
        marks.append(
            Mark(
                code="claims_office",
                words=f"The name says “{claimed}”. Nobody here is staff: only the key in an order counts.",
            )
        )
    return marks + oddities(name)


def oddities(name: str) -> list[Mark]:
    """What is odd in the letters themselves."""
    found = []
    if _mixed(name):
        found.append(
            Mark(code="mixed_scripts", words="A word of the name mixes letters of several alphabets.")
        )
    kinds = {unicodedata.bidirectional(letter) for letter in name}
    if kinds & _LEFT and kinds & _RIGHT:
        found.append(
            Mark(
                code="direction",
                words="The name runs in both directions; its parts may be shown in another order.",
            )
        )
    return found


def _copied(peer_id: str, name: str, known: Sequence[Known], own: int) -> list[Known]:
    bones = skeletons(name)
    similar = [
        one
        for one in known
        if one.peer_id != peer_id and RANK.index(one.role) < own and not bones.isdisjoint(skeletons(one.name))
    ]
    return sorted(similar, key=lambda one: RANK.index(one.role))


def _looks_like(one: Known) -> Mark:
    whose = {
        "you": "your own",
        "host": "that of the group's host",
        "partner": "that of somebody you trade with",
        "arbiter": "that of an arbiter",
    }[one.role]
    return Mark(
        code="looks_like",
        words=f"Not the same peer: this name looks like {whose}, “{one.name}”. Compare the peer ids.",
    )


def _bare(text: str) -> str:
    """Prototypes of the letters and digits; spaces, accents and marks are left out."""
    letters = unicodedata.normalize("NFD", _prototype(unicodedata.normalize("NFD", text)))
    # a capital O looks like 0 and folds to o
    return "".join(one for one in letters if one.isalnum()).replace("0", "o")


def _prototype(text: str) -> str:
    table = _prototypes()
    return "".join(table.get(letter, letter) for letter in text)


def _mixed(name: str) -> bool:
    from confusable_homoglyphs import categories

    for word in _WORD.findall(name):
        scripts = {one.upper() for one in categories.unique_aliases(word)} - _COMMON
        if len(scripts) > 1 and not any(scripts <= several | {"LATIN"} for several in _WRITING):
            return True
    return False


@lru_cache(maxsize=1)
def _offices() -> dict[str, str]:
    return {word: _bare(word) for word in OFFICES}


@lru_cache(maxsize=1)
def _prototypes() -> dict[str, str]:
    """For each character that can be confused with others, what stands for all of them.

    The library has Unicode's table as pairs without direction. Characters that are joined by pairs are one
    class, and its lowest code point stands for it; one confused with several at once (m with rn) gives these.
    """
    from confusable_homoglyphs import utils

    pairs = [
        (_visible(left), _visible(one["c"]))
        for left, others in utils.load("confusables.json").items()
        for one in others
    ]
    parent: dict[str, str] = {}

    def top(letter: str) -> str:
        while (above := parent.get(letter, letter)) != letter:
            letter = above
        return letter

    for left, right in pairs:
        if len(left) == len(right) == 1:
            low, high = sorted((top(left), top(right)))
            parent[high] = low
    table = {letter: top(letter) for letter in parent}
    longer = {left: right for left, right in pairs if len(left) == 1 and len(right) > 1}
    return table | {left: "".join(table.get(one, one) for one in right) for left, right in longer.items()}


def _visible(letters: str) -> str:
    """Without the marks of direction that the table puts around right-to-left letters."""
    return _TURNS.sub("", letters)
