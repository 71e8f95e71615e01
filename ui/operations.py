"""Long actions: who waits for which, how far it is, and what came of it.

The state comes from the event stream; after a reconnect every awaited operation is asked for again,
so that none is lost with the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal
from shiboken6 import isValid

from openstall.ui import documents
from openstall.ui.api import ApiClient
from openstall.ui.documents import Failure, Nothing, Operation, OperationRef, UnreadableAnswer

CANCELLED = Failure(code="cancelled", message="Cancelled. Nothing was changed.", what_next="")


class _Wait:
    """One caller waiting for one operation."""

    __slots__ = ("done", "failed", "owner", "progress")

    def __init__(
        self,
        owner: QObject,
        done: Callable[[Any], None],
        failed: Callable[[Failure], None],
        progress: Callable[[Operation], None] | None,
    ) -> None:
        self.owner, self.done, self.failed, self.progress = owner, done, failed, progress


class Operations(QObject):
    """Follows the operations that this window started. Main thread only."""

    changed = Signal(object)
    """An `Operation` moved, whoever started it."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__(api)
        self._api = api
        self._waits: dict[str, _Wait] = {}
        api.happened.connect(self._on_event)
        api.online.connect(self._ask_again)

    @property
    def awaited(self) -> int:
        """How many operations somebody waits for."""
        return len(self._waits)

    def start(
        self,
        path: str,
        body: dict[str, Any],
        *,
        owner: QObject,
        done: Callable[[Any], None],
        failed: Callable[[Failure], None] | None = None,
        progress: Callable[[Operation], None] | None = None,
    ) -> None:
        """Ask the node for a long action; `done` gets its result, `failed` its error or cancellation."""
        take = failed or self._api.trouble.emit
        wait = _Wait(owner, done, take, progress)

        def started(ref: OperationRef) -> None:
            if not ref.operation_id:
                done({})
                return
            self._waits[ref.operation_id] = wait
            self._ask(ref.operation_id)

        self._api.post(path, body, OperationRef, started, owner=owner, failed=take)

    def cancel(self, operation_id: str) -> None:
        """Ask the node to stop an operation; its end comes as an event."""
        self._api.post(
            f"/v1/operations/{operation_id}/cancel",
            {},
            Nothing,
            lambda _: self._ask(operation_id),
            owner=self,
        )

    def _on_event(self, name: str, data: object) -> None:
        if name != "operation" or not isinstance(data, dict):
            return
        if "state" not in data:
            self._ask(str(data.get("id", "")))
            return
        try:
            self._moved(documents.read(data, Operation))
        except UnreadableAnswer:
            return

    def _ask_again(self) -> None:
        for operation_id in list(self._waits):
            self._ask(operation_id)

    def _ask(self, operation_id: str) -> None:
        if operation_id in self._waits:
            self._api.get(
                f"/v1/operations/{operation_id}",
                Operation,
                self._moved,
                owner=self,
                failed=lambda failure: self._lost(operation_id, failure),
            )

    def _lost(self, operation_id: str, failure: Failure) -> None:
        """The node does not know the operation any more (it was restarted): tell who waits."""
        if failure.code == "node_unreachable":
            return
        wait = self._waits.pop(operation_id, None)
        if wait is not None and isValid(wait.owner):
            wait.failed(failure)

    def _moved(self, operation: Operation) -> None:
        self.changed.emit(operation)
        wait = self._waits.get(operation.id)
        if wait is None:
            return
        if not operation.running:
            del self._waits[operation.id]
        if not isValid(wait.owner):
            return
        if operation.running:
            if wait.progress is not None:
                wait.progress(operation)
        elif operation.state == "done":
            wait.done(operation.result if operation.result is not None else {})
        elif operation.state == "cancelled":
            wait.failed(CANCELLED)
        else:
            wait.failed(operation.error or Failure())
