"""A finished sandbox before its job begins: its folders taken hold of, its place behind the owner."""

from __future__ import annotations

import os
from typing import Final

import msgspec
import trio

from openstall.compute_agent.sandbox.background import give_way, processors_for
from openstall.compute_agent.sandbox.events import EVENT_CAP_BYTES, EVENTS, Ready, Stage1
from openstall.compute_agent.sandbox.launcher import Running
from openstall.compute_agent.sandbox.plan import Plan
from openstall.compute_agent.sandbox.usage import sample
from openstall.market.errors import SandboxError

_SETTLE_TIMEOUT_S: Final = 120.0


def take_hold(running: Running, plan: Plan) -> None:
    """Of the folders of a finished sandbox, and of its place behind the owner. Raises OSError."""
    running.open_folders()
    give_way(running.tasks(), processors=processors_for(threads=plan.limits.threads, slot=plan.slot))


async def settle(running: Running, plan: Plan) -> None:
    """Wait until a sandbox is finished and take hold of its folders, without letting it begin.

    Raises SandboxError `sandbox_start_failed`; the caller ends it then.
    """
    data = b""
    with trio.move_on_after(_SETTLE_TIMEOUT_S):
        while b"\n" not in data:
            await trio.lowlevel.wait_readable(running.events_fd)
            part = os.read(running.events_fd, EVENT_CAP_BYTES)
            if not part:
                break
            data += part
    try:
        event = EVENTS.decode(data.partition(b"\n")[0])
        if not isinstance(event, Ready):
            words = event.words if isinstance(event, Stage1) else "it does not say that it is ready"
            raise SandboxError("sandbox_start_failed", f"A sandbox could not be prepared: {words}.")
        take_hold(running, plan)
    except (msgspec.DecodeError, OSError) as error:
        raise SandboxError("sandbox_start_failed", f"A sandbox could not be prepared: {error}.") from error
    running.cpu_before_s = sample(running).cpu_s
    running.landlock = event.landlock
