"""The local API: calls that answer by callback, and the stream of events. No threads.

A call belongs to an owner; if the owner is gone when the answer comes, the answer is dropped. A
failure goes to the caller if it asked for it, else to `trouble`, which the window shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QByteArray, QObject, QTimer, QUrl, Signal
from PySide6.QtNetwork import QNetworkAccessManager, QNetworkProxy, QNetworkReply, QNetworkRequest
from shiboken6 import isValid

from openstall.ui import documents
from openstall.ui.documents import Failure, Status, UnreadableAnswer
from openstall.ui.sse import EventParser, StreamBroken

T = TypeVar("T")
MAX_ANSWER_BYTES = 16 * 1024 * 1024
CALL_TIMEOUT_MS = 30_000
FIRST_BACK_OFF_MS = 250
LAST_BACK_OFF_MS = 8_000

UNREACHABLE = Failure(
    code="node_unreachable",
    message="The Openstall node on this computer does not answer.",
    what_next="Nothing is lost: your money and orders are kept. The window connects again by itself.",
)
UNREADABLE = Failure(
    code="unreadable_answer",
    message="The node answered in a form that this window does not understand.",
    what_next="Start the node and the desktop from the same version of Openstall.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the node listens, and the token that only its user can read."""

    port: int
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taker(Generic[T]):
    """Who takes an answer, and as what."""

    kind: type[T]
    then: Callable[[T], None]
    owner: QObject
    failed: Callable[[Failure], None] | None


