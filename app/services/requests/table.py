"""Reads the requester's table: a CSV as spreadsheets write it, into rows of clean cells.

Whatever is wrong is said with its line and what to do about it, many at once, so that the owner of a shop
corrects the file in one go.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from openstall.market import text
from openstall.market.errors import NotFound, Refused
from openstall.market.requests.bodies import MOST_COLUMNS, MOST_SEALED_ROWS
from openstall.market.requests.demands import LEAST_ROWS

MAX_FILE: Final = 64 * 1024 * 1024
MAX_CELL: Final = 1_000
MAX_NAME: Final = 120
MOST_PROBLEMS: Final = 20
DELIMITERS: Final = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
ENCODINGS: Final = ("utf-8", "utf-16", "windows-1250", "windows-1252", "windows-1254", "iso-8859-9")
_SAMPLE_CHARS: Final = 16_384
_COMMA_NUMBER: Final = re.compile(r"[+-]?[0-9]+,[0-9]+")
_SAVE_AS: Final = "In your spreadsheet choose “Save as”, type “CSV UTF-8”."


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What keeps a table from being used; `line` counts from 1 with the header, 0 is the file as a whole."""

    line: int
    words: str
    fix: str


@dataclass(slots=True, kw_only=True)
class Problems:
    """The first of them, and the number of all."""

    items: list[Problem] = field(default_factory=list)
    total: int = 0

    def add(self, line: int, words: str, fix: str) -> None:
        """One more."""
        self.total += 1
        if len(self.items) < MOST_PROBLEMS:
            self.items.append(Problem(line=line, words=words, fix=fix))

    def error(self) -> Refused:
        """`bad_table` with the first of them, and how many there are."""
        first = self.items[0]
        where = f"Line {first.line}: " if first.line else ""
        more = f" There are {self.total - 1} more like it or others." if self.total > 1 else ""
        return Refused("bad_table", f"{where}{first.words}{more}", first.fix)

    def refuse(self) -> None:
        """Raises Refused `bad_table`, if there are any."""
        if self.items:
            raise self.error()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it was read. `lines` are the line numbers of the rows; cells have no space around them."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    delimiter: str
    encoding: str
    comma_columns: tuple[str, ...]
    """Columns whose decimal commas became points."""
    sha256: str

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        at = self.header.index(name)
        return [row[at] for row in self.rows]


