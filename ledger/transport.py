"""JSON-RPC to a chain: the call signature everything here is written against, and its HTTP form."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from openstall.market.errors import ChainError

JsonValue: TypeAlias = Any
"""What a JSON decoder gave; the caller checks it."""
Transport = Callable[[str, list[Any]], JsonValue]
"""`transport(method, params) -> result`. Blocking and thread-safe; raises ChainError."""

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
_HINT = "Check the connection to the chain, then try again. Nothing was paid twice."


class RpcRefusal(ChainError):
    """The chain answered with an error; `data` is what a contract gave as its reason (`0x…`), or empty."""

    def __init__(self, message: str, *, rpc_code: int = 0, data: str = "") -> None:
        super().__init__("rpc_refused", f"The chain refused: {message}.")
        self.rpc_code = rpc_code
        self.data = data


class HttpTransport:
    """Keep-alive HTTP(S) connections to one JSON-RPC address; any number of threads may call it.

    `timeout_s` bounds each step of a call (connect, send, each read), `max_bytes` an answer.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, max_bytes: int = MAX_RESPONSE_BYTES) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ChainError(
                "bad_rpc_url", f"“{url[:80]}” is not the address of a chain.", "It starts with https://."
            )
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._ids = itertools.count(1)

    def __call__(self, method: str, params: list[Any]) -> JsonValue:
        """One call.

        Raises:
            RpcRefusal: the other side answered with an error.
            ChainError: unreachable, or not a JSON-RPC answer.
        """
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        return read_answer(self._post(json.dumps(request).encode()))

    def close(self) -> None:
        """Drop the idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _post(self, body: bytes) -> bytes:
        try:
            connection, reused = self._idle.get_nowait(), True
        except queue.Empty:
            connection, reused = self._connect(), False
        try:
            return self._exchange(connection, body)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if not reused:
                raise ChainError(
                    "chain_unreachable", f"The chain does not answer: {error}.", _HINT
                ) from error
        # The other side may have closed an idle connection; every call here may be sent twice,
        # a signed transaction too, as its nonce makes it count once.
        connection = self._connect()
        try:
            return self._exchange(connection, body)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ChainError("chain_unreachable", f"The chain does not answer: {error}.", _HINT) from error

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> bytes:
        connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            connection.close()
            raise ChainError("answer_too_large", "The chain's answer is larger than any it should give.")
        if response.status != 200 and not content.startswith(b"{"):
            connection.close()
            raise ChainError(
                "chain_unreachable", f"The chain answers with HTTP status {response.status}.", _HINT
            )
        self._idle.put(connection)
        return content


def read_answer(content: bytes) -> JsonValue:
    """The result inside a JSON-RPC answer.

    Raises:
        RpcRefusal: it holds an error.
        ChainError: it is not a JSON-RPC answer.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ChainError("bad_answer", "The chain's answer is not JSON.") from error
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise ChainError("bad_answer", "The chain's answer is not one of JSON-RPC.")
    fault = answer.get("error")
    if fault is None:
        return answer.get("result")
    if not isinstance(fault, dict):
        raise RpcRefusal("no reason given")
    code, data = fault.get("code"), fault.get("data")
    raise RpcRefusal(
        str(fault.get("message", "no reason given"))[:300],
        rpc_code=code if isinstance(code, int) else 0,
        data=data if isinstance(data, str) else "",
    )
