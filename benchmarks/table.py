"""One line of the benchmark table, and how the table is written.

A benchmark is a module `benchmarks/bench_<what>.py` with a function `rows() -> Iterable[Row]`. It measures
the thing itself and what it is compared with in the same run, so that the ratio means the same anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value.

    `limit` is the aim in words with its unit ("< 50 ms"); `ok` says whether it was met; `note` says what was
    compared with what, or explains a shortfall.
    """

    name: str
    value: float
    unit: str
    limit: str
    ok: bool
    note: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text: what, measured, aim, met, note."""
        return (
            self.name,
            f"{number(self.value)} {self.unit}".rstrip(),
            self.limit,
            "yes" if self.ok else "no",
            self.note,
        )


_INTRODUCTION = (
    "Each row is written by `python3 dev.py bench --markdown`, with `--only NAME` for the rows of one module."
)
HEAD = ("what", "measured", "aim", "met", "note")


def number(value: float) -> str:
    """Three significant digits, and thousands in groups."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_text(rows: Sequence[Row]) -> str:
    """A table for the terminal; notes stand under their rows so that no line grows too long."""
    cells = [HEAD[:4], *(row.cells()[:4] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = []
    for line, row in zip(cells, (None, *rows), strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if row is None:
            lines.append("  ".join("-" * width for width in widths))
        elif row.note:
            lines.append(f"    {row.note}")
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row], *, today: str, machine: str, page: str) -> str:
    """The page docs/benchmarks.md with these rows in place of those of the same name.

    `page` is the page as it stands: rows that were not measured now keep their figures, date and machine, and
    what follows the table (a heading of its own) stays.
    """
    table, mark, rest = page.partition("\n## ")
    kept = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    kept |= {
        f"| {_cell(row.name)}": "| " + " | ".join(map(_cell, (*row.cells(), f"{today}, {machine}"))) + " |"
        for row in rows
    }
    lines = [line for name, line in kept.items() if name not in ("| what", "| ---")]
    head = ["| " + " | ".join((*HEAD, "when, where")) + " |", "| " + " | ".join(("---",) * 6) + " |"]
    return "\n".join(["# Benchmarks", "", _INTRODUCTION, "", *head, *lines]) + "\n" + mark + rest


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
