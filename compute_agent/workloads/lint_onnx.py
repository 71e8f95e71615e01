"""Checks an ONNX file: no code, no outside data, nothing that a plain runtime would not understand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import checker, defs

from openstall.compute_agent.workloads.findings import Report, shown

SIZE_CAP_BYTES: Final = 2 * 1024**3 - 1
_NODE_CAP: Final = 20_000
_DEPTH_CAP: Final = 4
_NAMES_CAP: Final = 100_000
_METADATA_CAP: Final = 256 * 1024
_LIST_CAP: Final = 10_000
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_REFUSED_OPS: Final = {"Loop": "it can run for ever"}
_RANDOM_OPS: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_TRAINING_INPUT: Final = 2
"""Of a Dropout, which then draws as well."""
_FLOAT: Final = onnx.TensorProto.FLOAT


def lint_onnx(path: Path, report: Report) -> None:
    """Parse with protobuf, walk every node and tensor, then let the ONNX checker have its say."""
    if report.size > SIZE_CAP_BYTES:
        report.add("error", "too_large", "An ONNX file may have 2 GiB at most.")
        return
    try:
        raw = path.read_bytes()
        model = onnx.ModelProto.FromString(raw)
    except DecodeError:
        report.add("error", "not_onnx", "The file is not valid ONNX: it cannot be decoded.")
        return
    if not model.HasField("graph") or not model.graph.node:
        report.add("error", "no_graph", "The file contains no computation.")
        return
    _header(model, report)
    _graph(model.graph, report, depth=0, budget=[_NODE_CAP])
    _interface(model, report)
    _metadata(model, report)
    if report.ok:
        try:
            checker.check_model(raw)  # not the parsed one, which would be written out again
        except (checker.ValidationError, ValueError, RuntimeError) as error:
            report.add("error", "checker", f"The ONNX checker refuses it: {shown(str(error), length=200)}")


def _header(model: Any, report: Report) -> None:
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        report.add("error", "ir_version", f"IR version {model.ir_version} is not supported.")
    imported = {item.domain for item in model.opset_import}
    for domain in sorted(imported - _DOMAINS):
        report.add("error", "unknown_domain", f"It needs operators of {shown(domain)!r}, not ONNX's own.")
    if not imported & {"", "ai.onnx", "ai.onnx.ml"}:
        report.add("error", "no_opset", "It does not say which operator set it uses.")
    if model.functions:
        report.add("error", "functions", "It defines functions of its own; export it with them inlined.")
    if model.training_info:
        report.add("error", "training_info", "It carries training graphs; export it for inference.")


def _graph(graph: Any, report: Report, *, depth: int, budget: list[int]) -> None:
    if depth > _DEPTH_CAP:
        report.add("error", "too_deep", f"Graphs are nested more than {_DEPTH_CAP} deep.")
        return
    budget[0] -= len(graph.node)
    if budget[0] < 0:
        report.add("error", "too_many_nodes", f"It has more than {_NODE_CAP} nodes.")
        return
    if len(graph.initializer) + len(graph.value_info) + len(graph.input) > _NAMES_CAP:
        report.add("error", "too_many_names", f"It has more than {_NAMES_CAP} tensors.")
        return
    for tensor in graph.initializer:
        _tensor(tensor, report)
    for sparse in graph.sparse_initializer:
        _tensor(sparse.values, report)
        _tensor(sparse.indices, report)
    for node in graph.node:
        _node(node, report)
        for tensor in _node_tensors(node):
            _tensor(tensor, report)
        for inner in _node_graphs(node):
            _graph(inner, report, depth=depth + 1, budget=budget)


def _node(node: Any, report: Report) -> None:
    if node.domain not in _DOMAINS:
        report.add(
            "error",
            "unknown_domain",
            f"The operator {shown(node.domain)}.{shown(node.op_type)} is outside the standard.",
        )
    elif not defs.has(node.op_type, domain="" if node.domain == "ai.onnx" else node.domain):
        report.add("error", "unknown_operator", f"There is no operator {shown(node.op_type)!r} in ONNX.")
    elif node.op_type in _REFUSED_OPS:
        report.add("error", "refused_operator", f"{node.op_type} is refused: {_REFUSED_OPS[node.op_type]}.")
    if node.op_type in _RANDOM_OPS or (node.op_type == "Dropout" and any(node.input[_TRAINING_INPUT:])):
        report.draws = True
        report.add(
            "warning", "random", f"{node.op_type} draws random numbers: sealed rows do not measure it."
        )


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in [
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ]:
            yield sparse.values
            yield sparse.indices


def _node_graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensor(tensor: Any, report: Report) -> None:
    name = shown(tensor.name)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        report.add("error", "external_data", f"Tensor {name!r} points to a file outside the model.")
        return
    if any(size < 0 for size in tensor.dims):
        report.add("error", "bad_tensor", f"Tensor {name!r} has a negative size.")
        return
    if tensor.HasField("raw_data") and tensor.data_type in (_FLOAT, onnx.TensorProto.DOUBLE):
        kind = np.dtype("<f4" if tensor.data_type == _FLOAT else "<f8")
        data = tensor.raw_data  # each look at it is a copy
        if math.prod(tensor.dims) * kind.itemsize != len(data):
            report.add("error", "bad_tensor", f"Tensor {name!r} does not hold what its shape claims.")
            return
        if not np.isfinite(np.frombuffer(data, kind)).all():
            report.add("warning", "not_finite", f"Tensor {name!r} holds NaN or infinity.")


def _interface(model: Any, report: Report) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    report.inputs = [_described(value) for value in inputs[:64]]
    report.outputs = [_described(value) for value in model.graph.output[:64]]
    if not inputs or not model.graph.output:
        report.add("error", "no_interface", "It has no input or no output.")
    single = (
        len(inputs) == 1 and report.inputs[0]["type"] == "float32" and len(report.inputs[0]["shape"]) == 2
    )
    if inputs and not single:
        report.add(
            "info", "not_tabular", "It does not take one float32 table: it cannot be run on a CSV here."
        )


def _described(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    known = value.type.HasField("tensor_type") and kind.elem_type != 0
    try:
        type_name = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if known else "other"
    except KeyError:
        type_name = "other"
    shape = [
        size.dim_value if size.HasField("dim_value") else shown(size.dim_param) or "?"
        for size in kind.shape.dim[:16]
    ]
    return {"name": shown(value.name), "type": type_name, "shape": shape}


def _metadata(model: Any, report: Report) -> None:
    if sum(len(item.key) + len(item.value) for item in model.metadata_props) > _METADATA_CAP:
        report.add("error", "bad_metadata", f"Its metadata has more than {_METADATA_CAP} bytes.")
        return
    values = {item.key: item.value for item in model.metadata_props}
    if "ort_config" in values:
        report.add("warning", "ort_config", "It carries settings for the runtime; they are ignored.")
    report.features = _names(values.get("features"), report)
    report.classes = _names(values.get("classes"), report)


def _names(text: str | None, report: Report) -> list[str]:
    if text is None:
        return []
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if (
        not isinstance(names, list)
        or len(names) > _LIST_CAP
        or not all(isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() for name in names)
        or len(set(names)) != len(names)
    ):
        report.add("warning", "bad_metadata", "Its list of features or classes is malformed and is ignored.")
        return []
    return names
