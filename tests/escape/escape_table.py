"""The table of docs/sandbox.md.

    python tests/escape/escape_table.py            print it, after running the campaign
    python tests/escape/escape_table.py --write    and put it into the page

As root it runs the campaign twice: as an ordinary user and as root.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for _folder in (HERE, HERE / "inside"):
    sys.path.insert(0, str(_folder))

from attempts import ATTEMPTS, Attempt  # noqa: E402
from columns import ROOT_COLUMNS, USER_COLUMNS  # noqa: E402
from running import Results, run_as_self, run_as_user  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "sandbox.md"
_BEGIN = "<!-- the table: tests/escape/escape_table.py --write -->"
_END = "<!-- end of the table -->"
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \|", re.MULTILINE)
_SIGNS = {"open": "**open**", "blocked": "·", "not tried": "-"}
_SHORT = {
    "bare, outside played": "outside", "common recipe": "recipe", "namespaces only": "ns only",
    "Landlock only": "LL only", "no filter": "no filter", "no Landlock": "no LL",
    "full, may fork": "full+fork", "bare, root": "bare root", "full, root": "full root",
}  # fmt: skip


def all_attempts() -> list[Attempt]:
    """In the order of the table."""
    import files  # noqa: F401
    import kernel  # noqa: F401
    import network  # noqa: F401
    import processes  # noqa: F401

    import resources  # noqa: F401

    groups = list(dict.fromkeys(attempt.group for attempt in ATTEMPTS.values()))
    return sorted(ATTEMPTS.values(), key=lambda attempt: groups.index(attempt.group))


def names_in(page: str) -> list[str]:
    """The attempts that a page lists."""
    inside = page.partition(_BEGIN)[2].partition(_END)[0]
    return [name.strip() for _number, name in _ROW.findall(inside)]


def as_markdown(results: Results) -> str:
    """One row an attempt, one column each way to run it; then how many were open."""
    columns = [column.name for column in (*USER_COLUMNS, *ROOT_COLUMNS) if column.name in results]
    head = ["#", "attempt", *(_SHORT.get(name, name) for name in columns)]
    lines = [_line(head), _line(["---"] * len(head))]
    group = ""
    for number, attempt in enumerate(all_attempts(), 1):
        if attempt.group != group:
            group = attempt.group
            lines.append(_line(["", f"*{group}*", *([""] * len(columns))]))
        signs = [_SIGNS[results[name][attempt.name][0]] for name in columns]
        lines.append(_line([str(number), attempt.name, *signs]))
    counts = [sum(verdict == "open" for verdict, _ in results[name].values()) for name in columns]
    lines.append(_line(["", "**open**", *(f"**{count}**" for count in counts)]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command."""
    results = run_as_user()
    if os.geteuid() == 0:
        results |= run_as_self()
    table = as_markdown(results)
    print(table)
    if sys.argv[1:] == ["--write"]:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
