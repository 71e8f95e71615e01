"""Changes to a JSON document, one or a few at a time: what somebody with a modified client would try."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[Any, ...]

WORDS = (
    "", " ", "a" * 5000, "\u202etxet", "\u200b", "\x00", "\ud800", "é", "e\u0301", "<b>x</b>", "../../x",
    "CON", "\r\n",
    "0x" + "0" * 40, "0x" + "ff" * 20, "12D3KooW", "0" * 64, "ab" * 32, "b" + "a" * 58,
    "A" * 86, "NaN", "1e9", "-1",
    "file:///etc/passwd", "/ip4/127.0.0.1/tcp/0", "sale", "compute", "custom", "listing", "tombstone",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 16, 255, 256, 4096, 2**31, 2**32, 2**40, 2**53 - 1, 2**53, -(2**53), 2**63, 2**64,
    10**15 + 1, 10**400,
    1.5, -0.0, float("inf"), float("nan"), True, False,
)  # fmt: skip


def places(value: Any, before: Path = ()) -> Iterator[Path]:
    """The path of every value inside a document, the document itself first."""
    yield before
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*before, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*before, index))


def at(value: Any, path: Path) -> Any:
    """What lies at a path."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """The document with something else at a path."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


def without(value: Any, path: Path) -> Any:
    """The document without what lies at a path."""
    inner = at(value, path[:-1]).copy()
    del inner[path[-1]]
    return put(value, path[:-1], inner)


def nested(depth: int) -> Any:
    """Lists in lists."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def flipped(value: Any) -> list[Any]:
    """Other values for one place, of the same kind and of every other: the first are the subtle ones."""
    other_kinds: list[Any] = [
        None,
        True,
        0,
        -1,
        2**53 - 1,
        2**53,
        1.5,
        "",
        "x",
        [],
        {},
        [value],
        {"x": value},
    ]
    near: list[Any] = []
    match value:
        case bool():
            near = [not value]
        case int():
            near = [value + 1, value - 1, -value, value * 1000, value // 2]
        case str():
            near = [
                _other_letter(value, 0),
                _other_letter(value, len(value) // 2),
                _other_letter(value, -1),
                value + "0",
            ]
            near += [
                value[:-1],
                value.upper(),
                value.lower(),
                value + "\n",
                "\u202e" + value,
                value + "\u200b",
                value * 2,
            ]
        case list():
            near = [value[:-1], value[::-1], value + value[:1], value * 200]
        case dict():
            near = [value | {"x": 1}, dict(list(value.items())[:-1])]
    kept: list[Any] = []
    for one in [*near, *other_kinds]:
        if json.dumps(one) != json.dumps(value) and one not in kept:
            kept.append(one)
    return kept


def _other_letter(text: str, place: int) -> str:
    if not text:
        return "a"
    place %= len(text)
    letter = text[place]
    new = chr(ord(letter) + 1) if letter in "012345678abcdeABCDE" else "0" if letter.isdigit() else "a"
    return text[:place] + (new if new != letter else "b") + text[place + 1 :]


def mutate(value: Any, draw: random.Random) -> Any:
    """The document after one to three changes that a generator draws."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        value = _change(value, draw)
    return value


def _change(value: Any, draw: random.Random) -> Any:  # noqa: PLR0911 - one case, one change
    found = list(places(value))
    path = draw.choice(found)
    old = at(value, path)
    match draw.randrange(7):
        case 0 if path:
            return without(value, path)
        case 1:
            return put(value, path, draw.choice(WORDS))
        case 2:
            return put(value, path, draw.choice(NUMBERS))
        case 3:
            return put(value, path, at(value, draw.choice(found)))
        case 4 if isinstance(old, dict):
            return put(value, path, old | {draw.choice((*WORDS, *old)): draw.choice((1, "", None, [], {}))})
        case 4 | 5 if isinstance(old, list) and old:
            return put(value, path, old + [draw.choice(old)] * draw.choice((1, 1, 70, 1100)))
        case 5:
            return put(value, path, draw.choice((None, True, [], {}, nested(13), nested(150))))
        case _:
            return put(value, path, draw.choice(flipped(old)))


def encode(value: Any) -> bytes:
    """As nearly canonical as the value allows; what no canonical form has is written all the same."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
