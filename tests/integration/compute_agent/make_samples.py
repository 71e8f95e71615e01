# ruff: noqa: TID253 - runs in the workload runtime
"""Run by the workload runtime's own Python: writes model files, good and hostile, and data sets."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_diabetes

FOLDER = Path(sys.argv[1])


def table(rows: int | str = "n", columns: int = 2, kind: int = TensorProto.FLOAT, name: str = "x") -> Any:
    return helper.make_tensor_value_info(name, kind, [rows, columns])


def save(
    name: str,
    nodes: list[Any],
    *,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    constants: tuple[Any, ...] = (),
    domains: tuple[str, ...] = ("",),
    **fields: Any,
) -> None:
    graph = helper.make_graph(
        nodes, "g", inputs or [table()], outputs or [table(name="y")], initializer=list(constants)
    )
    opsets = [helper.make_opsetid(domain, 17 if domain == "" else 1) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, **fields)
    (FOLDER / name).write_bytes(model.SerializeToString())


def constant(name: str, values: Any, kind: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def external(name: str, location: str) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    save(name, [helper.make_node("Add", ["x", "w"], ["y"])], constants=(tensor,))


def hostile_models() -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    external("external.onnx", "../../etc/passwd")
    external("external_plain.onnx", "weights.bin")
    inner = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    inner.external_data.add(key="location", value="/etc/passwd")
    save(
        "external_constant.onnx",
        [helper.make_node("Constant", [], ["w"], value=inner), helper.make_node("Add", ["x", "w"], ["y"])],
    )
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["b"], value=inner)],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2])],
    )
    save(
        "external_subgraph.onnx",
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        inputs=[table(), helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
    )
    save("domain.onnx", [helper.make_node("PyOp", ["x"], ["y"], domain="evil")], domains=("", "evil"))
    save("undeclared.onnx", [helper.make_node("PyOp", ["x"], ["y"], domain="com.microsoft")])
    save("operator.onnx", [helper.make_node("Explode", ["x"], ["y"])])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["v"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            table(name="v"),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), table(name="v_out")],
    )
    save(
        "loop.onnx",
        [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        constants=(constant("yes", True, np.bool_),),
    )
    chain = [helper.make_node("Identity", [f"h{n}" if n else "x"], [f"h{n + 1}"]) for n in range(300_000)]
    save("nodes.onnx", [*chain, helper.make_node("Identity", ["h300000"], ["y"])])
    nested = branch
    for _ in range(8):
        deeper = helper.make_node("If", ["c"], ["b"], then_branch=nested, else_branch=nested)
        nested = helper.make_graph([deeper], "deep", [], list(branch.output))
    save(
        "deep.onnx",
        [helper.make_node("If", ["c"], ["y"], then_branch=nested, else_branch=nested)],
        inputs=[table(), helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
    )
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20], raw_data=b"1234")
    save("lying.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], constants=(short,))
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1], raw_data=b"1234")
    save("negative.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], constants=(negative,))
    function = helper.make_function("f", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], [])
    save(
        "function.onnx",
        [helper.make_node("F", ["x"], ["y"], domain="f")],
        domains=("", "f"),
        functions=[function],
    )
    save("unsorted.onnx", [helper.make_node("Identity", ["later"], ["y"])])
    good = (FOLDER / "domain.onnx").read_bytes()
    (FOLDER / "truncated.onnx").write_bytes(good[: len(good) // 2])
    (FOLDER / "garbage.onnx").write_bytes(b"\x08" + np.random.default_rng(0).bytes(5000))
    (FOLDER / "empty_graph.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    save(
        "hungry.onnx",
        [
            helper.make_node("ConstantOfShape", ["s"], ["huge"]),
            helper.make_node("ReduceSum", ["huge"], ["one"], keepdims=0),
            helper.make_node("Add", ["x", "one"], ["y"]),
        ],
        constants=(constant("s", [1 << 15, 1 << 15], np.int64),),
    )
    save(
        "text_input.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[table(kind=TensorProto.STRING)],
        outputs=[table(kind=TensorProto.STRING, name="y")],
    )
    save("identity.onnx", [identity])


def labelled_model() -> None:
    """Two classes without metadata: columns by position, classes by number."""
    save("plain.onnx", [helper.make_node("Softmax", ["x"], ["y"], axis=1)])


def data_sets() -> None:
    for name, data in (("cancer", load_breast_cancer()), ("diabetes", load_diabetes())):
        with (FOLDER / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*data.feature_names, "target"])
            for row, target in zip(data.data, data.target, strict=True):
                writer.writerow([*row, data.target_names[target] if name == "cancer" else target])


hostile_models()
labelled_model()
data_sets()
