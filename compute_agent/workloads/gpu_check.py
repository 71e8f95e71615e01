"""Workload `gpu_check`: what the agent must know of a graphics processor before a stranger's job may use it.

Two runs in two sandboxes: the first fills the device's memory with a secret, the second looks for it there.
Both compute a short chain and compare it with the processor's. Writes `gpus.json`.
"""

from __future__ import annotations

import os
from typing import Any, Final

import torch

from openstall.compute_agent.workloads.chain import Chain, digest, use_threads
from openstall.compute_agent.workloads.channel import Fault, begin, log, run_workload, write_json

_PIECE_BYTES: Final = 2**28
_SHARE: Final = 0.8
_SIDE: Final = 512
_ROUNDS: Final = 64


def main(params: dict[str, Any]) -> None:
    """Look at every device that is shown."""
    use_threads(os.environ)
    if not torch.cuda.is_available():
        raise Fault("no_such_device", "torch sees no graphics processor in the sandbox.")
    begin()
    found = [_examine(at, params["secret"], write=params["write"]) for at in range(torch.cuda.device_count())]
    write_json("gpus.json", {"runtime": f"torch {torch.__version__}", "devices": found})


def _examine(at: int, secret: int, *, write: bool) -> dict[str, Any]:
    device = torch.device("cuda", at)
    free, total = torch.cuda.mem_get_info(device)
    pieces = [
        torch.empty(_PIECE_BYTES // 8, dtype=torch.int64, device=device)
        for _ in range(int(free * _SHARE) // _PIECE_BYTES)
    ]
    left_over = any(bool((piece == secret).any()) for piece in pieces)
    if write:
        for piece in pieces:
            piece.fill_(secret)
        torch.cuda.synchronize(device)
    looked = len(pieces) * _PIECE_BYTES
    del pieces
    torch.cuda.empty_cache()
    same = len({_digest(name) for name in ("cpu", f"cuda:{at}")}) == 1
    name = torch.cuda.get_device_name(device)
    log(f"{name}: {looked >> 20} MiB {'filled' if write else 'read'}, same figures as the processor: {same}")
    return {"name": name, "total": total, "looked": looked, "left_over": left_over, "same": same}


def _digest(device: str) -> str:
    chain = Chain(seed="00" * 32, size=_SIDE, device=device)
    return digest(chain.run(chain.first_state(), 0, _ROUNDS))


if __name__ == "__main__":
    run_workload(main)
