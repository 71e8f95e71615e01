"""Talks to the node of a home folder over its local API."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openstall.app.cli.output import Output
from openstall.app.paths import Home
from openstall.market.errors import OpenstallError

if TYPE_CHECKING:
    from httpx_sse import ServerSentEvent

TIMEOUT_S = 120.0
CONNECT_S = 5.0


class ApiClient:
    """One connection; every method raises OpenstallError with the node's own code and words."""

    def __init__(self, home: Home) -> None:
        """Find the node; `node_not_running` if there is none."""
        import httpx

        try:
            found = json.loads(home.api.read_bytes())
            port, token, pid = int(found["port"]), str(found["token"]), int(found["pid"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise not_running(home) from error
        if not _runs_for_us(pid):
            raise not_running(home)
        self._home = home
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """The answer of a GET; parameters that are None are left out."""
        chosen = {name: value for name, value in params.items() if value is not None}
        return self._ask("GET", path, params=chosen)

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        """The answer of a POST with a JSON body."""
        return self._ask("POST", path, json=body)

    def operate(self, path: str, output: Output, /, **body: Any) -> dict[str, Any]:
        """Start a long action, show its progress, return its result; Ctrl-C cancels it."""
        with self.events() as events:
            operation_id = self.post(path, **body)["operation_id"]
            try:
                return self._follow(operation_id, events, output)
            except KeyboardInterrupt:
                self.post(f"/v1/operations/{operation_id}/cancel")
                raise
            finally:
                output.end_progress()

    def _follow(self, operation_id: str, events: Iterator[ServerSentEvent], output: Output) -> dict[str, Any]:
        operation = self.get(f"/v1/operations/{operation_id}")
        while operation["state"] == "running":
            output.progress(_progress_words(operation))
            event = next(events, None)
            if event is None or event.event == "dropped":
                raise OpenstallError(
                    "node_lost", "The node stopped while this was under way.", "Start it again: it resumes."
                )
            found = json.loads(event.data) if event.event == "operation" else {}
            if found.get("id") == operation_id:
                operation = found
        if operation["state"] == "done":
            return dict(operation["result"] or {})
        error = operation["error"] or {"code": "cancelled", "message": "This was cancelled.", "what_next": ""}
        raise OpenstallError(**error)

    @contextmanager
    def events(self) -> Iterator[Iterator[ServerSentEvent]]:
        """Everything that happens from now on."""
        import httpx
        from httpx_sse import connect_sse

        try:
            with connect_sse(
                self._http, "GET", "/v1/events", timeout=httpx.Timeout(None, connect=CONNECT_S)
            ) as source:
                source.response.raise_for_status()
                yield self._until_lost(source.iter_sse())
        except httpx.ConnectError as error:
            raise not_running(self._home) from error

    def _until_lost(self, events: Iterator[ServerSentEvent]) -> Iterator[ServerSentEvent]:
        import httpx

        try:
            yield from events
        except httpx.TransportError:
            return

    def _ask(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        import httpx

        try:
            response = self._http.request(method, path, **parts)
        except httpx.ConnectError as error:
            raise not_running(self._home) from error
        except httpx.TransportError as error:
            raise OpenstallError(
                "node_lost", "The node stopped answering.", "Look at its log, and start it again."
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if response.is_success and isinstance(answer, dict):
            return answer
        fault = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(fault, dict):
            raise OpenstallError("bad_answer", f"The node answered with status {response.status_code}.")
        raise OpenstallError(
            str(fault.get("code", "")), str(fault.get("message", "")), str(fault.get("what_next", ""))
        )


def not_running(home: Home) -> OpenstallError:
    """There is no node to talk to."""
    return OpenstallError(
        "node_not_running",
        f"No node runs on {home.root}.",
        f"Start it: openstall --home {home.root} node start",
    )


def _progress_words(operation: dict[str, Any]) -> str:
    words = operation["stage"] or operation["title"]
    if operation["total"]:
        words += f" {operation['done']:,} of {operation['total']:,} {operation['unit']}"
    return str(words)


def _runs_for_us(pid: int) -> bool:
    """Whether the node that wrote `api.json` still lives and is this user's.

    A killed node leaves the file behind; whoever takes its port then must not be given the token.
    """
    if os.name != "posix":
        return True  # there a signal of 0 would end the process
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True
