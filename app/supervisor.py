"""Parts of the node that may be away: each is run, watched, and tried again with growing pauses.

A part that cannot start (sandbox refused, chain host away) is a state with words, not a crash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.market.errors import OpenstallError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
STEADY_S = 30.0
"""A part that ran this long starts its pauses from the shortest again."""

log = get_logger("openstall.supervisor")


class PartState(StrEnum):
    """Where a part is: `off` waits to be asked, `failed` will be tried again by itself."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


Run = Callable[[Callable[[], None]], Awaitable[None]]


class Part:
    """One supervised part.

    `run(ready)` sets itself up, calls `ready()`, and works until it is cancelled. If it returns,
    the part is off until `restart`; if it raises, it is run again after a pause.
    """

    def __init__(self, name: str, run: Run, *, bus: EventBus) -> None:
        self.name = name
        self.state = PartState.OFF
        self.error: dict[str, str] | None = None
        self._run = run
        self._bus = bus
        self._wake = trio.Event()
        self._scope: trio.CancelScope | None = None

    async def supervise(self) -> None:
        """Run for ever; the node's nursery holds this."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = trio.current_time()
            self._wake = trio.Event()
            await self._attempt()
            if trio.current_time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            if self._wake.is_set():
                pause_s = FIRST_PAUSE_S
            elif self.state is PartState.OFF:
                await self._wake.wait()
            else:
                with trio.move_on_after(pause_s):
                    await self._wake.wait()
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def restart(self) -> None:
        """Stop the present run, if any, and run again at once. Call from the trio thread."""
        self._wake.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _attempt(self) -> None:
        self._set(PartState.STARTING, None)
        state, error = PartState.OFF, None
        try:
            with trio.CancelScope() as self._scope:
                await self._run(self._ready)
        except* OpenstallError as group:
            state, error = PartState.FAILED, first_error(group)
            log.warning("part failed", part=self.name, code=error["code"], message=error["message"])
        except* Exception as group:
            log.exception("part crashed", part=self.name, exc_info=group)
            state = PartState.FAILED
            error = {
                "code": "internal_error",
                "message": f"The node's part “{self.name}” stopped because of a fault in the program.",
                "what_next": "It is started again; the node's log has the details.",
            }
        finally:
            self._scope = None
            self._set(state, error)

    def _ready(self) -> None:
        self._set(PartState.READY, None)

    def _set(self, state: PartState, error: dict[str, str] | None) -> None:
        if (state, error) == (self.state, self.error):
            return
        self.state, self.error = state, error
        log.info("part", part=self.name, state=str(state))
        self._bus.publish("status", {"part": self.name, "state": str(state)})


async def steadily(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run one task of a part; again after a pause where it fails with words (a full disk, a chain away).

    The part and its other tasks go on meanwhile. A fault in the program is not caught: it ends the part.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        began = trio.current_time()
        try:
            await task()
            return
        except* OpenstallError as group:
            error = first_error(group)
            log.warning("task failed", task=name, code=error["code"], message=error["message"])
        if trio.current_time() - began > STEADY_S:
            pause_s = FIRST_PAUSE_S
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def first_error(group: BaseExceptionGroup[OpenstallError]) -> dict[str, str]:
    """The first error of a group (nurseries wrap them) as the API prints it."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    if not isinstance(found, OpenstallError):
        raise TypeError("a group of OpenstallError holds nothing else")
    return found.as_dict()
