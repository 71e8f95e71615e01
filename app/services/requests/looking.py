"""What a table is fit for: kinds of its columns, classes, and warnings before anything is signed."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from openstall.app.services.requests.table import MAX_NAME, Problems, Table, need_column, parse_number
from openstall.market import text
from openstall.market.requests.bodies import MOST_CLASSES, SHARES
from openstall.market.requests.demands import METRICS_OF

SHOWN_ROWS: Final = 5
FEW_IN_CLASS: Final = 10
FEW_ROWS: Final = 100
MOST_GUESSED_CLASSES: Final = 20
_LARGEST: Final = 3.4e38
"""What a 32-bit float holds: models take those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the requester says of the table; an empty `task` is guessed, an empty `metric` not judged."""

    target: str
    task: str = ""
    ignore: tuple[str, ...] = ()
    metric: str = ""
    threshold: str = ""
    group: str = ""
    """The column of the groups for the floor `fairness`, if it is wanted."""


@dataclass(slots=True, kw_only=True)
class Look:
    """What was seen. `rows` are cells in the order of `columns`, as they will be sealed."""

    task: str
    features: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    classes: dict[str, int]
    kinds: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def look(table: Table, choice: Choice, problems: Problems) -> Look | None:
    """Judge a table by what is wanted of it; None where `problems` says why it cannot be used."""
    named = [choice.target, *choice.ignore, *([choice.group] if choice.group else [])]
    if not all([need_column(table, name, problems) for name in named]):  # noqa: C419 - all are told, not the first
        return None
    answers = table.column(choice.target)
    task = choice.task or guessed_task(answers)
    answers = _answers(table, choice.target, answers, task, problems)
    left_out = {choice.target, *choice.ignore}
    if choice.group and choice.group not in choice.ignore:
        values = table.column(choice.group)
        if any(parse_number(cell) is None for cell in values):
            left_out.add(choice.group)  # words that part the rows, and that no model is given
    features = tuple(name for name in table.header if name not in left_out)
    if not features:
        problems.add(1, "No column is left to tell the answer by.", "Ignore fewer columns.")
    for name in features:
        _check_numbers(table, name, problems)
    columns = tuple(dict.fromkeys((*features, choice.target, *([choice.group] if choice.group else []))))
    if choice.group:
        _check_groups(table, choice.group, problems)
    rows = _ordered(table, columns, choice.target, answers)
    found = Look(
        task=task,
        features=features,
        columns=columns,
        rows=rows,
        classes=dict(Counter(answers).most_common()) if task == "classification" else {},
        kinds=_kinds(table),
    )
    if problems.total:
        return found
    _warn_of_rows(table, found, choice, answers)
    if choice.threshold and choice.metric in METRICS_OF[found.task]:
        found.warnings += _warnings_of_threshold(found, choice, answers)
    return found


def as_dict(table: Table, found: Look | None) -> dict[str, Any]:
    """The preview for the local API; before the column of the answers is chosen, what the columns hold."""
    kinds = found.kinds if found is not None else _kinds(table)
    classes = found.classes if found is not None else {}
    return {
        "task": found.task if found is not None else "",
        "features": list(found.features) if found is not None else [],
        "rows": len(table.rows),
        "columns": [{"name": name, "kind": kind} for name, kind in kinds.items()],
        "classes": [{"name": name, "rows": count} for name, count in classes.items()],
        "first_rows": [list(row) for row in table.rows[:SHOWN_ROWS]],
        "delimiter": table.delimiter,
        "encoding": table.encoding,
        "comma_columns": list(table.comma_columns),
        "warnings": found.warnings if found is not None else [],
    }


def guessed_task(answers: Sequence[str]) -> str:
    """Words, or few different whole numbers, are classes; anything else is a number to be estimated."""
    numbers = [parse_number(cell) for cell in answers]
    if any(number is None for number in numbers):
        return "classification"
    whole = all(number is not None and number == int(number) for number in numbers)
    return "classification" if whole and len(set(numbers)) <= MOST_GUESSED_CLASSES else "regression"


def _kinds(table: Table) -> dict[str, str]:
    return {name: kind_of(table.column(name)) for name in table.header}


def kind_of(cells: Sequence[str]) -> str:
    """`number`, `text` or `empty`."""
    filled = [cell for cell in cells if cell]
    if not filled:
        return "empty"
    return "number" if all(parse_number(cell) is not None for cell in filled) else "text"


def label_of(cell: str) -> str:
    """One spelling for answers that mean the same: `1.0` is `1`, as the evaluation has it."""
    number = parse_number(cell)
    return str(int(number)) if number is not None and number == int(number) else cell


def _answers(table: Table, target: str, cells: Sequence[str], task: str, problems: Problems) -> list[str]:
    found = []
    for line, cell in zip(table.lines, cells, strict=True):
        if not cell:
            problems.add(line, f"The answer in “{target}” is empty.", "Fill it in, or delete the row.")
        elif task == "regression" and not _fits(cell):
            words = f"“{_cut(cell)}” in “{target}” is not a number."
            problems.add(line, words, "Correct it; or ask for a classification, if these are names.")
        elif task == "classification" and (len(cell) > MAX_NAME or text.clean(cell) != cell):
            problems.add(line, f"The answer in “{target}” is too long, or not to be read.", "Type it anew.")
        found.append(label_of(cell) if task == "classification" else cell)
    kinds = len(set(found))
    if task == "classification" and kinds < 2 and not problems.total:
        problems.add(0, f"“{target}” has one answer in all rows.", "Add rows with the other answers.")
    if task == "classification" and kinds > MOST_CLASSES:
        fix = "Choose another column, or ask for a regression if these are amounts."
        problems.add(0, f"“{target}” has {kinds} different answers; {MOST_CLASSES} are possible.", fix)
    return found


def _check_numbers(table: Table, name: str, problems: Problems) -> None:
    for line, cell in zip(table.lines, table.column(name), strict=True):
        if not cell:
            fix = "Fill it in, delete the row, or ignore the column."
            problems.add(line, f"The cell in “{name}” is empty; a model needs a number there.", fix)
        elif not _fits(cell):
            fix = "Write a number for it, or ignore the column."
            problems.add(line, f"“{_cut(cell)}” in “{name}” is not a number.", fix)


def _check_groups(table: Table, group: str, problems: Problems) -> None:
    cells = table.column(group)
    for line, cell in zip(table.lines, cells, strict=True):
        if not cell:
            problems.add(line, f"The group in “{group}” is empty.", "Fill it in, or delete the row.")
    if sum(count >= FEW_IN_CLASS for count in Counter(map(label_of, cells)).values()) < 2:
        words = f"Fairness needs two groups of {FEW_IN_CLASS} rows in “{group}”."
        problems.add(0, words, "Add rows of the smaller groups.")


def _ordered(
    table: Table, columns: Sequence[str], target: str, answers: Sequence[str]
) -> list[tuple[str, ...]]:
    places = [table.header.index(name) for name in columns]
    at = table.header.index(target)
    return [
        tuple(answer if place == at else row[place] for place in places)
        for row, answer in zip(table.rows, answers, strict=True)
    ]


def _warn_of_rows(table: Table, found: Look, choice: Choice, answers: Sequence[str]) -> None:
    warn = found.warnings.append
    if table.comma_columns:
        warn(f"Decimal commas are read as points in {_names(table.comma_columns)}.")
    if len(answers) < FEW_ROWS:
        warn(f"{len(answers)} rows measure roughly: a lucky model may pass. {FEW_ROWS} are better.")
    few = [f"“{name}” ({count})" for name, count in found.classes.items() if count < FEW_IN_CLASS]
    if few:
        warn(f"Classes with fewer than {FEW_IN_CLASS} rows, too few to judge by: {', '.join(few[:10])}.")
    same = [
        name
        for name in found.features
        if [label_of(cell) for cell in table.column(name)] == [label_of(answer) for answer in answers]
    ]
    if same:
        warn(f"{_names(same)} equals the answer in every row: who has it needs no model. Ignore it?")
    constant = [name for name in found.features if len(set(table.column(name))) == 1]
    if constant:
        warn(f"The same in every row, so of no use: {_names(constant)}.")
    seen: dict[tuple[str, ...], int] = {}
    twice = [
        line for line, row in zip(table.lines, found.rows, strict=True) if seen.setdefault(row, line) != line
    ]
    if twice:
        shown = ", ".join(map(str, twice[:10]))
        warn(f"{len(twice)} rows stand there before, word for word: lines {shown}.")
    if choice.group and choice.group in found.features:
        warn(f"“{choice.group}” parts the groups of fairness and is given to the model as well.")


def _warnings_of_threshold(found: Look, choice: Choice, answers: Sequence[str]) -> list[str]:
    try:
        wanted = Fraction(choice.threshold)
    except ValueError:
        return []  # what is no number is refused where the request is put together
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    width = len(found.features)
    for row, answer in zip(found.rows, answers, strict=True):
        groups[row[:width]].append(answer)
    best = _best(choice.metric, list(groups.values()), len(answers))
    idle = _idle(choice.metric, answers)
    high = choice.metric in SHARES
    found_words = []
    if best is not None and (wanted > best if high else wanted < best):
        found_words.append(
            f"No model can reach {choice.metric} {choice.threshold} on these rows: equal rows with different "
            f"answers leave {float(best):.4f} at best. You would get your money back, and no model."
        )
    if idle is not None and (wanted <= idle if high else wanted >= idle):
        how = "by always saying the commonest answer" if found.classes else "by always saying one number"
        found_words.append(
            f"{choice.metric} {choice.threshold} is reached without a model, {how} ({float(idle):.4f}). "
            "Ask for more."
        )
    return found_words


def _best(metric: str, groups: Sequence[Sequence[str]], rows: int) -> Fraction | None:
    """What the best of all models reaches, which gives equal rows one answer; None where unknown."""
    if metric == "accuracy":
        return Fraction(sum(Counter(group).most_common(1)[0][1] for group in groups), rows)
    if metric in ("rmse", "mae"):
        return _error(metric, [[float(cell) for cell in group] for group in groups], rows)
    return None


def _idle(metric: str, answers: Sequence[str]) -> Fraction | None:
    """What one and the same answer to every row reaches."""
    common = Counter(answers).most_common()
    share = Fraction(common[0][1], len(answers))
    match metric:
        case "accuracy":
            return share
        case "macro_f1":
            return 2 * share / (1 + share) / len(common)
        case "auc":
            return Fraction(1, 2)
        case "rmse" | "mae":
            return _error(metric, [[float(cell) for cell in answers]], len(answers))
    return None


_CENTRE: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "rmse": statistics.fmean,
    "mae": statistics.median,
}


def _error(metric: str, groups: Sequence[Sequence[float]], rows: int) -> Fraction:
    power = 2 if metric == "rmse" else 1
    total = math.fsum(
        abs(value - centre) ** power
        for group in groups
        for centre in [_CENTRE[metric](group)]
        for value in group
    )
    return Fraction(math.sqrt(total / rows) if power == 2 else total / rows)


def _fits(cell: str) -> bool:
    number = parse_number(cell)
    return number is not None and abs(number) <= _LARGEST


def _cut(cell: str) -> str:
    cell = text.clean(cell)
    return cell if len(cell) <= 40 else cell[:40] + "…"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
