"""Workload `compare`: how near two results of one job are. Writes `comparison.json`.

Either may be a stranger's: each is read strictly, and what is no such result at all is said to be that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from openstall.compute_agent.workloads import train
from openstall.compute_agent.workloads.channel import INPUTS, begin, log, run_workload, write_json
from openstall.compute_agent.workloads.findings import shown
from openstall.compute_agent.workloads.formats import strict_json
from openstall.compute_agent.workloads.lint import lint_file
from openstall.compute_agent.workloads.predictions import Unreadable, compare_predictions
from openstall.compute_agent.workloads.tables import parse_number, read_table

_REPORT_CAP: Final = 4 * 1024 * 1024
_ROUNDING: Final = 1.000001e-6
_WORST: Final = 2**52
_SIDES: Final = ("one", "other")
_NAMES: Final = {"one": "the first result", "other": "the second result"}
_FACTS: Final = ("kind", "task", "rows", "rows_train", "rows_test", "features", "classes")
_METRIC: Final = frozenset({"name", "value", "low", "high"})
Arrays = Mapping[str, npt.NDArray[Any]]


def main(params: dict[str, Any]) -> None:
    """Compare what there is of the kind of job, and write the figures."""
    begin()
    try:
        figures = _compare(params, [(int(at), int(count)) for at, count in params["blocks"]])
    except Unreadable as fault:
        figures = {"unreadable": shown(str(fault), length=250)}
    write_json("comparison.json", figures)
    log(json.dumps(figures))


def _compare(params: dict[str, Any], blocks: list[tuple[int, int]]) -> dict[str, Any]:
    of = params["of"]
    if of == "weights":
        return compare_arrays(*(_weights(side) for side in _SIDES))
    if of == "infer":
        reduced = _computes_in_16_bits(INPUTS / "model.onnx")
        found = compare_predictions(INPUTS / "one.csv", INPUTS / "other.csv", blocks, reduced=reduced)
        return found if blocks else _joined(found, compare_reports(*(_report(side) for side in _SIDES)))
    if of == "evaluate":
        return compare_reports(*(_report(side) for side in _SIDES))
    (build, one), (built, other) = (_network(side) for side in _SIDES)
    if build != built:
        raise Unreadable("the two are not of the same build: their computations differ")
    weights = compare_arrays(one, other)
    return _joined(weights, compare_reports(_report("one"), _true_report(params["recipe"])))


def _true_report(recipe: dict[str, Any]) -> dict[str, Any]:
    """What the first report must say: found from the model that came with it, on the rows kept for tests."""
    from openstall.compute_agent.workloads.models import open_session

    table = read_table(INPUTS / "data.csv", label=recipe["label"])
    classify = recipe["task"] == "classification"
    train_rows, test_rows, targets = train.prepare(table, recipe, classify=classify)
    try:
        session = open_session(str(INPUTS / "one.onnx"), 1)
        answers = session.run(None, {"x": np.ascontiguousarray(table.values[test_rows])})[0]
    except Exception as error:  # onnxruntime has no common base class of its own
        raise Unreadable("the model of the first result does not run") from error
    width = len(targets.classes) if classify else 1
    if answers.shape != (len(test_rows), width) or not np.isfinite(answers).all():
        raise Unreadable("the model of the first result gives no answers")
    return train.report(table, train_rows, test_rows, targets, answers, classify=classify)


def _joined(main: dict[str, Any], reports: dict[str, Any]) -> dict[str, Any]:
    """The figures of the result, with those of the report about it."""
    added = {name: main[name] + reports[name] for name in ("compared", "unequal")}
    return {**main, **added, "report_ppb": reports["worst_ppb"]}


def compare_arrays(one: Arrays, other: Arrays) -> dict[str, Any]:
    """By the length of the difference, tensor by tensor, as a part of the length of the tensor."""
    if {name: (a.shape, a.dtype) for name, a in one.items()} != {
        name: (a.shape, a.dtype) for name, a in other.items()
    }:
        raise Unreadable("the two are not of the same build: names or shapes differ")
    compared = unequal = 0
    worst = 0.0
    for name, mine in one.items():
        a, b = mine.astype(np.float64), other[name].astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise Unreadable(f"the tensor {shown(name)} holds NaN or infinity")
        compared += a.size
        unequal += int(np.count_nonzero(a != b))
        length = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
        worst = max(worst, float(np.linalg.norm(a - b)) / length if length else 0.0)
    return {"compared": compared, "unequal": unequal, "worst_ppb": _ppb(worst)}


def _ppb(share: float) -> int:
    return min(round(share * 1e9), _WORST)


def _weights(side: str) -> Arrays:
    path = INPUTS / f"{side}.safetensors"
    _accept(path, "safetensors", side)
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if name.startswith("weight.")]  # noqa: SIM118 - no dict
        found = {name: file.get_tensor(name) for name in names}
    if not found or any(array.dtype.kind != "f" for array in found.values()):
        raise Unreadable(f"{_NAMES[side]} holds no weights")
    return found


def _network(side: str) -> tuple[list[tuple[str, str, str]], Arrays]:
    """What a model that a train job wrote computes, and its weights."""
    path = INPUTS / f"{side}.onnx"
    _accept(path, "onnx", side)
    import onnx
    from onnx import numpy_helper

    graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    build = [(node.op_type, ",".join(node.input), ",".join(node.output)) for node in graph.node]
    return build, {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def _computes_in_16_bits(path: Path) -> bool:
    """Whether a model holds or makes numbers of 16 bits or less; then machines differ more."""
    import onnx

    if not lint_file(path).ok:
        raise Unreadable("the model is refused")
    types = onnx.TensorProto
    small = {types.FLOAT16, types.BFLOAT16, types.INT8, types.UINT8}
    graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    if any(item.data_type in small for item in graph.initializer):
        return True
    casts = [a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"]
    return any(kind in small for kind in casts)


def _accept(path: Path, kind: str, side: str) -> None:
    report = lint_file(path)
    if not report.ok or report.format != kind:
        words = report.first_error() or f"it is a {report.format} file"
        raise Unreadable(f"{_NAMES[side]} is refused: {words}")


def compare_reports(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The figures of two reports, each as a part of its own size, and every fact beside them."""
    for name in _FACTS:
        if one.get(name) != other.get(name):
            raise Unreadable(f"the reports disagree about {name}")
    first, second = (_metrics(report, side) for report, side in zip((one, other), _SIDES, strict=True))
    if first.keys() != second.keys():
        raise Unreadable("the reports have other figures")
    worst = 0.0
    for name, a in first.items():
        b = second[name]
        size = max(abs(a), abs(b))
        worst = max(worst, max(0.0, abs(a - b) - _ROUNDING) / size if size else 0.0)
    unequal = sum(a != second[name] for name, a in first.items())
    return {"compared": len(first) + len(_FACTS), "unequal": unequal, "worst_ppb": _ppb(worst)}


