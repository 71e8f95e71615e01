"""House rules as a person changes them on the command line: by name, by hours, or all from a file."""

from __future__ import annotations

import json
from typing import IO, Any

import msgspec

from openstall.market.errors import Refused
from openstall.market.house_hours import parse_hours

MAX_RULES_BYTES = 64 * 1024


def changed_rules(
    present: dict[str, Any], changes: tuple[str, ...], hours: str | None, file: IO[bytes] | None
) -> Any:
    """The rules after the changes; those that are not named stay as they are at `present`.

    Raises:
        Refused: something that is no JSON value.
    """
    value = _json(file.read(MAX_RULES_BYTES)) if file else dict(present)
    for change in changes:
        name, _, text = change.partition("=")
        value[name] = _json(text)
    if hours is not None:
        value["hours"] = msgspec.to_builtins(parse_hours(hours))
    return value


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(
            "bad_house_rules",
            f"“{text[:60]!s}” is not a JSON value.",
            "Write numbers and true, false, null as they are, texts in double quotes.",
        ) from error
