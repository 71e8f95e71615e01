"""A reader of server-sent events: bytes in, events out, with caps on what it will hold."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LINE_BYTES = 1024 * 1024
MAX_EVENT_BYTES = 2 * 1024 * 1024


class StreamBroken(Exception):
    """The stream holds a line or an event larger than is ever sent; the connection must be dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event: its name (`message` when none was given) and its data."""

    name: str
    data: str


class EventParser:
    """Incremental parser of `text/event-stream`; feed it whatever arrives.

    Comments, ids and retry hints are skipped: the caller refreshes everything after a reconnect.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that this chunk completes.

        Raises:
            StreamBroken: a line or event is above its cap.
        """
        events: list[ServerEvent] = []
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise StreamBroken("line too long")
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise StreamBroken("line too long")
            event = self._take(line.decode("utf-8", errors="replace"))
            if event is not None:
                events.append(event)
        return events

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._finish()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value[:64]
        elif field == "data":
            self._size += len(value)
            if self._size > MAX_EVENT_BYTES:
                raise StreamBroken("event too large")
            self._data.append(value)
        return None

    def _finish(self) -> ServerEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(name=name or "message", data="\n".join(data)) if data else None
