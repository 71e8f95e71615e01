"""Long actions that a person started: each has a title, progress, a result, and can be cancelled."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.supervisor import first_error
from openstall.market.errors import Conflict, NotFound, OpenstallError

MAX_KEPT = 200
MAX_RUNNING = 32
MIN_PUBLISH_INTERVAL_S = 0.1

log = get_logger("openstall.operations")


@dataclass(slots=True, kw_only=True)
class Operation:
    """State of one long action, as the local API shows it."""

    id: str
    kind: str
    title: str
    state: str
    stage: str
    done: int
    total: int
    unit: str
    result: dict[str, Any] | None
    error: dict[str, str] | None
    started_at: int
    ended_at: int | None

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the local API."""
        return asdict(self)


class Progress:
    """Handed to the action: says how far it is. Call from the trio thread, or `soon` from others."""

    def __init__(self, operation: Operation, bus: EventBus) -> None:
        self._operation = operation
        self._bus = bus
        self._token = trio.lowlevel.current_trio_token()
        self._told_at = -MIN_PUBLISH_INTERVAL_S

    def __call__(self, stage: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """Set the stage in words and, where it can be counted, `done` of `total` `unit`s."""
        operation = self._operation
        new_stage = stage != operation.stage
        operation.stage, operation.done, operation.total = stage, done, total
        operation.unit = unit
        if new_stage or trio.current_time() - self._told_at >= MIN_PUBLISH_INTERVAL_S:
            self._told_at = trio.current_time()
            self._bus.publish("operation", operation.as_dict())

    def soon(self, stage: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """The same from a worker thread."""
        self._token.run_sync_soon(self, stage, done, total, unit)


Action = Callable[[Progress], Awaitable[dict[str, Any] | None]]


class Operations:
    """Runs actions in the node's nursery and remembers the last ones."""

    def __init__(self, *, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._nursery: trio.Nursery | None = None
        self._kept: OrderedDict[str, Operation] = OrderedDict()
        self._scopes: dict[str, trio.CancelScope] = {}

    def bind(self, nursery: trio.Nursery) -> None:
        """Give the nursery that actions run in."""
        self._nursery = nursery

    def start(self, kind: str, title: str, action: Action) -> str:
        """Start an action and return its id; OpenstallError from it becomes the operation's error."""
        if self._nursery is None or len(self._scopes) >= MAX_RUNNING:
            raise Conflict("too_busy", "Too much is going on at once.", "Wait until something has finished.")
        operation = Operation(
            id=secrets.token_hex(8),
            kind=kind,
            title=title,
            state="running",
            stage="",
            done=0,
            total=0,
            unit="",
            result=None,
            error=None,
            started_at=self._clock.now(),
            ended_at=None,
        )
        self._kept[operation.id] = operation
        self._forget_old()
        self._scopes[operation.id] = trio.CancelScope()
        self._nursery.start_soon(self._run, operation, action, name=f"operation {kind}")
        self._bus.publish("operation", operation.as_dict())
        return operation.id

    def get(self, operation_id: str) -> Operation:
        """The operation; NotFound if it never was or is long gone."""
        operation = self._kept.get(operation_id)
        if operation is None:
            raise NotFound("no_such_operation", f"There is no operation {operation_id[:40]}.")
        return operation

    def items(self) -> list[Operation]:
        """Newest first."""
        return list(reversed(self._kept.values()))

    def cancel(self, operation_id: str) -> Operation:
        """Ask a running operation to stop; it ends as `cancelled` when it has cleaned up."""
        operation = self.get(operation_id)
        scope = self._scopes.get(operation_id)
        if scope is None:
            raise Conflict("already_ended", "This has already ended.")
        scope.cancel()
        return operation

    async def _run(self, operation: Operation, action: Action) -> None:
        scope = self._scopes[operation.id]
        state, error = "cancelled", None
        try:
            with scope:
                operation.result = await action(Progress(operation, self._bus))
                state = "done"
        except* OpenstallError as group:
            error = first_error(group)
            state = "failed"
            log.info("operation failed", kind=operation.kind, code=error["code"])
        except* Exception as group:
            log.exception("operation crashed", kind=operation.kind, exc_info=group)
            error = {
                "code": "internal_error",
                "message": "Something went wrong inside the node.",
                "what_next": "The log of the node has the details.",
            }
            state = "failed"
        finally:
            del self._scopes[operation.id]
            operation.state, operation.error = state, error
            operation.ended_at = self._clock.now()
            self._bus.publish("operation", operation.as_dict())

    def _forget_old(self) -> None:
        for operation_id in list(self._kept):
            if len(self._kept) <= MAX_KEPT:
                return
            if operation_id not in self._scopes:
                del self._kept[operation_id]
