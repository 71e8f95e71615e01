"""What the command line prints: tables for people, JSON documents for programs, errors for both."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from openstall.market.errors import OpenstallError
from openstall.market.money import format_amount

EXIT_FAILED = 1


@dataclass(slots=True)
class Output:
    """Chosen by `--json`, before the noun or after the verb."""

    as_json: bool

    def document(self, value: Any, words: str | None = None) -> None:
        """One JSON document, or the words for a person (the fields as a table where there are none)."""
        if self.as_json:
            click.echo(json.dumps(value, ensure_ascii=False, indent=2))
        elif words is not None:
            click.echo(words)
        else:
            click.echo(fields(value))

    def line(self, value: Any, words: str) -> None:
        """One of many: a JSON document on a line of its own, or the words."""
        click.echo(json.dumps(value, ensure_ascii=False) if self.as_json else words)

    def rows(self, answer: dict[str, Any], columns: Sequence[tuple[str, str]], *, empty: str) -> None:
        """A list of the local API as a table of the chosen (heading, field) columns."""
        if self.as_json:
            self.document(answer)
        elif not answer["items"]:
            click.echo(empty)
        else:
            click.echo(table(answer["items"], columns))
            if answer.get("total", 0) > len(answer["items"]):
                click.echo(f"{len(answer['items'])} of {answer['total']}")

    def progress(self, words: str) -> None:
        """Say how far it is, on standard error, where a person looks."""
        if not self.as_json and sys.stderr.isatty():
            click.echo(f"\r\x1b[K{plain(words)[: _width() - 1]}", nl=False, err=True)

    def end_progress(self) -> None:
        """Clear the line."""
        if not self.as_json and sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def fail(self, error: OpenstallError) -> NoReturn:
        """Print the error on standard error and end with status 1."""
        if self.as_json:
            click.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False), err=True)
        else:
            click.echo(f"Error: {plain(error.message)}", err=True)
            if error.what_next:
                click.echo(plain(error.what_next), err=True)
        sys.exit(EXIT_FAILED)


def table(items: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Aligned columns; amounts and numbers to the right, texts (but no ids) cut to fit the terminal."""
    cells = [[cell(item, field) for _, field in columns] for item in items]
    heads = [head for head, _ in columns]
    widths = [max(len(row[at]) for row in [heads, *cells]) for at in range(len(columns))]
    texts = [at for at, (_, field) in enumerate(columns) if not f"_{field}".endswith(("_id", "cid"))]
    widest = max(texts, key=lambda at: widths[at], default=0)
    spare = _width() - sum(widths) - 2 * (len(columns) - 1)
    if spare < 0 and texts:
        widths[widest] = max(12, widths[widest] + spare)
    right = [_is_number(field) for _, field in columns]
    lines = [_line(row, widths, right) for row in [heads, *cells]]
    return "\n".join(lines)


def fields(value: dict[str, Any]) -> str:
    """A JSON object as aligned `name  value` lines; nested objects are indented."""
    lines: list[str] = []
    _fields(value, "", lines)
    return "\n".join(lines)


def _fields(value: dict[str, Any], indent: str, lines: list[str]) -> None:
    width = max((len(name) for name in value), default=0)
    for name, item in value.items():
        if isinstance(item, dict):
            lines.append(f"{indent}{name}")
            _fields(item, indent + "  ", lines)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            lines.append(f"{indent}{name}")
            for one in item:
                lines.append(f"{indent}  -")
                _fields(one, indent + "    ", lines)
        else:
            lines.append(f"{indent}{name.ljust(width)}  {cell(value, name)}")


def cell(item: dict[str, Any], field: str) -> str:
    """One value in words: amounts in credits, times of day, ids as they are."""
    value: Any = item
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _number_words(value, field.rsplit(".", 1)[-1])
    if isinstance(value, list):
        return ", ".join(plain(str(one)) for one in value)
    return plain(str(value))


def _number_words(value: int, name: str) -> str:
    if name.endswith("_micro"):
        return f"{format_amount(value)} cr"
    if name.endswith(("_at", "_by")) or name in ("at", "as_of", "issued", "expires", "since", "until"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if name.endswith("_bytes") or name == "size":
        return size_words(value)
    return str(value)


def size_words(size: int) -> str:
    """`1.5 MiB` for 1572864."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def plain(text: str) -> str:
    """Text of other peers made harmless: no control characters can reach the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cut = [
        text if len(text) <= width else text[: width - 1] + "…"
        for text, width in zip(row, widths, strict=True)
    ]
    placed = [
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(cut, widths, right, strict=True)
    ]
    return "  ".join(placed).rstrip()


def _is_number(field: str) -> bool:
    name = field.rsplit(".", 1)[-1]
    return name.endswith(("_micro", "_bytes", "_ms", "_s")) or name in ("size", "seq", "total")


def _width() -> int:
    return max(60, shutil.get_terminal_size((120, 24)).columns)
