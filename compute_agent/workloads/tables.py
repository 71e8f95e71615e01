"""Reads a buyer's CSV into numbers and says exactly where it is wrong."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads.channel import Fault

_SIZE_CAP_BYTES = 1024**3
_COLUMN_CAP = 10_000
_NAME_CAP = 200
_SHOWN = 40
_FIX = "Correct the file and send the job again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`values` is float32 [rows, features]; `labels` are the label column's texts, if it was asked for."""

    features: tuple[str, ...]
    values: npt.NDArray[np.float32]
    labels: tuple[str, ...] | None


def read_table(path: Path, *, label: str | None, features: tuple[str, ...] | None = None) -> Table:
    """Read a CSV with a header line.

    `features` picks and orders columns by name; without it every column but `label` is a feature.
    Raises Fault `bad_csv` with file, row and column; rows count from 1 after the header.
    """
    size = path.stat().st_size
    if size > _SIZE_CAP_BYTES:
        raise _bad(path, f"it has {size} bytes; {_SIZE_CAP_BYTES} are allowed")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, csv.reader(file, strict=True), label, features)
    except UnicodeDecodeError as error:
        raise _bad(path, f"it is not UTF-8 text (byte {error.start} of a block)") from error
    except csv.Error as error:
        raise _bad(path, f"it is not valid CSV: {error}") from error


def canonical_label(text: str) -> str:
    """One spelling for labels that mean the same: spaces trimmed, `1.0` as `1`."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def parse_number(text: str) -> float | None:
    """A finite decimal number, or None. Python's extras (`1_000`, `nan`, `inf`) are none."""
    if "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read(
    path: Path, rows: Iterator[list[str]], label: str | None, features: tuple[str, ...] | None
) -> Table:
    header = _header(path, next(rows, []))
    label_at = _label_index(path, header, label)
    picked = _picked(path, header, label_at, features)
    numbers = array("f")
    labels: list[str] = []
    count = 0
    for row in rows:
        if not row:
            continue
        count += 1
        if len(row) != len(header):
            raise _bad(path, f"row {count} has {len(row)} cells; the header has {len(header)}")
        for at in picked:
            number = parse_number(row[at])
            if number is None:
                raise _bad_cell(path, count, at, header[at], row[at])
            numbers.append(number)
        if label_at is not None:
            text = canonical_label(row[label_at])
            if not text or len(text) > _NAME_CAP:
                raise _bad_cell(path, count, label_at, header[label_at], row[label_at])
            labels.append(text)
    if not count:
        raise _bad(path, "it has a header but no rows")
    values = np.frombuffer(numbers, dtype=np.float32).reshape(count, len(picked))
    if not np.isfinite(values).all():
        at_row, at = (int(index[0]) for index in np.nonzero(~np.isfinite(values)))
        raise _bad(path, f"row {at_row + 1}, column {header[picked[at]]!r}: the number is too large")
    return Table(
        features=tuple(header[at] for at in picked),
        values=values,
        labels=tuple(labels) if label_at is not None else None,
    )


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not any(header):
        raise _bad(path, "it is empty: the first line must name the columns")
    if len(header) > _COLUMN_CAP:
        raise _bad(path, f"it has {len(header)} columns; {_COLUMN_CAP} are allowed")
    seen: set[str] = set()
    for number, name in enumerate(header, 1):
        if not name or len(name) > _NAME_CAP or not name.isprintable():
            raise _bad(path, f"column {number} of the header has no usable name")
        if name in seen:
            raise _bad(path, f"column {number} of the header repeats the name {name!r}")
        seen.add(name)
    if all(parse_number(name) is not None for name in header):
        raise _bad(path, "its first line is numbers: it must name the columns")
    return header


def _label_index(path: Path, header: list[str], label: str | None) -> int | None:
    if label is None:
        return None
    if label not in header:
        shown = ", ".join(header)[:200]
        raise _bad(path, f"it has no column {label!r} for the label; its columns are {shown}")
    return header.index(label)


def _picked(
    path: Path, header: list[str], label_at: int | None, features: tuple[str, ...] | None
) -> list[int]:
    if features is None:
        picked = [at for at in range(len(header)) if at != label_at]
        if not picked:
            raise _bad(path, "it has no column besides the label")
        return picked
    missing = [name for name in features if name not in header]
    if missing:
        shown = ", ".join(repr(name) for name in missing[:5])
        raise _bad(path, f"{len(missing)} of the model's columns are missing: {shown}")
    return [header.index(name) for name in features]


def _bad_cell(path: Path, row: int, at: int, column: str, text: str) -> Fault:
    if not text.strip():
        words = "the cell is empty"
    else:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        words = f"{shown!r} is not a number"
    return _bad(path, f"row {row}, column {at + 1} ({column!r}): {words}")


def _bad(path: Path, words: str) -> Fault:
    return Fault("bad_csv", f"{path.name}: {words}.", _FIX)
