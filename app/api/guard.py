"""The door of the local API: who may talk to it, and how much.

Loopback alone does not keep a web page out: its scripts can send requests to 127.0.0.1, and DNS
rebinding can make them look same-origin. So a request needs the token, must name this host, and may
not carry an Origin at all.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1 << 20
_WHERE = "The token is in api.json in the home folder of the node."


class BodyTooLarge(Exception):
    """Raised inside the application when a body without a length runs over the cap."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: AsgiApp, *, token: str, where: str = _WHERE) -> None:
        """`where` tells who has no token where it is found."""
        self._where = where
        self._app = app
        self._token = token.encode()
        self._hosts: frozenset[bytes] = frozenset()

    def listen_on(self, port: int) -> None:
        """Accept requests for this port of this machine; none before."""
        self._hosts = frozenset({b"127.0.0.1:%d" % port, b"localhost:%d" % port})

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        await self._app(scope, _Capped(receive), send)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str, str, str] | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if headers.get(b"host", []) not in [[host] for host in self._hosts]:
            return 421, "wrong_host", "This is not the address of the local API.", ""
        if b"origin" in headers or headers.get(b"sec-fetch-site", [b"none"]) != [b"none"]:
            return 403, "web_origin", "Web pages may not talk to the local API.", ""
        given = headers.get(b"authorization", [])
        if len(given) != 1 or not hmac.compare_digest(given[0], b"Bearer " + self._token):
            return (
                401,
                "bad_token",
                "The local API was called without its token.",
                self._where,
            )
        length = headers.get(b"content-length", [b"0"])[0]
        if not length.isdigit() or len(length) > 12 or int(length) > MAX_BODY_BYTES:
            return 413, "too_large", f"A request may have {MAX_BODY_BYTES} bytes.", ""
        return None


class _Capped:
    """Counts a body that was sent in chunks, without a length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > MAX_BODY_BYTES:
                raise BodyTooLarge
        return message


async def _refuse(send: Send, status: int, code: str, message: str, what_next: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message, "what_next": what_next}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
