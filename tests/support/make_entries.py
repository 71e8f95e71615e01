# ruff: noqa: TID253 - runs in the workload runtime
"""Run by the workload runtime's own Python: three models of the demo's data, each better than the next.

make_entries.py TRAIN.csv LABEL FOLDER writes `strong.onnx`, `fair.onnx` and `weak.onnx`.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def main() -> None:
    train, label, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    with train.open(newline="") as file:
        header, *lines = csv.reader(file)
    at = header.index(label)
    names = [name for name in header if name != label]
    x = np.array([[float(cell) for place, cell in enumerate(line) if place != at] for line in lines])
    y = np.array([line[at] for line in lines])
    for name, columns in (("strong", len(names)), ("fair", 1), ("weak", 0)):
        fit(folder / f"{name}.onnx", names, x, y, columns)


def fit(path: Path, names: list[str], x: np.ndarray, y: np.ndarray, columns: int) -> None:
    """A logistic regression that looks at the first columns alone; at none, it says one class always."""
    scaler = StandardScaler().fit(x)
    seen = scaler.transform(x)
    seen[:, columns:] = 0
    fitted = LogisticRegression(max_iter=2_000, C=0.1).fit(seen, y)
    weights = np.concatenate([-fitted.coef_, fitted.coef_])
    weights[:, columns:] = 0
    constants = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "w": weights,
        "b": np.concatenate([-fitted.intercept_, fitted.intercept_]),
    }
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["c"]),
        helper.make_node("Div", ["c", "scale"], ["s"]),
        helper.make_node("Gemm", ["s", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(names)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        initializer=[
            numpy_helper.from_array(value.astype(np.float32), key) for key, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="features", value=json.dumps(names))
    model.metadata_props.add(key="classes", value=json.dumps([str(one) for one in fitted.classes_]))
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
