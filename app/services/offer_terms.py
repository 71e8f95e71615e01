"""What an owner rents out, and what follows from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from openstall.app.services.rigs.machines import Needs
from openstall.compute_agent.specs import JobKind, Limits
from openstall.compute_agent.wire import WarmStock
from openstall.market.errors import Refused
from openstall.market.house import HouseRules
from openstall.market.job_kinds import FOREIGN_CODE
from openstall.market.orders.agree import MAX_PROCESSES

_WARM_PART = 4
"""A quarter of the memory on offer may be held by sandboxes that wait for a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferTerms:
    """What the owner lets strangers use; amounts in micro-credits, sizes in bytes, times in seconds."""

    price_per_s_micro: int
    max_job_s: int
    memory_bytes: int
    disk_bytes: int
    threads: int
    kinds: tuple[str, ...]
    ttl_s: int
    jobs_at_once: int
    withdraw_delay_s: int
    queue: int = 0
    """How many paid jobs may wait for a place."""
    gpus: bool = False
    """Whether graphics cards are rented out, those that the house rules do not switch off."""
    gpu_memory_bytes: int = 0
    """What a job may use of each; 0 is all of it."""
    gpu_scripts: bool = False
    """Whether programs of buyers may use them: the driver is a larger door than any other."""

    @property
    def largest(self) -> Needs:
        """The most that a job of this offer may take; one machine must have all of it."""
        foreign = [kind for kind in self.kinds if kind in FOREIGN_CODE]
        return Needs(
            kind=msgspec.convert((foreign or self.kinds)[0], JobKind),
            threads=self.threads,
            memory_bytes=self.memory_bytes,
            disk_bytes=self.disk_bytes,
            gpus=int(self.gpus),
            max_s=self.max_job_s,
        )


def check_caps(offered: OfferTerms, house: HouseRules) -> None:
    """Whether all places of the offer together stay below the owner's caps.

    Raises:
        Refused: with the first that does not.
    """
    for name, unit, each, cap in (
        ("threads", 1, offered.threads, house.threads_cap),
        ("MiB of memory", 2**20, offered.memory_bytes, house.memory_bytes_cap),
        ("MiB of disk", 2**20, offered.disk_bytes, house.disk_bytes_cap),
    ):
        if cap is not None and each * offered.jobs_at_once > cap:
            raise Refused(
                "above_cap",
                f"The offer gives {each * offered.jobs_at_once // unit} {name} to jobs; "
                f"your house rules allow {cap // unit}.",
                "Offer less, or raise the cap.",
            )


def warm_stock(rules: OfferTerms, folder: Path) -> WarmStock:
    """The sandboxes that wait for the jobs of an offer."""
    return WarmStock(
        kinds=msgspec.convert(rules.kinds, tuple[JobKind, ...]),
        limits=Limits(
            memory_bytes=rules.memory_bytes,
            disk_bytes=rules.disk_bytes,
            threads=rules.threads,
            processes=MAX_PROCESSES,
        ),
        memory_bytes=rules.memory_bytes // _WARM_PART,
        folder=str(folder),
    )
