"""Workload `challenge`: compute a chain. Writes `proof.json` (a digest per segment) and `states.bin`."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from openstall.compute_agent.workloads.chain import Chain, digest, use_threads
from openstall.compute_agent.workloads.channel import OUTPUTS, begin, progress, run_workload, write_json


def main(params: dict[str, Any]) -> None:
    """Every state before a segment goes to the file; its digest, and that of the last state, to the proof."""
    use_threads(os.environ)
    chain = Chain(seed=params["seed"], size=params["size"], device=params["device"])
    segments, rounds = params["segments"], params["rounds"]
    begin()
    state = chain.first_state()
    digests = [digest(state)]
    began = time.monotonic()
    with (OUTPUTS / "states.bin").open("wb") as file:
        for at in range(segments):
            file.write(state.tobytes())
            state = chain.run(state, at * rounds, rounds)
            digests.append(digest(state))
            progress(at + 1, segments)
    elapsed_ms = round((time.monotonic() - began) * 1000)
    write_json(
        "proof.json", {"digests": digests, "elapsed_ms": elapsed_ms, "runtime": f"torch {torch.__version__}"}
    )


if __name__ == "__main__":
    run_workload(main)
