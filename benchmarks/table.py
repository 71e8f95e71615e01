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


def as_markdown(rows: Sequence[Row]) -> str:
    """A table for docs/benchmarks.md."""
    cells = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)
