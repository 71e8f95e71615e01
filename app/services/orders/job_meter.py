"""The provider's meter: a signed tick for each second of useful work, and why a job must end for its pay."""

from __future__ import annotations

import base64

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.running_job import RunningJob
from openstall.market.metering import UNPAID_S, Tick, owed, sign_tick


async def meter(desk: OrderDesk, order: OpenOrder, job: RunningJob, seconds: int, *, seed: bytes) -> str:
    """Sign what is owed after so many useful seconds; why the job must stop now, or empty.

    `unpaid`: the buyer promises no more. `cap`: another second would be above the cap.
    """
    terms = order.contract.compute
    seconds = min(seconds, terms.max_s)
    if seconds <= (job.tick.seconds if job.tick else 0):
        return ""
    amount = owed(terms.price_per_s_micro, terms.cap_micro, seconds)
    tick = Tick(
        order=order.order_id,
        seq=(job.tick.seq if job.tick else 0) + 1,
        seconds=seconds,
        owed_micro=amount,
        at=desk.now(),
    )
    job.tick, job.tick_raw = tick, sign_tick(tick, order.contract, seed)
    kept = base64.b64encode(job.tick_raw).decode()
    await desk.patch(order.order_id, seconds=seconds, owed_micro=amount, tick=kept, signed_tick=kept)
    price = terms.price_per_s_micro
    if price and amount - job.paid_micro > UNPAID_S * price:
        return "unpaid"
    return "cap" if price and price * (seconds + 1) > terms.cap_micro else ""
