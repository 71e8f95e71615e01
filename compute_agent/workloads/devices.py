"""The graphics processors of a job: those that the sandbox shows, and how much of each may be used."""

from __future__ import annotations

import os
from typing import Final

import torch

MEMORY_BYTES: Final = int(os.environ.get("OPENSTALL_GPU_MEMORY", "0"))
"""What the job may use of each device; 0 is all of it."""


def best_device() -> torch.device:
    """The first graphics processor if the job rents one, else the processor.

    Within the job the share is kept by torch's own allocator; the agent looks at it from outside.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if MEMORY_BYTES:
        for at in range(torch.cuda.device_count()):
            whole = torch.cuda.get_device_properties(at).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, MEMORY_BYTES / whole), at)
    return torch.device("cuda", 0)
