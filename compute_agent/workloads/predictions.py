"""How near two files of predictions are: read side by side, strictly, since either may be a stranger's."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_NUMBER: Final = re.compile(r"-?[0-9]{1,40}\.[0-9]{6}")
_ROUNDING: Final = 1.000001e-6
"""Both sides are rounded to six digits; the rest is what a float64 makes of the difference of two such."""
_TIE: Final = {False: 2e-4, True: 5e-2}
_BEST: Final = 128
_COLUMN_CAP: Final = 100_000
_WORST: Final = 2**52
_SCORE: Final = "score "

Row = list[str]
Floats = npt.NDArray[np.float64]


class Unreadable(Exception):
    """A file that is no result of such a job; the message says which and why."""


def compare_predictions(
    one: Path, other: Path, blocks: list[tuple[int, int]], *, reduced: bool
) -> dict[str, Any]:
    """The figures of two `predictions.csv`; with `blocks` the other holds only these rows of the first."""
    with _opened(one) as first, _opened(other) as second:
        ours, theirs = csv.reader(first, strict=True), csv.reader(second, strict=True)
        try:
            return _compare(_rows(ours), _rows(theirs), blocks, reduced=reduced)
        except (csv.Error, UnicodeDecodeError) as error:
            raise Unreadable(f"the predictions cannot be read: {error}") from error


def _opened(path: Path) -> Any:
    return path.open(encoding="utf-8", newline="")


def _rows(reader: Any) -> Iterator[Row]:
    yield from reader


def _compare(
    ours: Iterator[Row], theirs: Iterator[Row], blocks: list[tuple[int, int]], *, reduced: bool
) -> dict[str, Any]:
    header, wanted = next(ours, []), next(theirs, [])
    if header != wanted or header[:2] != ["row", "prediction"] or len(header) > _COLUMN_CAP:
        raise Unreadable("the columns of the predictions differ")
    classes = [name.removeprefix(_SCORE) for name in header[2:]]
    if any(not name.startswith(_SCORE) for name in header[2:]):
        raise Unreadable("a column of the predictions is no score")
    a, b = array("d"), array("d")
    labels: list[tuple[str, str]] = []
    for at, (mine, his) in enumerate(zip_longest(_picked(ours, blocks), theirs), 1):
        if mine is None or his is None:
            raise Unreadable("the files of predictions have not the same number of rows")
        _check_row(mine[1], len(header), mine[0])
        _check_row(his, len(header), at)
        if classes:
            a.extend(_numbers(mine[1][2:], mine[0]))
            b.extend(_numbers(his[2:], at))
            labels.append((mine[1][1], his[1]))
        elif _NUMBER.fullmatch(mine[1][1]) and _NUMBER.fullmatch(his[1]):
            a.append(float(mine[1][1]))
            b.append(float(his[1]))
        else:
            labels.append((mine[1][1], his[1]))
    scores = (np.frombuffer(a, np.float64), np.frombuffer(b, np.float64))
    return _figures(scores, labels, classes, reduced=reduced)


def _picked(rows: Iterator[Row], blocks: list[tuple[int, int]]) -> Iterator[tuple[int, Row]]:
    """The rows of the blocks, each with its own number; all of them where there are no blocks."""
    spans = iter(blocks)
    start, end = next(spans) if blocks else (0, 0)
    end += start
    for at, row in enumerate(rows):
        if blocks and at < start:
            continue
        yield at + 1, row
        if blocks and at + 1 == end:
            found = next(spans, None)
            if found is None:
                return
            start, end = found[0], found[0] + found[1]


def _check_row(row: Row, width: int, number: int) -> None:
    if len(row) != width or row[0] != str(number):
        raise Unreadable(f"row {number} of the predictions is not where it must be")


def _numbers(cells: Row, number: int) -> list[float]:
    if not all(_NUMBER.fullmatch(cell) for cell in cells):
        raise Unreadable(f"a score of row {number} is no number")
    return [float(cell) for cell in cells]


def _figures(
    values: tuple[Floats, Floats], labels: list[tuple[str, str]], classes: list[str], *, reduced: bool
) -> dict[str, Any]:
    a, b = values
    rms = float(np.sqrt(np.mean(b**2))) if len(b) else 0.0
    size = np.maximum(np.maximum(np.abs(a), np.abs(b)), rms)
    excess = np.maximum(np.abs(a - b) - _ROUNDING, 0.0)
    share = np.divide(excess, size, out=np.zeros_like(excess), where=size > 0)
    worst = float(share.max()) if len(share) else 0.0
    scored = bool(classes) and len(b) > 0
    mine, his = (v.reshape(-1, len(classes)) if scored else v for v in values)
    wrong = [at for at, (one, other) in enumerate(labels) if one != other]
    other = len(wrong) - (_ties(his, labels, wrong, classes, reduced=reduced) if scored else 0)
    return {
        "arithmetic": "reduced" if reduced else "float32",
        "compared": len(a) + len(labels),
        "unequal": int(np.count_nonzero(a != b)) + len(wrong),
        "worst_ppb": min(round(worst * 1e9), _WORST),
        "scored": scored,
        "answers": len(labels),
        "answers_other": other,
        "overlap_ppm": _overlap(mine, his) if scored else 1_000_000,
    }


def _ties(
    scores: Floats, labels: list[tuple[str, str]], wrong: list[int], classes: list[str], *, reduced: bool
) -> int:
    """How many of the rows with two answers have scores so near that either may come first."""
    place = {name: at for at, name in enumerate(classes)}
    found = 0
    for row in wrong:
        one, other = (place.get(name) for name in labels[row])
        if one is None or other is None:
            continue
        near = _TIE[reduced] * float(np.abs(scores[row]).max()) + 2 * _ROUNDING
        found += abs(float(scores[row, one] - scores[row, other])) <= near
    return found


def _overlap(one: Floats, other: Floats) -> int:
    """The share of the 128 best scores of each row that both have; all, where there are not twice as many."""
    if one.shape[1] < 2 * _BEST:
        return 1_000_000
    first, second = (np.argpartition(-scores, _BEST, axis=1)[:, :_BEST] for scores in (one, other))
    both = sum(len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True))
    return both * 1_000_000 // (len(one) * _BEST)
