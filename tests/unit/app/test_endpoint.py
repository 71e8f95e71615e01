"""The endpoint of a served model: what arrives at it, who goes away, and what a restart leaves."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing
from trade_lab import TradeLab

from openstall.app.api.guard import MAX_BODY_BYTES
from openstall.app.endpoint import listener
from openstall.app.endpoint.listener import Endpoints
from openstall.app.services.orders import serve_buyer
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.compute_agent.serving import (
    MOST_OPEN,
    QUESTION_CAP_BYTES,
    Answer,
    as_question,
    read_question,
)
from openstall.market.errors import OpenstallError, StoreError
from tests.unit.app.test_serving import endpoints_of, served

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def asked_at(folder: Path) -> AsyncIterator[tuple[TradeLab, httpx.AsyncClient, str, Any]]:
    """A client at the endpoint of a job, the name of the model, and the agent's way to tell its provider."""
    async with served(folder) as (lab, order_id, tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        endpoints = endpoints_of(lab, lines, folder)
        nursery.start_soon(lines.run)
        nursery.start_soon(endpoints.run)
        await trio.testing.wait_all_tasks_blocked()
        found = await endpoints.open(order_id)
        headers = {"authorization": f"Bearer {found['key']}"}
        async with httpx.AsyncClient(base_url=found["base_url"], headers=headers, timeout=20) as client:
            yield lab, client, found["model"], tell
        nursery.cancel_scope.cancel()


async def answered(lab: TradeLab, client: httpx.AsyncClient, model: str, tell: Any) -> httpx.Response:
    """The answer to a question that nothing is wrong with."""
    got: list[httpx.Response] = []

    async def ask() -> None:
        got.append(await client.post("completions", json={"model": model, "prompt": "last"}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        while (question := await lab.seller.agent.asked.receive()).prompt != "last":
            pass
        await tell(Answer(n=question.n, text="fine", finish="stop", last=True))
    return got[0]


HOSTILE = {
    "no json": b"{",
    "a list": b"[]",
    "no text": b"\xff",
    "deep": b'{"model":"M","prompt":' + b"[" * 200_000,
    "deep in what is passed over": b'{"model":"M","user":' + b'{"a":' * 100_000,
    "a number": b'{"model":"M","prompt":1}',
    "an object": b'{"model":"M","prompt":{"a":1}}',
    "two prompts": b'{"model":"M","prompt":["a","b"]}',
    "half a character": b'{"model":"M","prompt":"\\ud800"}',
    "half a character to stop at": b'{"model":"M","prompt":"x","stop":"\\udfff"}',
    "temperature": b'{"model":"M","prompt":"x","temperature":NaN}',
    "endless seed": b'{"model":"M","prompt":"x","seed":Infinity}',
    "near the cap": b'{"model":"M","prompt":"' + b"x" * (QUESTION_CAP_BYTES - 25) + b'"}',
    "over the cap": b'{"model":"M","prompt":"' + b"x" * QUESTION_CAP_BYTES + b'"}',
    "many digits": b'{"model":"M","prompt":"x","seed":' + b"9" * 10_000 + b"}",
}
ROWS = {
    "NaN": b'{"rows":[[NaN]]}',
    "Infinity": b'{"rows":[[1,-Infinity]]}',
    "by name": b'{"rows":[{"a":NaN}]}',
    "half a name": b'{"rows":[{"\\ud800":1}]}',
    "words": b'{"rows":[["a"]]}',
    "none": b'{"rows":[]}',
}


async def test_hostile_requests_are_refused_for_themselves_alone(tmp_path: Path) -> None:
    """Each gets words in the form of the API, and nobody's line ends."""
    async with asked_at(tmp_path) as (lab, client, model, tell):
        for path, bodies in (("completions", HOSTILE), ("predictions", ROWS)):
            for what, body in bodies.items():
                sent = body.replace(b'"M"', f'"{model}"'.encode())
                answer = await client.post(path, content=sent, headers=JSON)
                assert answer.status_code == 400, (what, answer.text)
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}, what
                assert error["type"] == "invalid_request_error", what
        assert lab.seller.agent.questions == []
        assert (await answered(lab, client, model, tell)).json()["choices"][0]["text"] == "fine"


async def test_size_host_and_key_are_looked_at_before_anything_is_parsed(tmp_path: Path) -> None:
    async with asked_at(tmp_path) as (lab, client, model, tell):
        port, key = client.base_url.port, client.headers["authorization"]
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {key}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()
        chunks = b"10000\r\n" + b"[" * 65536 + b"\r\n"
        for rest in (
            b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
            b"Transfer-Encoding: chunked\r\n\r\n" + chunks * (MAX_BODY_BYTES // 65536) + chunks,
        ):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(head + rest)
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 413")
        refused = [
            ({"host": "evil.example"}, 421),
            ({"host": "127.0.0.1"}, 421),
            ({"origin": "http://127.0.0.1"}, 403),
            ({"authorization": "Bearer sk-wrong"}, 401),
            ({"authorization": client.headers["authorization"][7:]}, 401),
            ({"authorization": ""}, 401),
        ]
        for headers, status in refused:
            answer = await client.post("completions", content=b"{", headers={**JSON, **headers})
            assert answer.status_code == status, headers
        assert lab.seller.agent.questions == []
        assert (await answered(lab, client, model, tell)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_the_place_of_a_client_that_goes_away_is_free_once_the_job_has_answered(
    tmp_path: Path, stream: bool
) -> None:
    async with asked_at(tmp_path) as (lab, client, model, tell):
        left = []
        for _ in range(MOST_OPEN):
            async with trio.open_nursery() as nursery:
                body = {"model": model, "prompt": "x", "stream": stream}
                nursery.start_soon(lambda sent: client.post("completions", json=sent), body)
                left.append(await lab.seller.agent.asked.receive())
                nursery.cancel_scope.cancel()
        refused = await client.post("completions", json={"model": model, "prompt": "one more"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_open")
        for question in left:
            await tell(Answer(n=question.n, text="late", finish="stop", last=True))
        await trio.testing.wait_all_tasks_blocked(0.1)
        found = await answered(lab, client, model, tell)
        assert found.json()["choices"][0]["text"] == "fine"


async def test_signs_of_life_keep_a_long_answer_and_the_rented_time_ends_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The clock runs from the last piece of any answer of the job: it answers one after the other."""
    send, receive = trio.open_memory_channel[Answer](math.inf)
    line = serve_buyer._Line(stream=None)  # type: ignore[arg-type]  # nothing is sent here

    async def live() -> None:
        for _ in range(4):
            await trio.sleep(serve_buyer.ANSWER_S - 1)
            line.heard = trio.current_time()
        send.send_nowait(Answer(n=1, text="late", last=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        found = [one.text async for one in serve_buyer._lines_of(line, receive, most_s=10_000)]
    assert found == ["late"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        with pytest.raises(OpenstallError, match="rented"):
            await anext(serve_buyer._lines_of(line, receive, most_s=300))
        nursery.cancel_scope.cancel()
    with pytest.raises(OpenstallError, match="Nothing was heard"):
        await anext(serve_buyer._lines_of(line, receive, most_s=10_000))


@pytest.mark.parametrize("room", range(0, 40, 3))
def test_what_may_be_asked_here_can_be_read_there(room: int) -> None:
    """Whatever number it gets on the way."""
    try:
        question = as_question({"prompt": "x" * (QUESTION_CAP_BYTES - room - 20)})
    except OpenstallError as error:
        if error.code == "bad_question":
            return
        raise
    for n in (1, 2**53):
        raw = msgspec.json.encode(msgspec.structs.replace(question, n=n))
        assert read_question(raw).n == n


def test_what_has_no_form_in_json_is_no_question() -> None:
    for value in ({"rows": [[math.nan]]}, {"rows": [{"a": math.inf}]}, {"prompt": "\ud800"}, {"\ud800": 1}):
        with pytest.raises(OpenstallError) as caught:
            as_question(value)
        assert caught.value.code == "bad_question"
        json.dumps(caught.value.message, ensure_ascii=False).encode()


@asynccontextmanager
async def restarted(lab: TradeLab, lines: ServeLines, folder: Path) -> AsyncIterator[Endpoints]:
    """A node whose home is that folder, started (again)."""
    async with trio.open_nursery() as nursery:
        endpoints = endpoints_of(lab, lines, folder)
        nursery.start_soon(endpoints.run)
        await endpoints.ready.wait()
        yield endpoints
        nursery.cancel_scope.cancel()


async def test_a_full_disk_takes_no_endpoint_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _kept: Any) -> None:
        raise StoreError("cannot_write", "The disk is full.")

    async with served(tmp_path) as (lab, order_id, _tell):
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        async with restarted(lab, lines, tmp_path) as endpoints:
            first = await endpoints.open(order_id)
        monkeypatch.setattr(listener, "write_kept", full)
        async with restarted(lab, lines, tmp_path) as endpoints:
            assert endpoints.show(order_id) == first
            await endpoints.close(order_id)
            await endpoints.open(order_id)
            assert endpoints.show(order_id)["key"] != first["key"]


async def test_what_cannot_be_opened_again_for_now_is_tried_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (lab, order_id, _tell):
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        async with restarted(lab, lines, tmp_path) as endpoints:
            first = await endpoints.open(order_id)
        before = (tmp_path / "endpoints.json").stat().st_mtime_ns

        async def away(_lines: ServeLines, _order_id: str) -> Any:
            raise StoreError("busy", "The books are busy.")

        with monkeypatch.context() as patch:
            patch.setattr(ServeLines, "current", away)
            async with restarted(lab, lines, tmp_path) as endpoints:
                with pytest.raises(OpenstallError, match="no open endpoint"):
                    endpoints.show(order_id)
        async with restarted(lab, lines, tmp_path) as endpoints:
            assert endpoints.show(order_id) == first
        assert (tmp_path / "endpoints.json").stat().st_mtime_ns == before, "nothing has changed"


async def test_a_key_does_not_outlive_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LOOK_S", 0.05)
    async with served(tmp_path) as (lab, order_id, _tell):
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        async with restarted(lab, lines, tmp_path) as endpoints:
            found = await endpoints.open(order_id)
            file = tmp_path / "endpoints.json"
            assert found["key"] in file.read_text()
            await lab.buyer.desk.patch(order_id, report="x", result="done")
            with trio.fail_after(20):
                while found["key"] in file.read_text():
                    await trio.testing.wait_all_tasks_blocked(0.01)
            with pytest.raises(OpenstallError, match="no open endpoint"):
                endpoints.show(order_id)


async def test_an_endpoint_comes_back_after_a_restart_with_its_key(tmp_path: Path) -> None:
    """At the same port; where another program has that, at a new one, which is told, with a new key."""
    async with served(tmp_path) as (lab, order_id, _tell):
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        async with restarted(lab, lines, tmp_path) as endpoints:
            first = await endpoints.open(order_id)
        file = tmp_path / "endpoints.json"
        assert file.stat().st_mode & 0o777 == 0o600
        async with restarted(lab, lines, tmp_path) as endpoints:
            assert endpoints.show(order_id) == first
        port = int(first["base_url"].split(":")[2].removesuffix("/v1"))
        with socket.create_server(("127.0.0.1", port)):
            async with restarted(lab, lines, tmp_path) as endpoints:
                moved = endpoints.show(order_id)
        assert moved["moved_from"] == port
        assert moved["key"] != first["key"], "that program has seen the old one"
        assert first["key"] not in file.read_text()
        assert moved["base_url"] != first["base_url"]
        async with restarted(lab, lines, tmp_path) as endpoints:
            assert endpoints.show(order_id)["key"] == moved["key"]
            await endpoints.close(order_id)
        assert moved["key"] not in file.read_text()
        file.write_bytes(b"[{")
        async with restarted(lab, lines, tmp_path) as endpoints:
            with pytest.raises(OpenstallError, match="no open endpoint"):
                endpoints.show(order_id)
            await endpoints.open(order_id)
        await lab.buyer.desk.patch(order_id, report="x", result="done")
        async with restarted(lab, lines, tmp_path) as endpoints:
            with pytest.raises(OpenstallError, match="no open endpoint"):
                endpoints.show(order_id)
        assert file.read_bytes() == b"[]"
