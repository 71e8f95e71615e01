from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openstall.ledger.transport import MAX_RESPONSE_BYTES, HttpTransport, RpcRefusal
from openstall.market.errors import ChainError

Reply = Callable[[dict[str, object]], tuple[int, bytes]]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = reply(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/rpc"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def call(reply: Reply) -> object:
    with server(reply) as url:
        transport = HttpTransport(url, timeout_s=10)
        try:
            return transport("eth_chainId", [])
        finally:
            transport.close()


def test_a_result_comes_through() -> None:
    seen: list[dict[str, object]] = []

    def reply(request: dict[str, object]) -> tuple[int, bytes]:
        seen.append(request)
        return 200, b'{"jsonrpc":"2.0","id":1,"result":"0x7"}'

    assert call(reply) == "0x7"
    assert seen[0]["method"] == "eth_chainId"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "bad_answer"),
        (b"<html>", "bad_answer"),
        (b"[]", "bad_answer"),
        (b"{}", "bad_answer"),
        (b"[" * 50_000, "bad_answer"),
        (b'{"error": "no"}', "rpc_refused"),
        (b'{"error": {"code": "x", "message": 5, "data": {}}}', "rpc_refused"),
    ],
)
def test_hostile_answers_are_errors(content: bytes, code: str) -> None:
    with pytest.raises(ChainError) as error:
        call(lambda _request: (200, content))
    assert error.value.code == code


def test_an_answer_without_end_is_cut() -> None:
    with pytest.raises(ChainError) as error:
        call(lambda _request: (200, b" " * (MAX_RESPONSE_BYTES + 1)))
    assert error.value.code == "answer_too_large"


def test_a_refusal_keeps_its_data() -> None:
    content = b'{"error":{"code":3,"message":"execution reverted","data":"0x12"}}'
    with pytest.raises(RpcRefusal) as error:
        call(lambda _request: (200, content))
    assert (error.value.rpc_code, error.value.data) == (3, "0x12")


def test_a_web_error_is_told() -> None:
    with pytest.raises(ChainError, match="HTTP status 503"):
        call(lambda _request: (503, b"busy"))


def test_nobody_there() -> None:
    with server(lambda _request: (200, b"")) as url:
        pass
    with pytest.raises(ChainError) as error:
        HttpTransport(url, timeout_s=2)("eth_chainId", [])
    assert error.value.code == "chain_unreachable"


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "file:///etc/passwd"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ChainError) as error:
        HttpTransport(url)
    assert error.value.code == "bad_rpc_url"
