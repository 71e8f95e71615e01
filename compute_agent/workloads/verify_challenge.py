"""Workload `verify_challenge`: compute the opened segments of a chain again. Writes `verdict.json`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from openstall.compute_agent.workloads.chain import Chain, State, digest, use_threads
from openstall.compute_agent.workloads.channel import INPUTS, begin, progress, run_workload, write_json


def main(params: dict[str, Any]) -> None:
    """Right is: the first digest follows from the seed, and every opened segment leads to its own end."""
    use_threads(os.environ)
    size, rounds, digests = params["size"], params["rounds"], params["digests"]
    states = _read_states(size, len(params["opened"]))
    if states is None:
        write_json("verdict.json", {"right": False, "wrong": "states"})
        return
    chain = Chain(seed=params["seed"], size=size, device=params["device"])
    begin()
    wrong = "" if digest(chain.first_state()) == digests[0] else "start"
    for done, (at, state) in enumerate(zip(params["opened"], states, strict=True)):
        if wrong:
            break
        good = digest(state) == digests[at]
        good = good and digest(chain.run(state, at * rounds, rounds)) == digests[at + 1]
        wrong = "" if good else f"segment {at}"
        progress(done + 1, len(states))
    write_json("verdict.json", {"right": not wrong, "wrong": wrong})


def _read_states(size: int, count: int) -> list[State] | None:
    """The opened states; None where the file holds another number of them."""
    path = INPUTS / "states.bin"
    if path.stat().st_size != count * size**2:
        return None
    raw = np.frombuffer(path.read_bytes(), dtype=np.int8)
    return list(raw.reshape(count, size, size))


if __name__ == "__main__":
    run_workload(main)