class ApiClient(QObject):
    """One connection to one node. Main thread only; every callback runs in the event loop."""

    trouble = Signal(object)
    """A `Failure` that no caller took."""
    happened = Signal(str, object)
    """An event of the node: its name and its decoded data."""
    online = Signal()
    """The event stream is open (again): refresh what is shown."""
    offline = Signal()
    """The event stream broke; it is opened again with growing pauses."""
    idle = Signal()
    """No call is on its way any more."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._net = QNetworkAccessManager(self)
        self._net.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy))
        self._endpoint: Endpoint | None = None
        self._stream: QNetworkReply | None = None
        self._parser = EventParser()
        self._back_off_ms = FIRST_BACK_OFF_MS
        self._retry = QTimer(self)
        self._retry.setSingleShot(True)
        self._retry.timeout.connect(self._open_stream)
        self._find_endpoint: Callable[[], Endpoint | None] | None = None
        self._connected = False
        self._closed = False
        self.pending = 0

    @property
    def connected(self) -> bool:
        """Whether the event stream is open."""
        return self._connected

    def attach(self, endpoint: Endpoint, find_again: Callable[[], Endpoint | None] | None = None) -> None:
        """Use this node, and open its event stream; `find_again` is asked before each reconnect."""
        self.close()
        self._endpoint = endpoint
        self._find_endpoint = find_again
        self._closed = False
        self._open_stream()

    def probe(
        self,
        endpoint: Endpoint,
        then: Callable[[Status], None],
        *,
        owner: QObject,
        failed: Callable[[Failure], None],
    ) -> None:
        """Ask a node that may be there for its status, without attaching to it."""
        request = self._request("/v1/status", endpoint)
        request.setTransferTimeout(CALL_TIMEOUT_MS)
        reply = self._net.get(request)
        self._expect(reply, _Taker(kind=Status, then=then, owner=owner, failed=failed))

    def close(self) -> None:
        """Drop the stream and stop reconnecting."""
        self._closed = True
        self._retry.stop()
        self._connected = False
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.finished.disconnect(self._stream_ended)
            stream.abort()
            stream.deleteLater()

    def get(
        self,
        path: str,
        kind: type[T],
        then: Callable[[T], None],
        *,
        owner: QObject,
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Fetch `path` and hand the answer to `then` as `kind`."""
        request = self._request(path)
        request.setTransferTimeout(CALL_TIMEOUT_MS)
        self._expect(self._net.get(request), _Taker(kind=kind, then=then, owner=owner, failed=failed))

    def post(
        self,
        path: str,
        body: dict[str, Any],
        kind: type[T],
        then: Callable[[T], None],
        *,
        owner: QObject,
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Ask the node to do something."""
        request = self._request(path)
        request.setTransferTimeout(CALL_TIMEOUT_MS)
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
        reply = self._net.post(request, QByteArray(json.dumps(body).encode()))
        self._expect(reply, _Taker(kind=kind, then=then, owner=owner, failed=failed))

    def _request(self, path: str, endpoint: Endpoint | None = None) -> QNetworkRequest:
        to = endpoint or self._endpoint
        if to is None:
            raise RuntimeError("attach() comes first")
        request = QNetworkRequest(QUrl(f"http://127.0.0.1:{to.port}{path}"))
        request.setRawHeader(b"Authorization", f"Bearer {to.token}".encode())
        request.setAttribute(QNetworkRequest.Attribute.Http2AllowedAttribute, False)
        request.setAttribute(
            QNetworkRequest.Attribute.RedirectPolicyAttribute,
            QNetworkRequest.RedirectPolicy.ManualRedirectPolicy,
        )
        return request

    def _expect(self, reply: QNetworkReply, taker: _Taker[T]) -> None:
        self.pending += 1
        reply.readyRead.connect(lambda: reply.abort() if reply.bytesAvailable() > MAX_ANSWER_BYTES else None)
        reply.finished.connect(lambda: self._settle(reply, taker))

    def _settle(self, reply: QNetworkReply, taker: _Taker[T]) -> None:
        answer = _answer_of(reply, taker.kind)
        reply.deleteLater()
        self.pending -= 1
        if isValid(taker.owner):
            if not isinstance(answer, Failure):
                taker.then(answer)
            elif taker.failed is not None:
                taker.failed(answer)
            else:
                self.trouble.emit(answer)
        if self.pending == 0:
            self.idle.emit()

    def _open_stream(self) -> None:
        if self._find_endpoint is not None and self._back_off_ms > FIRST_BACK_OFF_MS:
            self._endpoint = self._find_endpoint() or self._endpoint
        self._parser = EventParser()
        request = self._request("/v1/events")
        request.setRawHeader(b"Accept", b"text/event-stream")
        self._stream = self._net.get(request)
        self._stream.metaDataChanged.connect(self._stream_opened)
        self._stream.readyRead.connect(self._stream_read)
        self._stream.finished.connect(self._stream_ended)

    def _stream_opened(self) -> None:
        if self._stream is not None and _status(self._stream) == 200 and not self._connected:
            self._connected = True
            self._back_off_ms = FIRST_BACK_OFF_MS
            self.online.emit()

    def _stream_read(self) -> None:
        stream = self._stream
        if stream is None or _status(stream) != 200:
            return
        try:
            events = self._parser.feed(bytes(stream.readAll().data()))
        except StreamBroken:
            stream.abort()
            return
        for item in events:
            try:
                data = json.loads(item.data)
            except (ValueError, RecursionError):
                continue
            self.happened.emit(item.name, data)

    def _stream_ended(self) -> None:
        if self._stream is not None:
            self._stream.deleteLater()
            self._stream = None
        was_connected, self._connected = self._connected, False
        if self._closed:
            return
        if was_connected:
            self.offline.emit()
        self._retry.start(self._back_off_ms)
        self._back_off_ms = min(LAST_BACK_OFF_MS, self._back_off_ms * 2)


def _status(reply: QNetworkReply) -> int:
    return int(reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute) or 0)


def _answer_of(reply: QNetworkReply, kind: type[T]) -> T | Failure:
    status = _status(reply)
    good = 200 <= status < 300
    if reply.error() == QNetworkReply.NetworkError.OperationCanceledError:
        return UNREADABLE if status else UNREACHABLE
    if status == 0 or (good and reply.error() != QNetworkReply.NetworkError.NoError):
        return UNREACHABLE
    if reply.bytesAvailable() > MAX_ANSWER_BYTES:
        return UNREADABLE
    try:
        value = json.loads(bytes(reply.readAll().data()) or b"null")
        if good:
            empty = value is None and kind is documents.Nothing
            return documents.read({} if empty else value, kind)
        return documents.read(value.get("error") if isinstance(value, dict) else {}, Failure)
    except (UnreadableAnswer, ValueError, RecursionError):
        return UNREADABLE
