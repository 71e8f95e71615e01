"""Workload `serve`: load `model.onnx` once, then answer questions until none comes any more.

Questions are JSON lines on descriptor 4, answers on 5, as `serving` describes them. One is answered after the
other. A question that cannot be answered is told so, and the next one is taken; a model that fails ends the
job. Writes `report.json` with counts only: nothing of what was asked or answered is kept.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from openstall.compute_agent.workloads.channel import (
    INPUTS,
    Fault,
    begin,
    log,
    run_workload,
    write_json,
)
from openstall.compute_agent.workloads.generate import TextModel, text_facts
from openstall.compute_agent.workloads.lint import lint_file
from openstall.compute_agent.workloads.models import TableModel, open_session

QUESTIONS_FD: Final = 4
ANSWERS_FD: Final = 5
LIFE_S: Final = 10.0
"""So often a long answer says what there is of it, also to who wants it whole: a sign of life."""
_LINE_CAP_BYTES: Final = 192 * 1024
_DEFAULTS: Final[dict[str, Any]] = {
    "n": 0,
    "rows": None,
    "prompt": None,
    "max_tokens": 16,
    "temperature": 1.0,
    "top_p": 1.0,
    "seed": None,
    "stop": [],
    "stream": False,
}


class Unanswerable(Exception):
    """This question does not fit the model; its words are for who asked."""


def main(params: dict[str, Any]) -> None:
    """Lint, load, say that it is ready, answer."""
    report = lint_file(INPUTS / "model.onnx")
    if not report.ok or report.format != "onnx":
        words = report.first_error() or f"it is a {report.format} file; a job runs ONNX."
        raise Fault("model_refused", f"The model is refused: {words}", "Nothing of it was run.")
    session = open_session(str(INPUTS / "model.onnx"), int(os.environ["OPENSTALL_THREADS"]))
    facts = text_facts(session)
    text = TextModel(session, facts) if facts is not None else None
    table = None if text else TableModel(session, tuple(report.features), tuple(report.classes))
    begin()
    log(f"ready: a model of text, {text.context} tokens of context" if text else "ready: a model of tables")
    answered = failed = tokens = 0
    for asked in _questions(params["idle_s"]):
        try:
            if text is not None:
                tokens += _answer_text(text, asked)
            elif table is not None:
                _answer_rows(table, asked)
            answered += 1
        except Unanswerable as error:
            failed += 1
            _say(asked["n"], trouble={"code": "bad_question", "words": str(error)}, last=True)
    log(f"{answered} questions answered, {failed} could not be")
    kind = "text" if text else "table"
    counts = {"answered": answered, "unanswerable": failed, "tokens": tokens}
    write_json("report.json", {"kind": "serve", "model": kind, **counts})


def _questions(idle_s: int) -> Iterator[dict[str, Any]]:
    """Each question, until none has come for `idle_s` seconds or nobody can ask any more."""
    pending = b""
    idle = 0
    while idle < idle_s:
        # counted in steps: a job that its owner makes stand still has not been idle
        if not select.select([QUESTIONS_FD], [], [], 1)[0]:
            idle += 1
            continue
        data = os.read(QUESTIONS_FD, 65536)
        if not data:
            return
        pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            yield {**_DEFAULTS, **json.loads(line)}
            idle = 0
    log(f"no question for {idle_s} s: the end")


def _answer_text(model: TextModel, asked: dict[str, Any]) -> int:
    if asked["prompt"] is None:
        raise Unanswerable("this is a model of text: ask with a prompt.")
    waiting, count = "", 0
    said = time.monotonic()
    for piece in model.generate(asked):
        waiting += piece.text
        count = piece.tokens
        if piece.finish:
            counts = {"prompt_tokens": piece.prompt_tokens, "tokens": count}
            _say(asked["n"], text=waiting, finish=piece.finish, **counts, last=True)
        elif asked["stream"] or time.monotonic() - said >= LIFE_S:
            _say(asked["n"], text=waiting)
            waiting, said = "", time.monotonic()
    return count


def _answer_rows(model: TableModel, asked: dict[str, Any]) -> None:
    if asked["rows"] is None:
        raise Unanswerable("this is a model of tables: ask with rows.")
    values = _values(model, asked["rows"])
    found = model.predict(values)
    scores = [] if found.scores is None else [[round(float(one), 6) for one in row] for row in found.scores]
    _say(asked["n"], predictions=found.names, classes=list(found.classes), scores=scores, last=True)


def _values(model: TableModel, rows: list[Any]) -> Any:
    """The rows as the model takes them: by name where they have names, else by their order."""
    table: list[list[float]] = []
    for number, given in enumerate(rows, 1):
        row = _by_name(model.features, given, number) if isinstance(given, dict) else given
        if len(row) != (model.width or len(row)) or len(row) != len(table[0] if table else row):
            raise Unanswerable(f"row {number} has {len(row)} values; the model takes {model.width}.")
        table.append(row)
    values = np.array(table, dtype=np.float32)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise Unanswerable("every row must hold numbers that a float32 can hold.")
    return values


def _by_name(features: tuple[str, ...], row: dict[str, float], number: int) -> list[float]:
    if not features:
        raise Unanswerable(f"row {number}: the model does not name its columns: give lists.")
    missing = [name for name in features if name not in row]
    if missing:
        raise Unanswerable(f"row {number}: the column {missing[0]!r} is missing.")
    return [row[name] for name in features]


def _say(n: int, **line: Any) -> None:
    document = {"type": "answer", "n": n, **line}
    data = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(data) > _LINE_CAP_BYTES:
        raise Unanswerable("the answer would be too long: ask with fewer rows.")
    while data:
        data = data[os.write(ANSWERS_FD, data) :]


if __name__ == "__main__":
    run_workload(main)
