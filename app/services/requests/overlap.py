"""Whether sealed rows stand in the training data as well: whoever learns those by heart passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from openstall.app.services.requests.looking import Look
from openstall.app.services.requests.table import Problems, need_column, parse_number, read_table

_SHOWN_LINES = 10


def overlap_words(training: Path, found: Look, lines: Sequence[int], target: str) -> list[str]:
    """A warning if rows of `found` occur in the table of training data, or why that table cannot be used.

    Rows are the same where all their features and the answer are, numbers by their value. Blocks on the disk.

    Args:
        lines: the line numbers of the rows of `found` in their file.
        target: the column of the answers.

    Raises:
        NotFound: there is no such file.
        Refused: it is too large, or cannot be read at all.
    """
    problems = Problems()
    table = read_table(training, problems)
    wanted = (*found.features, target)
    if table is not None:
        for name in wanted:
            need_column(table, name, problems)
    if table is None or problems.total:
        first = problems.items[0]
        where = f", line {first.line}" if first.line else ""
        return [f"The training data cannot be used{where}: {first.words} {first.fix}"]
    places = [table.header.index(name) for name in wanted]
    known = {tuple(_value(row[place]) for place in places) for row in table.rows}
    own = [found.columns.index(name) for name in wanted]
    same = [
        line
        for line, row in zip(lines, found.rows, strict=True)
        if tuple(_value(row[place]) for place in own) in known
    ]
    if not same:
        return []
    shown = ", ".join(map(str, same[:_SHOWN_LINES])) + (", …" if len(same) > _SHOWN_LINES else "")
    words = (
        f"{len(same)} of your {len(found.rows)} sealed rows are in the training data too (lines {shown}): "
        "a model that only learnt them by heart would pass. Take them out of one of the two files."
    )
    return [words]


def _value(cell: str) -> str | float:
    number = parse_number(cell)
    return cell if number is None else number