def _report(side: str) -> dict[str, Any]:
    path = INPUTS / f"{side}.json"
    if path.stat().st_size > _REPORT_CAP:
        raise Unreadable(f"the report of {_NAMES[side]} is too large")
    try:
        found = strict_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the report of {_NAMES[side]} cannot be read") from error
    if not isinstance(found, dict):
        raise Unreadable(f"the report of {_NAMES[side]} is no report")
    return found


def _metrics(report: dict[str, Any], side: str) -> dict[str, float]:
    metrics = report.get("metrics")
    if not isinstance(metrics, list) or len(metrics) > 100:
        raise Unreadable(f"the report of {_NAMES[side]} has no figures")
    found: dict[str, float] = {}
    for at, metric in enumerate(metrics):
        plain = isinstance(metric, dict) and all(isinstance(text, str) for text in metric.values())
        if not plain or not {"name", "value"} <= set(metric) <= _METRIC:
            raise Unreadable(f"figure {at + 1} of {_NAMES[side]} cannot be read")
        for part in sorted(set(metric) - {"name"}):
            number = parse_number(metric[part][:40])
            # the interval of a figure that a resample leaves without a meaning
            if number is None and metric[part] != "nan":
                raise Unreadable(f"figure {at + 1} of {_NAMES[side]} is no number")
            found[f"{at} {metric['name']} {part}"] = 0.0 if number is None else number
    return found


if __name__ == "__main__":
    run_workload(main)
