"""A chain of matrix products that is the same to the bit on every machine, and can only be computed in order.

`X <- fold(A_j · X)` over whole numbers of at most 63, with the matrices drawn from a seed. Products are
summed in float32: below 2**24 every sum of whole numbers is exact there, in any order and on any device,
with TF32 as well. The fold mixes bits that a residue class does not know, so that no power of the
matrices, and no arithmetic in fewer bits, gives the result sooner.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from openstall.compute_agent.workloads.channel import Fault

POOL: Final = 8
"""Matrices that the rounds use in turn."""
_LARGEST: Final = 63

State = npt.NDArray[np.int8]


class Chain:
    """The chain of one seed on one device; `size` rows and columns."""

    def __init__(self, *, seed: str, size: int, device: str) -> None:
        self.device = open_device(device)
        self.size = size
        self._seed = bytes.fromhex(seed)
        self._pool = [self._on_device(self._draw(b"A%d" % at)) for at in range(POOL)]

    def first_state(self) -> State:
        """The state before round 0."""
        return self._draw(b"X")

    def run(self, state: State, first_round: int, rounds: int) -> State:
        """The state after `rounds` rounds from `first_round` on."""
        values = self._on_device(state)
        for at in range(first_round, first_round + rounds):
            values = fold(self._pool[at % POOL] @ values)
        found: State = values.to(torch.int8).cpu().numpy()
        return found

    def _draw(self, name: bytes) -> State:
        count = self.size**2
        raw = np.frombuffer(hashlib.shake_256(self._seed + name).digest(count), dtype=np.uint8)
        drawn: State = (raw % (2 * _LARGEST + 1)).astype(np.int8) - np.int8(_LARGEST)
        return drawn.reshape(self.size, self.size)

    def _on_device(self, state: State) -> torch.Tensor:
        return torch.from_numpy(state.astype(np.float32)).to(self.device)


def fold(product: torch.Tensor) -> torch.Tensor:
    """Whole numbers of any size to -63 … 63."""
    values = product.to(torch.int32)
    mixed = values ^ (values >> 7) ^ (values >> 14)
    return mixed.bitwise_and_(127).sub_(64).clamp_(min=-_LARGEST).to(torch.float32)


def digest(state: State) -> str:
    """The address of a state: SHA-256 over its bytes, row by row."""
    return hashlib.sha256(np.ascontiguousarray(state).tobytes()).hexdigest()


def open_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        Fault: `no_such_device`, this machine does not have it or the sandbox does not show it.
    """
    if name != "cpu":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(name.removeprefix("cuda:")) >= count:
            raise Fault(
                "no_such_device",
                f"There is no device {name} here: {count} CUDA devices can be used.",
                "Leave the device out of what is offered.",
            )
        torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device(name)


def finish(device: torch.device) -> None:
    """Wait until everything that was started on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def use_threads(environment: Any) -> None:
    """As many threads as the job may use."""
    torch.set_num_threads(int(environment["OPENSTALL_THREADS"]))
