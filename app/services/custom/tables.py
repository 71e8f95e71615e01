"""A shop's table of examples, read for a request: what is wrong with it, line by line, and what it says."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from openstall.market.errors import Refused
from openstall.market.requests.bodies import LEAST_ROWS

MOST_BYTES = 256 * 1024 * 1024
MOST_COLUMNS = 1000
MOST_CLASSES = 256
NAME_CAP = 200
PREVIEW_ROWS = 8
FEW_OF_A_CLASS = 10
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """A table that can be used: `cells` has the features in their order, then the right answer."""

    features: tuple[str, ...]
    target: str
    task: str
    classes: tuple[str, ...]
    cells: list[list[str]]
    warnings: list[str] = field(default_factory=list)

    @property
    def header(self) -> list[str]:
        """The columns of `cells`."""
        return [*self.features, self.target]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each class has; empty for numbers."""
        found = Counter(row[-1] for row in self.cells)
        return {name: found[name] for name in self.classes}


def read_examples(path: Path, *, target: str, task: str = "") -> Examples:
    """Read a CSV whose first line names the columns. Blocks on the disk.

    Args:
        target: the column with the right answers.
        task: `classification` or `regression`; found out where it is empty.

    Raises:
        Refused: `bad_table`, with the line and what to do.
    """
    header, rows = _lines(path)
    if target not in header:
        shown = ", ".join(header)[:200]
        raise _bad(
            path, f"it has no column “{target}”; its columns are {shown}.", "Name one of these columns."
        )
    at = header.index(target)
    features = tuple(name for name in header if name != target)
    if not features:
        raise _bad(path, "it has only the column to predict.", "Add columns to predict it from.")
    cells = [_row(path, number, header, row, at) for number, row in rows]
    if len(cells) < LEAST_ROWS:
        raise _bad(
            path,
            f"it has {len(cells)} rows; a figure needs {LEAST_ROWS}.",
            "Add rows: a few hundred are better.",
        )
    answers = [row[-1] for row in cells]
    task = task or _guess(answers)
    if task == "regression":
        _check_numbers(path, answers, rows)
        classes: tuple[str, ...] = ()
    else:
        classes = tuple(sorted(set(answers)))
        if not 2 <= len(classes) <= MOST_CLASSES:
            raise _bad(
                path,
                f"the column “{target}” has {len(classes)} different answers, not 2 to {MOST_CLASSES}.",
                "Choose another column, or regression if it holds numbers.",
            )
    found = Examples(features=features, target=target, task=task, classes=classes, cells=cells)
    found.warnings.extend(_warnings(found))
    return found


def baseline(examples: Examples, metric: str) -> float | None:
    """What always giving the commonest answer (or the mean) reaches; None where that says nothing."""
    if examples.task == "classification":
        counts = Counter(row[-1] for row in examples.cells)
        common = counts.most_common(1)[0][1] / len(examples.cells)
        if metric == "accuracy":
            return common
        if metric == "macro_f1":
            return 2 * common / (1 + common) / len(counts)
        return 0.5
    values = [float(row[-1]) for row in examples.cells]
    mean = sum(values) / len(values)
    if metric == "rmse":
        return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return sum(abs(value - mean) for value in values) / len(values)


