"""A node with one dishonest change, run as a process of its own: what a peer with a modified client does.

python modified_node.py TRICK [the command line of openstall]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openstall.app.cli.main import main
from openstall.app.services import sealing, selling
from openstall.app.services.orders import job_checkpoints, job_provider, sale
from openstall.market import metering
from openstall.market.orders import results


def never_deliver() -> None:
    """The seller takes the money and stays silent."""

    async def silent(self: object, order: object) -> None:
        """Do nothing at all."""

    sale.SaleSeller.step = silent  # type: ignore[method-assign,assignment]


def wrong_key() -> None:
    """The seller delivers a key that opens nothing."""
    honest = sealing.seal_key

    def seal(key: bytes, box_key: str) -> bytes:
        return honest(bytes(byte ^ 255 for byte in key), box_key)

    selling.seal_key = seal


def fast_meter() -> None:
    """The provider's meter counts a thousand seconds each second."""
    honest = metering.sign_tick

    def sign(tick: metering.Tick, contract: Any, seed: bytes) -> bytes:
        seconds = tick.seconds * 1000
        terms = contract.compute
        amount = metering.owed(terms.price_per_s_micro, terms.cap_micro, seconds)
        fast = metering.Tick(order=tick.order, seq=tick.seq, seconds=seconds, owed_micro=amount, at=tick.at)
        return honest(fast, contract, seed)

    job_provider.sign_tick = sign


def dear_report() -> None:
    """The provider's last report asks for the whole cap."""
    honest = results.sign_report

    def sign(report: results.JobReport, contract: Any, seed: bytes) -> results.SignedReport:
        plain = {name: getattr(report, name) for name in report.__struct_fields__}
        return honest(
            results.JobReport(**{**plain, "owed_micro": contract.compute.cap_micro}), contract, seed
        )

    job_provider.sign_report = sign


def spoilt_checkpoint() -> None:
    """The provider gives out a checkpoint with other weights than the job wrote, cut short."""
    honest = job_checkpoints.OfferedCheckpoints.offer

    async def offer(self: Any, order: Any, folder: Path, event: Any, owed_micro: int) -> Any:
        path = folder / event.file.name
        path.write_bytes(path.read_bytes()[:-1000])
        return await honest(self, order, folder, event, owed_micro)

    job_checkpoints.OfferedCheckpoints.offer = offer  # type: ignore[method-assign]


TRICKS: dict[str, Callable[[], None]] = {
    "never_deliver": never_deliver,
    "wrong_key": wrong_key,
    "fast_meter": fast_meter,
    "dear_report": dear_report,
    "spoilt_checkpoint": spoilt_checkpoint,
}

if __name__ == "__main__":
    TRICKS[sys.argv.pop(1)]()
    main()
