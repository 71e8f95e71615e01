"""An offer of compute, for the tests of prices."""

from __future__ import annotations

from openstall.market.records import Offer

ADDRESS = "0x" + "11" * 20
OWN = Offer(
    title="My machine",
    kinds=["train"],
    cpu="A processor",
    threads=2,
    memory_bytes=2**31,
    disk_bytes=2**30,
    gpus=[],
    price_per_s_micro=20_000,
    max_s=600,
    withdraw_delay_s=600,
    wallet=ADDRESS,
    chain_id=1,
    channel=ADDRESS,
)
