"""The door of the local API, message by message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openstall.app.api.guard import MAX_BODY_BYTES, BodyTooLarge, Guard

GOOD = {"host": "127.0.0.1:4000", "authorization": "Bearer right"}


async def ask(headers: list[tuple[str, str]], body: list[bytes] | None = None) -> tuple[int, dict[str, Any]]:
    sent: list[Any] = []
    parts = list(body or [b""])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(app, token="right")
    guard.listen_on(4000)
    scope = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers]}
    await guard(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"] or b"{}")


async def refused(headers: list[tuple[str, str]]) -> str:
    status, answer = await ask(headers)
    assert status >= 400
    assert set(answer["error"]) == {"code", "message", "what_next"}
    return str(answer["error"]["code"])


async def test_right_token_and_host_pass() -> None:
    assert (await ask(list(GOOD.items())))[0] == 200
    assert (await ask(list({**GOOD, "host": "localhost:4000"}.items())))[0] == 200


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Bearer ", "right", "bearer right", "Basic right"])
async def test_wrong_token(token: str) -> None:
    assert await refused(list({**GOOD, "authorization": token}.items())) == "bad_token"


async def test_no_token_or_two() -> None:
    assert await refused([("host", GOOD["host"])]) == "bad_token"
    assert await refused([*GOOD.items(), ("authorization", "Bearer right")]) == "bad_token"


@pytest.mark.parametrize(
    "host", ["", "evil.example:4000", "127.0.0.1", "127.0.0.1:4001", "127.0.0.1:4000.evil.example"]
)
async def test_another_host_is_dns_rebinding(host: str) -> None:
    assert await refused(list({**GOOD, "host": host}.items())) == "wrong_host"


async def test_no_host_or_two() -> None:
    assert await refused([("authorization", "Bearer right")]) == "wrong_host"
    assert await refused([*GOOD.items(), ("host", "127.0.0.1:4000")]) == "wrong_host"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", "http://127.0.0.1:4000"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "same-origin"),
    ],
)
async def test_web_page_is_refused_even_with_the_token(name: str, value: str) -> None:
    assert await refused([*GOOD.items(), (name, value)]) == "web_origin"


@pytest.mark.parametrize("length", ["-1", "1e3", str(MAX_BODY_BYTES + 1), "9" * 40, "x"])
async def test_announced_length_is_checked_before_the_body(length: str) -> None:
    assert await refused([*GOOD.items(), ("content-length", length)]) == "too_large"


async def test_body_without_a_length_is_counted() -> None:
    part = b"x" * (MAX_BODY_BYTES // 2)
    assert (await ask(list(GOOD.items()), [part, part]))[0] == 200
    with pytest.raises(BodyTooLarge):
        await ask(list(GOOD.items()), [part, part, b"x"])
