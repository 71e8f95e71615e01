"""Workload `benchmark`: how fast one device is at what jobs do. Writes `figures.json`, whole numbers only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

import torch

from openstall.compute_agent.workloads.chain import Chain, finish, open_device, use_threads
from openstall.compute_agent.workloads.channel import begin, log, progress, run_workload, write_json

_MEGA: Final = 10**6
_CPU_SIDE: Final = 1024
_CUDA_SIDE: Final = 4096
_CUDA_PRODUCT_SIDE: Final = 8192
"""Large enough that starting a product takes no part of its time; the chain's matrices must be smaller."""
_CUDA_AT_ONCE: Final = 8
"""So many are started before the device is waited for."""
_COPY_BYTES: Final = 64 * 2**20
_CUDA_COPY_BYTES: Final = 2**30
"""Larger than any cache of a device."""
_TOKENS: Final = (8, 128)
_WIDTH: Final = 256
Figure = tuple[str, str, Callable[[], float]]


def main(params: dict[str, Any]) -> None:
    """One figure after another, each for about the given time."""
    use_threads(os.environ)
    device = open_device(params["device"])
    side = _CPU_SIDE if device.type == "cpu" else _CUDA_SIDE
    chain = Chain(seed="00" * 32, size=side, device=params["device"])
    begin()
    seconds = params["seconds"]
    plan = _plan(device, seconds, chain)
    figures = []
    for done, (name, unit, measure) in enumerate(plan):
        value = int(measure())
        figures.append({"name": name, "device": params["device"], "value": value, "unit": unit})
        log(f"{name} {value} {unit}")
        progress(done + 1, len(plan))
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    write_json(
        "figures.json",
        {"figures": figures, "size": side, "runtime": f"torch {torch.__version__}", "device_name": name},
    )


def _plan(device: torch.device, seconds: int, chain: Chain) -> list[Figure]:
    side = _CPU_SIDE if device.type == "cpu" else _CUDA_PRODUCT_SIDE

    def product(kind: torch.dtype, *, tf32: bool = False) -> Callable[[], float]:
        return lambda: 2 * side**3 * _product_rate(device, side, kind, seconds, tf32=tf32) / _MEGA

    unit = "million operations/s"
    plan: list[Figure] = [
        ("chain_rounds", "rounds in 1000 s", lambda: 1000 * _chain_rate(chain, seconds)),
        ("matrix_fp32", unit, product(torch.float32)),
        ("matrix_bf16", unit, product(torch.bfloat16)),
        ("matrix_int8", unit, product(torch.int8)),
        ("memory_copy", "MB/s", lambda: _copy_rate(device, device, seconds)),
        ("tokens", "tokens/s", lambda: _token_rate(device, seconds)),
    ]
    if device.type == "cuda":
        host = torch.device("cpu")
        plan += [
            ("matrix_tf32", unit, product(torch.float32, tf32=True)),
            ("matrix_fp16", unit, product(torch.float16)),
            ("pcie_to_device", "MB/s", lambda: _copy_rate(host, device, seconds)),
            ("pcie_from_device", "MB/s", lambda: _copy_rate(device, host, seconds)),
        ]
    return plan


def _rate(device: torch.device, work: Callable[[], object], seconds: int) -> float:
    """Times per second, after one time to warm up."""
    at_once = 1 if device.type == "cpu" else _CUDA_AT_ONCE
    work()
    finish(device)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(at_once):
            work()
        finish(device)
        count += at_once
    return count / (time.perf_counter() - began)


def _chain_rate(chain: Chain, seconds: int) -> float:
    state = chain.first_state()
    rounds = 4
    return rounds * _rate(chain.device, lambda: chain.run(state, 0, rounds), seconds)


def _product_rate(device: torch.device, side: int, kind: torch.dtype, seconds: int, *, tf32: bool) -> float:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    left = torch.randint(-63, 64, (side, side), device=device)
    try:
        if kind == torch.int8:
            whole = left.to(kind)
            turned = whole.t() if device.type == "cuda" else whole  # as the tensor units read it
            return _rate(device, lambda: torch._int_mm(whole, turned), seconds)  # noqa: SLF001 - torch has no other
        real = left.to(kind)
        return _rate(device, lambda: real @ real, seconds)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _copy_rate(source: torch.device, target: torch.device, seconds: int) -> float:
    count = _CUDA_COPY_BYTES if source == target and source.type == "cuda" else _COPY_BYTES
    pinned = {source.type, target.type} == {"cpu", "cuda"}
    here = torch.ones(count, dtype=torch.uint8, device=source)
    there = torch.empty(count, dtype=torch.uint8, device=target)
    if pinned:
        here = here.pin_memory() if source.type == "cpu" else here
        there = there.pin_memory() if target.type == "cpu" else there
    device = target if target.type == "cuda" else source
    return count * _rate(device, lambda: there.copy_(here, non_blocking=True), seconds) / _MEGA


def _token_rate(device: torch.device, seconds: int) -> float:
    layer = torch.nn.TransformerEncoderLayer(_WIDTH, 8, 4 * _WIDTH, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).to(device).eval()
    batch = torch.rand(*_TOKENS, _WIDTH, device=device)
    with torch.inference_mode():
        return _TOKENS[0] * _TOKENS[1] * _rate(device, lambda: model(batch), seconds)


if __name__ == "__main__":
    run_workload(main)
