"""What sealed evaluation costs over a plain run of the same model on the same rows, in no sandbox."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio
from table import Row

from openstall.compute_agent.assess_specs import RESULT_BYTES, AssessParams
from openstall.compute_agent.runtime import Runtime, find_runtime
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.host import Facilities, find_facilities, run_sandbox
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.specs import GIB, InferParams, JobEvent, Limits, LogLine

HERE = Path(__file__).parent
ROUNDS = 5
ROWS, WIDTH, HIDDEN, CLASSES = 10_000, 64, 2048, 10
AIM = 0.10
LIMITS = Limits(wall_s=300, cpu_s=300, memory_bytes=4 * GIB, threads=1)

MAKE = f"""
import csv, os, sys
sys.path[:0] = sys.argv[2:]
import numpy as np
from onnx import TensorProto, helper, numpy_helper
chance = np.random.default_rng(0)
def weights(name, *shape):
    return numpy_helper.from_array((chance.standard_normal(shape) / 8).astype(np.float32), name)
sizes = [{WIDTH}, {HIDDEN}, {HIDDEN}, {CLASSES}]
nodes, constants, last = [], [], "x"
for at, (wide, narrow) in enumerate(zip(sizes, sizes[1:])):
    constants.append(weights(f"w{{at}}", wide, narrow))
    nodes.append(helper.make_node("MatMul", [last, f"w{{at}}"], [f"m{{at}}"]))
    nodes.append(helper.make_node("Relu" if at < 2 else "Softmax", [f"m{{at}}"], [f"h{{at}}"]))
    last = f"h{{at}}"
graph = helper.make_graph(
    nodes, "mlp",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", {WIDTH}])],
    [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", {CLASSES}])],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
folder = os.environ["OPENSTALL_INPUTS"]
open(folder + "/model.onnx", "wb").write(model.SerializeToString())
with open(folder + "/rows.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow([*(f"f{{n}}" for n in range({WIDTH})), "y"])
    for row in chance.integers(0, 17, ({ROWS}, {WIDTH})):
        writer.writerow([*row, chance.integers(0, {CLASSES})])
print("cpu", 0)
"""
ALONE = f"""
import csv, os, sys
sys.path[:0] = sys.argv[2:]
import numpy as np, onnxruntime
with open(os.environ["OPENSTALL_INPUTS"] + "/rows.csv", newline="") as file:
    header, *rows = csv.reader(file)
x = np.array([[float(cell) for cell in row[:-1]] for row in rows], dtype=np.float32)
y = np.array([int(row[-1]) for row in rows])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
path, only = os.environ["OPENSTALL_INPUTS"] + "/model.onnx", ["CPUExecutionProvider"]
session = onnxruntime.InferenceSession(path, options, providers=only)
said = np.concatenate([session.run(None, {{"x": x[at:at + 256]}})[0] for at in range(0, {ROWS}, 256)])
assert 0 < (said.argmax(axis=1) == y).mean() < 1
print("cpu", sum(os.times()[:2]))
"""
WORKLOAD = """
import atexit, os, runpy, sys
sys.path[:0] = sys.argv[2:]
if sys.argv[2:]:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 3)
atexit.register(lambda: print("cpu", sum(os.times()[:2]), flush=True))
runpy.run_module("openstall.compute_agent.workloads.KIND", run_name="__main__")
"""
NOTHING = """
import os
print("cpu", sum(os.times()[:2]), flush=True)
"""
PARAMS = AssessParams(
    task="classification",
    features=tuple(f"f{n}" for n in range(WIDTH)),
    target="y",
    classes=tuple(str(n) for n in range(CLASSES)),
    metric="accuracy",
    threshold="0.9",
    seed=1,
    salt_seed="5a" * 32,
)
SEALED = msgspec.json.encode(PARAMS)
PLAIN = msgspec.json.encode(InferParams(label="y"))


def figure(lines: Iterable[str]) -> float:
    """The processor seconds that a script printed last."""
    return next(float(line.removeprefix("cpu ")) for line in lines if line.startswith("cpu "))


def bare(runtime: Runtime, script: Path, params: bytes = b"{}") -> float:
    """Processor seconds of a script with the runtime's own interpreter and libraries, in no sandbox."""
    paths = [str(runtime.site_packages), str(HERE.parent / "build" / "types")]
    command = [str(runtime.python), "-I", "-S", "-B", str(script), params.decode(), *paths]
    with tempfile.TemporaryDirectory(dir=script.parent) as out:
        places = {"OPENSTALL_INPUTS": str(script.parent / "in"), "OPENSTALL_OUTPUTS": out}
        quiet = {"OPENSTALL_THREADS": "1", "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=places | quiet)
    return figure(ran.stdout.splitlines())


async def boxed(facilities: Facilities, runtime: Runtime, script: Path, params: bytes, out: str) -> float:
    """The same in a full sandbox; not silent, so that it can say its processor seconds."""
    lines: list[str] = []

    async def emit(event: JobEvent) -> None:
        if isinstance(event, LogLine):
            lines.append(event.text)

    plan = Plan(
        entry=Entry(script=script),
        runtime=runtime,
        inputs=script.parent / "in",
        params=params,
        limits=LIMITS,
        mode=facilities.mode,
    )
    with tempfile.TemporaryDirectory(dir=script.parent) as target:
        await run_sandbox(
            facilities=facilities,
            plan=plan,
            emit=emit,
            cancel=trio.Event(),
            allowed={out: RESULT_BYTES} if out else {},
            destination=Path(target),
        )
    return figure(lines)


async def measure() -> list[Row]:
    """Plain and sealed runs in turn, the best of each: the least disturbed by other work."""
    runtime = find_runtime()
    facilities = await find_facilities(runtime=runtime, scope=find_scope())
    scripts = {"make": MAKE, "alone": ALONE, "nothing": NOTHING}
    scripts |= {kind: WORKLOAD.replace("KIND", kind) for kind in ("infer", "assess")}
    with tempfile.TemporaryDirectory(prefix="openstall-bench-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for place in (folder, folder / "in"):
            place.chmod(0o755)
        for title, text in scripts.items():
            (folder / f"{title}.py").write_text(text)
        bare(runtime, folder / "make.py")
        alone, plain, sealed, start = [], [], [], []
        for _ in range(ROUNDS):
            alone.append(bare(runtime, folder / "alone.py"))
            plain.append(bare(runtime, folder / "infer.py", PLAIN))
            sealed.append(await boxed(facilities, runtime, folder / "assess.py", SEALED, "assessment.json"))
            empty = await boxed(facilities, runtime, folder / "nothing.py", b"{}", "")
            start.append(empty - bare(runtime, folder / "nothing.py"))
    spent = min(sealed) - min(start)
    over = spent / min(plain) - 1
    return [
        Row(
            name="sealed evaluation over a plain infer job in no sandbox, without the sandbox's start",
            value=over * 100,
            unit="%",
            limit=f"<= {AIM * 100:.0f} %",
            ok=over <= AIM,
            note=f"{spent:.2f} against {min(plain):.2f} processor seconds, best of {ROUNDS}; "
            f"{min(alone):.2f} s for onnxruntime alone, which checks neither model nor table; "
            f"{ROWS:,} rows, 4.3 million weights, 1 thread",
        )
    ]


def rows() -> Iterable[Row]:
    """For benchmarks/run.py."""
    return trio.run(measure)
