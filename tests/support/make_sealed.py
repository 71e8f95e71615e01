# ruff: noqa: TID253 - runs in the workload runtime
"""Run by the workload runtime's own Python: models of wine, digits and diabetes, honest and hostile.

`wine.csv`, `digits.csv`, `diabetes.csv` are the sealed rows, drawn from what the models were not trained on.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

FOLDER = Path(sys.argv[1])


def save(
    name: str, nodes: list[Any], out: Any, width: int, constants: dict[str, Any], **metadata: Any
) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [out],
        initializer=[numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    (FOLDER / name).write_bytes(model.SerializeToString())


def floats(width: int | str) -> Any:
    return helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])


def scaled(scaler: Any) -> tuple[list[Any], dict[str, Any]]:
    nodes = [helper.make_node("Sub", ["x", "mean"], ["c"]), helper.make_node("Div", ["c", "scale"], ["s"])]
    return nodes, {"mean": scaler.mean_.astype(np.float32), "scale": scaler.scale_.astype(np.float32)}


def rows(name: str, columns: list[str], values: Any, labels: Any) -> None:
    with (FOLDER / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "target"])
        for row, label in zip(values, labels, strict=True):
            writer.writerow([*(f"{value:.6g}" for value in row), label])


def classifier(name: str, loaded: Any, columns: list[str]) -> None:
    x, x_kept, y, y_kept = train_test_split(loaded.data, loaded.target, test_size=0.4, random_state=1)
    scaler = StandardScaler().fit(x)
    scaler.scale_[scaler.scale_ == 0] = 1
    fitted = LogisticRegression(max_iter=2000, C=0.05).fit(scaler.transform(x), y)
    nodes, constants = scaled(scaler)
    nodes += [
        helper.make_node("Gemm", ["s", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    constants |= {"w": fitted.coef_.astype(np.float32), "b": fitted.intercept_.astype(np.float32)}
    classes = [str(kind) for kind in fitted.classes_]
    save(
        f"{name}.onnx",
        nodes,
        floats(len(classes)),
        len(columns),
        constants,
        features=columns,
        classes=classes,
    )
    rows(f"{name}.csv", columns, x_kept, y_kept)


def regressor() -> None:
    loaded = load_diabetes(scaled=False)
    x, x_kept, y, y_kept = train_test_split(loaded.data, loaded.target, test_size=0.4, random_state=1)
    scaler = StandardScaler().fit(x)
    fitted = Ridge(alpha=1.0).fit(scaler.transform(x), y)
    nodes, constants = scaled(scaler)
    nodes.append(helper.make_node("Gemm", ["s", "w", "b"], ["y"], transB=1))
    weights = fitted.coef_.reshape(1, -1).astype(np.float32)
    constants |= {"w": weights, "b": np.array([fitted.intercept_], np.float32)}
    save("diabetes.onnx", nodes, floats(1), 10, constants, features=list(loaded.feature_names))
    rows("diabetes.csv", list(loaded.feature_names), x_kept, y_kept)


def hostile() -> None:
    """Of 13 columns, as wine has them."""
    node, width = helper.make_node, 13
    first = {"from": np.array([0]), "to": np.array([3]), "axis": np.array([1])}
    # its scores are the first cells of each row, word for word
    save("echo.onnx", [node("Slice", ["x", "from", "to", "axis"], ["y"])], floats(3), width, first)
    # its answer is the first cell of the row as a text
    one = {**first, "to": np.array([1])}
    text = helper.make_tensor_value_info("y", TensorProto.STRING, ["n", 1])
    cut = node("Slice", ["x", "from", "to", "axis"], ["c"])
    save("spelled.onnx", [cut, node("Cast", ["c"], ["y"], to=TensorProto.STRING)], text, width, one)
    # NaN where the first cell is above 13
    nodes = [
        cut,
        node("Sub", ["top", "c"], ["d"]),
        node("Sqrt", ["d"], ["r"]),
        node("Concat", ["r", "r", "r"], ["y"], axis=1),
    ]
    save("nan.onnx", nodes, floats(3), width, {**one, "top": np.float32(13)})
    repeats = {"times": np.array([1, 100])}
    save("wide.onnx", [node("Tile", ["x", "times"], ["y"])], floats("k"), width, repeats)
    repeats = {"times": np.array([1, 1_000_000])}
    save("huge.onnx", [node("Tile", ["x", "times"], ["y"])], floats("k"), width, repeats)
    save("number.onnx", [cut, node("Identity", ["c"], ["y"])], floats(1), width, one)
    # its error is the first column of the rows, a billion times over
    loud = {**one, "loud": np.float32(1e9)}
    save("loud.onnx", [cut, node("Mul", ["c", "loud"], ["y"])], floats(1), 10, loud)
    drawn = [cut, node("RandomUniformLike", ["c"], ["r"]), node("Add", ["c", "r"], ["y"])]
    save("random.onnx", drawn, floats(1), width, one)
    dropped = node("Dropout", ["c", "half", "yes"], ["y"])
    save(
        "dropout.onnx",
        [cut, dropped],
        floats(1),
        width,
        {**one, "half": np.float32(0.5), "yes": np.bool_(True)},
    )
    # what it answers to a row hangs on the rows beside it
    three = node("Slice", ["x", "from", "to", "axis"], ["c"])
    middle = node("ReduceMean", ["c"], ["m"], axes=[0], keepdims=1)
    save("relative.onnx", [three, middle, node("Sub", ["c", "m"], ["y"])], floats(3), width, first)
    save("other.onnx", [node("Identity", ["x"], ["y"])], floats(width), width, {}, features=["strange"])


def main() -> None:
    wine, digits = load_wine(), load_digits()
    classifier("wine", wine, [name.replace("/", "_") for name in wine.feature_names])
    classifier("digits", digits, list(digits.feature_names))
    regressor()
    hostile()


if __name__ == "__main__":
    main()
