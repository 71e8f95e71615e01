"""What a buyer wants done, wherever it is done: its inputs, and what it takes of a provider's machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from openstall.app.services.orders.desk import OpenOrder
from openstall.compute_agent.recheck_specs import CHECKPOINT
from openstall.market.errors import Refused
from openstall.market.fields import BlobRef
from openstall.market.job_kinds import GPU_KINDS
from openstall.market.orders.documents import InputFile
from openstall.market.orders.failover import BAD_CHECKPOINT
from openstall.market.records import Offer, ServiceLevel

DISK_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done, wherever it is done."""

    kind: str
    params: dict[str, Any]
    inputs: list[InputFile]
    max_s: int
    cap_micro: int
    gpus: int
    priority_per_s_micro: int = 0
    service: ServiceLevel | None = None


def from_checkpoint(order: OpenOrder) -> tuple[list[InputFile], dict[str, Any]]:
    """Inputs and parameters of the rest of a job: from its newest checkpoint, if there is a good one."""
    terms = order.contract.compute
    if terms.job_kind != "train":
        return list(terms.inputs), terms.params  # no other kind writes checkpoints: it begins anew
    if order.data.get("checkpoint"):
        found = [msgspec.convert(order.data["checkpoint"]["blob"], BlobRef)]
    elif order.data.get("reason") == BAD_CHECKPOINT:
        found = []
    else:
        found = [item.blob for item in terms.inputs if item.name == CHECKPOINT]
    inputs = [item for item in terms.inputs if item.name != CHECKPOINT]
    params = {name: value for name, value in terms.params.items() if name != "resume"}
    if found:
        return [*inputs, InputFile(name=CHECKPOINT, blob=found[0])], {**params, "resume": True}
    return inputs, params


def gpu_memory(work: Work, offer: Offer) -> int:
    """What a job may use of each graphics processor: as much as the smallest of those on offer has."""
    if not work.gpus:
        return 0
    if work.kind not in GPU_KINDS:
        raise Refused("no_gpu", f"A job of kind {work.kind} runs on the processor.", "Rent no graphics card.")
    if work.gpus > len(offer.gpus):
        raise Refused(
            "no_gpu",
            f"This provider rents out {len(offer.gpus)} graphics cards, the job asks for {work.gpus}.",
            "Choose another offer.",
        )
    return min(gpu.memory_bytes for gpu in offer.gpus)


def disk_bytes(inputs: list[InputFile], offer: Offer) -> int:
    """Room for the job, which also bounds what the provider may send back."""
    total = sum(item.blob.size for item in inputs)
    if total > offer.disk_bytes:
        raise Refused("too_large", "Your files do not fit on the disk that this provider offers.")
    return min(offer.disk_bytes, max(DISK_BYTES, 2 * total))