def threshold_warnings(examples: Examples, metric: str, threshold: str) -> list[str]:
    """What is odd about a threshold, before anybody signs for it."""
    wanted, simple = float(threshold), baseline(examples, metric)
    found = []
    if metric in ("accuracy", "macro_f1", "auc"):
        if wanted > 1:
            raise Refused("bad_threshold", f"{metric} is never above 1.", "Write 0.9 for ninety per cent.")
        if wanted >= 1 - 1 / len(examples.cells):
            found.append("No mistake at all is allowed: hardly any model reaches that.")
        if simple is not None and wanted <= simple:
            found.append(
                f"Whoever always gives the commonest answer reaches {simple:.3f} already: ask for more."
            )
    elif wanted == 0:
        found.append("No error at all is allowed: hardly any model reaches that.")
    elif simple is not None and wanted >= simple:
        found.append(f"Whoever always says the mean is off by {simple:.4g} only: ask for less error.")
    return found


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row that is not empty with the number of its line."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _bad(path, "it cannot be read.", "Choose the file again.") from error
    if size > MOST_BYTES:
        raise _bad(path, f"it has {size // 2**20} MiB; {MOST_BYTES // 2**20} are allowed.", "Use fewer rows.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, _dialect(file.read(64 * 1024)), strict=True)
            file.seek(0)
            header = [cell.strip() for cell in next(reader, [])]
            _check_header(path, header)
            return header, [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise _bad(path, "it is not UTF-8 text.", "Save it as “CSV UTF-8” and choose it again.") from error
    except csv.Error as error:
        raise _bad(path, f"it is no CSV: {error}.", "Save the table as CSV again.") from error


def _dialect(sample: str) -> type[csv.Dialect]:
    """How the columns are separated: by commas, semicolons or tabs."""
    try:
        return csv.Sniffer().sniff(sample.partition("\n")[0], delimiters=",;\t")
    except csv.Error:
        return csv.excel


def _check_header(path: Path, header: list[str]) -> None:
    if not any(header):
        raise _bad(path, "it is empty.", "The first line names the columns.")
    if len(header) > MOST_COLUMNS + 1:
        raise _bad(path, f"it has {len(header)} columns; {MOST_COLUMNS} are allowed.", "Leave some out.")
    for number, name in enumerate(header, 1):
        if not name or len(name) > NAME_CAP or not name.isprintable():
            raise _bad(path, f"line 1: column {number} has no usable name.", "Give it a short name.")
        if header.index(name) != number - 1:
            raise _bad(path, f"line 1: the name “{name}” stands twice.", "Give each column its own name.")
    if all(_number(name) is not None for name in header):
        raise _bad(path, "line 1: it has numbers, no names.", "Add a first line that names the columns.")


def _row(path: Path, line: int, header: list[str], row: list[str], target_at: int) -> list[str]:
    if len(row) != len(header):
        raise _bad(
            path,
            f"line {line}: it has {len(row)} cells, the first line {len(header)}.",
            "Put text with commas in quotation marks, or remove the extra separator.",
        )
    cells = [cell.strip() for cell in row]
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            raise _bad(path, f"line {line}: the column “{name}” is empty.", "Fill it in, or delete the line.")
    for at, cell in enumerate(cells):
        if at != target_at and _number(cell) is None:
            raise _bad(
                path,
                f"line {line}: “{cell[:_SHOWN]}” in the column “{header[at]}” is no number.",
                "Write 1.5, not 1,5; write words as numbers, or leave the column out.",
            )
    if len(cells[target_at]) > NAME_CAP:
        raise _bad(path, f"line {line}: the answer is too long.", "Use short names for the classes.")
    return [*cells[:target_at], *cells[target_at + 1 :], cells[target_at]]


def _guess(answers: list[str]) -> str:
    numbers = [_number(answer) for answer in answers]
    if any(number is None for number in numbers):
        return "classification"
    whole = all(number is not None and number == int(number) for number in numbers)
    return "classification" if whole and len(set(answers)) <= 20 else "regression"


def _check_numbers(path: Path, answers: list[str], rows: list[tuple[int, list[str]]]) -> None:
    for (line, _row_cells), answer in zip(rows, answers, strict=True):
        if _number(answer) is None:
            raise _bad(
                path, f"line {line}: “{answer[:_SHOWN]}” is no number.", "Choose classification for classes."
            )


def _warnings(found: Examples) -> Iterator[str]:
    few = [f"“{name}” ({count})" for name, count in found.counts.items() if count < FEW_OF_A_CLASS]
    if few:
        yield f"Few rows of {', '.join(few[:5])}: a figure about them says little."
    twice = len(found.cells) - len({tuple(row) for row in found.cells})
    if twice:
        yield f"{twice} rows stand more than once."
    answers = [row[-1] for row in found.cells]
    for at, name in enumerate(found.features):
        if [row[at] for row in found.cells] == answers:
            yield f"The column “{name}” is the same as “{found.target}”: it gives the answer away."
    if len(found.cells) < 100:
        yield f"{len(found.cells)} rows are few: the measured figure has a wide margin."


def _number(text: str) -> float | None:
    if "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bad(path: Path, words: str, fix: str) -> Refused:
    return Refused("bad_table", f"{path.name} cannot be used: {words}", fix)
