"""Which characters a text of a stranger may hold, so that what is shown is what was written.

Refused are control characters (a newline is allowed in texts of several lines), characters that
reorder or hide what stands around them, and texts in which nothing can be seen. The set is written
out here, and does not follow the Unicode tables of the Python at hand, because all peers must agree.
Letters that merely look alike are not refused: names that look like known ones are marked (`market.names`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, get_type_hints

import msgspec

from openstall.market.errors import InvalidRecord

_HIDDEN = (
    "\\x00-\\x1f\\x7f-\\x9f"  # control characters
    "\\u00ad\\u180e\\u200b\\u2060-\\u206f\\ufeff"  # soft hyphen, zero widths, invisible operators
    "\\u2028-\\u202e"  # line and paragraph separators, bidirectional embeddings and overrides
    "\\ufff9-\\ufffb\\U000e0000-\\U000e007f"  # interlinear notes, tags
    "\\ud800-\\udfff\\ufffe\\uffff"  # no characters at all
)
_NOT_IN_A_LINE = re.compile(f"[{_HIDDEN}]")
_NOT_IN_LINES = re.compile(f"(?!\n)[{_HIDDEN}]")
_EMPTY = re.compile(r"[\s\u061c\u115f\u1160\u200c-\u200f\u2800\u3164\uffa0]+")

LINES = {"lines": True}
"""`Meta(extra=LINES)` marks a text that may have several lines."""


def refuse_hidden(found: msgspec.Struct) -> None:
    """Check every text of a statement, at any depth.

    Raises:
        InvalidRecord: `bad_text`, with the field and the character.
    """
    texts = _fields_of_lines(type(found))
    for name in found.__struct_fields__:
        _check(getattr(found, name), name, _NOT_IN_LINES if name in texts else _NOT_IN_A_LINE)


def clean(text: str, *, lines: bool = False) -> str:
    """The text without what `refuse_hidden` refuses.

    Each such character becomes a space; a text of which nothing is seen becomes empty. This is for
    text that a person pasted or a program printed, before it is signed.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = (_NOT_IN_LINES if lines else _NOT_IN_A_LINE).sub(" ", text).strip()
    return "" if _EMPTY.fullmatch(text) else text


@lru_cache(maxsize=64)
def _fields_of_lines(schema: type[msgspec.Struct]) -> frozenset[str]:
    hints = get_type_hints(schema, include_extras=True)
    return frozenset(
        name
        for name, hint in hints.items()
        for note in getattr(hint, "__metadata__", ())
        if isinstance(note, msgspec.Meta) and note.extra == LINES
    )


def _check(value: Any, name: str, hidden: re.Pattern[str]) -> None:  # a JSON value
    match value:
        case str():
            _check_text(value, name, hidden)
        case msgspec.Struct():
            refuse_hidden(value)
        case list() | tuple():
            for item in value:
                _check(item, name, hidden)
        case dict():
            for key, item in value.items():
                _check_text(key, name, _NOT_IN_A_LINE)
                _check(item, name, _NOT_IN_A_LINE)


def _check_text(text: str, name: str, hidden: re.Pattern[str]) -> None:
    wrong = hidden.search(text)
    if wrong is not None:
        raise InvalidRecord(
            "bad_text",
            f"The field “{name}” holds a character that cannot be seen (U+{ord(wrong[0]):04X}).",
            "Write the text again without it.",
        )
    if text and _EMPTY.fullmatch(text):
        raise InvalidRecord(
            "bad_text", f"Nothing can be seen in the field “{name}”.", "Write something in it."
        )