def parse_number(cell: str) -> float | None:
    """A finite number as the evaluation reads it, or None."""
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_table(path: Path, problems: Problems, *, encoding: str = "") -> Table | None:
    """The table in a file; None where `problems` says why there is none.

    Raises:
        NotFound: no such file.
        Refused: it is too large, or cannot be read at all.
    """
    raw = _bytes_of(path)
    found = _decoded(raw, encoding, problems)
    if found is None:
        return None
    words, used = found
    delimiter = _delimiter_of(words)
    records = _records(words, delimiter, problems)
    header = _header(next(records, (1, [])), problems)
    if header is None:
        return None
    rows, lines = _rows(records, header, problems)
    rows, changed = _with_points(rows, header, delimiter)
    return Table(
        header=header,
        rows=tuple(rows),
        lines=tuple(lines),
        delimiter=delimiter,
        encoding=used,
        comma_columns=changed,
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def need_column(table: Table, name: str, problems: Problems) -> bool:
    """Whether the table has the column; where not, the problem names the nearest."""
    if name in table.header:
        return True
    near = get_close_matches(name, table.header, n=1)
    shown = ", ".join(table.header[:20])
    fix = f"Did you mean “{near[0]}”?" if near else f"The columns are: {shown}."
    problems.add(1, f"There is no column “{text.clean(name)[:MAX_NAME]}”.", fix)
    return False


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound("no_such_file", f"There is no file {path}.", "Choose a CSV file.") from error
    except OSError as error:
        raise Refused(
            "unreadable_file", f"The file {path} cannot be read: {error.strerror}.", "Check that it is yours."
        ) from error
    if len(raw) > MAX_FILE:
        raise Refused(
            "table_too_large",
            f"{path.name} has more than {MAX_FILE // 2**20} MiB.",
            "Keep fewer rows: a few thousand are enough to measure a model.",
        )
    return raw


def _decoded(raw: bytes, encoding: str, problems: Problems) -> tuple[str, str] | None:
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        problems.add(0, "This is a workbook of a spreadsheet, not a CSV file.", _SAVE_AS)
        return None
    if not raw.strip():
        problems.add(0, "The file is empty.", "Choose the CSV file with your rows.")
        return None
    if encoding and encoding not in ENCODINGS:
        raise Refused(
            "unknown_encoding", f"“{encoding[:40]}” is not known.", f"Choose one of {', '.join(ENCODINGS)}."
        )
    used = encoding or ("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    try:
        words = raw.decode("utf-8-sig" if used == "utf-8" else used)
    except UnicodeError as error:
        line = raw.count(b"\n", 0, getattr(error, "start", 0)) + 1
        fix = f"{_SAVE_AS} Or say how it was written, as windows-1252."
        problems.add(line, f"There are letters that are not {used.upper()}.", fix)
        return None
    if not words.strip():  # a byte order mark and nothing else
        problems.add(0, "The file is empty.", "Choose the CSV file with your rows.")
        return None
    if "\0" in words:
        line = words.count("\n", 0, words.index("\0")) + 1
        problems.add(line, "There are bytes that no text has.", _SAVE_AS)
        return None
    return words, used


def _delimiter_of(words: str) -> str:
    """What stands between the cells: by the csv module's guess, where the first line agrees with it."""
    sample = words[:_SAMPLE_CHARS]
    first = sample.splitlines()[0]
    try:
        guess = csv.Sniffer().sniff(sample, "".join(DELIMITERS)).delimiter
    except csv.Error:
        guess = ""
    if guess and guess in first:
        return guess
    return max(DELIMITERS, key=first.count)


def _records(words: str, delimiter: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on; lines without anything are passed over."""
    reader = csv.reader(io.StringIO(words, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error:
            fix = "Look for a quotation mark that is not closed, or stands inside a cell."
            problems.add(line, "The quotation marks do not fit.", fix)
            return
        if any(cell.strip() for cell in record):
            yield line, [cell.strip() for cell in record]


def _header(first: tuple[int, list[str]], problems: Problems) -> tuple[str, ...] | None:
    line, names = first
    before = problems.total
    if not names:
        problems.add(0, "The file has no rows.", "Choose the CSV file with your rows.")
        return None
    if all(parse_number(name) is not None for name in names):
        problems.add(
            line, "The first line has numbers, no names.", "Add a line on top that names the columns."
        )
        return None
    if len(names) < 2:
        fix = "There must be a column with the answer and at least one to tell it by."
        problems.add(line, "There is only one column.", fix)
    if len(names) > MOST_COLUMNS + 1:
        problems.add(line, f"There are {len(names)} columns.", f"Keep {MOST_COLUMNS + 1} at most.")
    for number, name in enumerate(names, 1):
        if not name:
            problems.add(line, f"Column {number} has no name.", "Name it, or delete the column.")
        elif len(name) > MAX_NAME or text.clean(name) != name:
            problems.add(line, f"The name of column {number} cannot be used.", "Type a short name anew.")
        elif name in names[: number - 1]:
            problems.add(line, f"Two columns are named “{name}”.", "Give each its own name.")
    return tuple(names) if problems.total == before else None


def _rows(
    records: Iterator[tuple[int, list[str]]], header: Sequence[str], problems: Problems
) -> tuple[list[tuple[str, ...]], list[int]]:
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    for line, cells in records:
        if len(rows) >= MOST_SEALED_ROWS:
            problems.add(line, f"There are more than {MOST_SEALED_ROWS:,} rows.", "Keep fewer.")
            break
        if len(cells) != len(header):
            words = f"This row has {len(cells)} cells; the header names {len(header)} columns."
            fix = "Put a cell with a delimiter in it into quotation marks; add or delete cells."
            problems.add(line, words, fix)
        elif (long := _first_long(cells)) is not None:
            words = f"A cell of “{header[long]}” has more than {MAX_CELL:,} characters."
            problems.add(line, words, "Shorten it, or leave the column out.")
        else:
            rows.append(tuple(cells))
            lines.append(line)
    if len(rows) < LEAST_ROWS and not problems.total:
        words = f"There are {len(rows)} rows; a figure needs {LEAST_ROWS} at least."
        problems.add(0, words, "Add rows: a hundred or more tell good models from lucky ones.")
    return rows, lines


def _first_long(cells: Sequence[str]) -> int | None:
    return next((at for at, cell in enumerate(cells) if len(cell) > MAX_CELL), None)


def _with_points(
    rows: list[tuple[str, ...]], header: Sequence[str], delimiter: str
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Decimal commas become points, in columns where every cell is a number with or without one."""
    if delimiter == ",":
        return rows, ()
    changed = []
    for at in range(len(header)):
        filled = [row[at] for row in rows if row[at]]
        marked = [cell for cell in filled if _COMMA_NUMBER.fullmatch(cell)]
        if marked and all(_COMMA_NUMBER.fullmatch(c) or parse_number(c) is not None for c in filled):
            changed.append(at)
    if not changed:
        return rows, ()
    places = frozenset(changed)
    renewed = [
        tuple(cell.replace(",", ".") if at in places else cell for at, cell in enumerate(row)) for row in rows
    ]
    return renewed, tuple(header[at] for at in changed)
