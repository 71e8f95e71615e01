"""The demo's data: the Wisconsin breast cancer set (569 cases, 30 measurements), as scikit-learn ships it.

It is cut in two with a fixed seed: the model is trained on one part, and the buyer checks it on the
other, which the seller never has.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from openstall.compute_agent.runtime import Runtime
from openstall.market.errors import StoreError

LABEL = "diagnosis"
_SCRIPT = """
import csv, random, sys
sys.path.insert(0, sys.argv[4])
from sklearn.datasets import load_breast_cancer
data = load_breast_cancer()
names = [name.replace(" ", "_") for name in data.feature_names] + [sys.argv[3]]
classes = [str(data.target_names[label]) for label in data.target]
rows = [[repr(float(x)) for x in row] + [name] for row, name in zip(data.data, classes)]
random.Random(20261121).shuffle(rows)
cut = len(rows) * 7 // 10
for path, part in ((sys.argv[1], rows[:cut]), (sys.argv[2], rows[cut:])):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *part])
"""


def write_data(runtime: Runtime, folder: Path) -> tuple[Path, Path]:
    """Write `train.csv` and `holdout.csv` with the workload runtime's Python; returns their paths.

    Raises:
        StoreError: the runtime cannot be run.
    """
    train, holdout = folder / "train.csv", folder / "holdout.csv"
    arguments = [str(train), str(holdout), LABEL, str(runtime.site_packages)]
    command = [str(runtime.python), "-I", "-c", _SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(
            "no_demo_data",
            f"The demo's data could not be written: {done.stderr[-500:]}",
            "Run the set-up again.",
        )
    return train, holdout
