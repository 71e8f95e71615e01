"""Questions to a served model between two peers, one of whom bends the protocol."""

from __future__ import annotations

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
from trade_lab import Side, TradeLab, funded_job, step, trade_lab
from trade_parts import leave

from openstall.app.endpoint.listener import Endpoints
from openstall.app.logging import Secrets
from openstall.app.services.orders import serve_buyer
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.app.services.orders.serve_provider import ServeDesk
from openstall.app.services.orders.serve_wire import MAX_FROM_BUYER, MAX_FROM_PROVIDER, PROTOCOL, First
from openstall.app.threads import Workers
from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.serving import MOST_OPEN, Answer, Question
from openstall.compute_agent.specs import FirstOutput, JobResult, Usage, UsageTick
from openstall.market.errors import OpenstallError, SandboxError
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate

SERVE = {"job_kind": "serve", "params": {}}
HELLO = Question(prompt="hello")


@asynccontextmanager
async def served(folder: Path, **terms: Any) -> AsyncIterator[tuple[TradeLab, str, Any]]:
    """A job that serves, as the lab knows one; the last part is the agent's way to tell its provider."""
    async with trade_lab(folder) as lab, trio.open_nursery() as nursery:
        order_id = await funded_job(lab, **{**SERVE, **terms})
        seller, buyer = lab.seller, lab.buyer
        running, send = trio.Event(), []

        async def script(_spec: Any, _inputs: Path, outputs: Path, on_event: Any) -> JobResult:
            leave(outputs, b"x")
            await on_event(FirstOutput(start_ms=1))
            await on_event(UsageTick(usage=Usage(seconds_useful=1)))
            send.append(on_event)
            running.set()
            await trio.sleep_forever()
            raise AssertionError

        seller.agent.script = script
        desk = ServeDesk(
            desk=seller.desk,
            peers=seller.host,
            provider=seller.provider,
            agent=seller.agent,  # type: ignore[arg-type]  # a script in the place of a process
        )
        desk.serve()
        nursery.start_soon(step, seller, order_id)
        await running.wait()
        order = await buyer.desk.load(order_id)
        await buyer.desk.advance(order, "start", actor="other", words="x", data={"started_at": 0})
        yield lab, order_id, send[0]
        nursery.cancel_scope.cancel()


def endpoints_of(lab: TradeLab, lines: ServeLines, folder: Path) -> Endpoints:
    """The endpoints of a node whose home is that folder."""
    return Endpoints(
        lines=lines, clock=lab.clock, secrets=Secrets(), workers=Workers(), file=folder / "endpoints.json"
    )


async def opened(side: Side, lab: TradeLab, order_id: str) -> Framed:
    stream = await side.host.open_stream(
        lab.seller.host.peer_id, PROTOCOL, timeout_s=10, max_frame=MAX_FROM_PROVIDER
    )
    await stream.send(msgspec.json.encode(First(order=order_id)))
    return stream


async def ended(stream: Framed) -> bool:
    """Whether the other side closes or breaks the stream."""
    try:
        return await stream.receive(timeout_s=20) is None
    except OpenstallError as error:
        return error.code == "stream_cut"


async def test_an_answer_finds_who_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        nursery.start_soon(lines.run)
        found: dict[str, Any] = {}

        async def ask(prompt: str) -> None:
            found[prompt] = await lines.ask(order_id, Question(prompt=prompt))

        async with trio.open_nursery() as asking:
            for prompt in ("a", "b"):
                asking.start_soon(ask, prompt)
            asked = [await lab.seller.agent.asked.receive() for _ in range(2)]
            for question in reversed(asked):
                await tell(Answer(n=question.n, text=f"{question.prompt}1"))
                await tell(Answer(n=question.n, text="2", finish="stop", tokens=1, last=True))
        assert {name: value["text"] for name, value in found.items()} == {"a": "a12", "b": "b12"}
        nursery.cancel_scope.cancel()


async def test_only_the_buyer_of_the_order_may_ask(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, _tell), PeerHost(seed=b"s" * 32) as stranger:
        for addr in lab.seller.host.addrs:
            await stranger.connect(addr)
        stream = await stranger.open_stream(
            lab.seller.host.peer_id, PROTOCOL, timeout_s=10, max_frame=MAX_FROM_PROVIDER
        )
        await stream.send(msgspec.json.encode(First(order=order_id)))
        await stream.send(msgspec.json.encode(HELLO))
        assert await ended(stream)
        assert lab.seller.agent.questions == []


async def test_a_job_of_another_kind_is_not_asked(tmp_path: Path) -> None:
    terms = {"job_kind": "train", "params": {"task": "classification", "label": "y"}}
    async with served(tmp_path, **terms) as (lab, order_id, _tell):
        stream = await opened(lab.buyer, lab, order_id)
        assert await ended(stream)
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        with pytest.raises(OpenstallError) as caught:
            await lines.ask(order_id, HELLO)
        assert caught.value.code == "not_served"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"prompt":"x","rows":[[1]]}',
        b'{"n":1}',
        b'{"n":1,"prompt":"x","shell":"ls"}',
        b'{"n":1,"prompt":"x","max_tokens":100000}',
        b'{"n":-1,"prompt":"x"}',
        b'{"n":1,"rows":[[NaN]]}',
        b"[" * 50_000,
        b'{"n":1,"prompt":"' + b"x" * MAX_FROM_BUYER + b'"}',
    ],
)
async def test_hostile_questions_never_reach_the_job(tmp_path: Path, raw: bytes) -> None:
    async with served(tmp_path) as (lab, order_id, _tell):
        stream = await opened(lab.buyer, lab, order_id)
        await stream.send(raw)
        assert await ended(stream)
        assert lab.seller.agent.questions == []


async def test_a_second_stream_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, tell):
        first = await opened(lab.buyer, lab, order_id)
        await first.send(msgspec.json.encode(HELLO))
        early = await lab.seller.agent.asked.receive()
        second = await opened(lab.buyer, lab, order_id)
        assert await ended(first)
        await second.send(msgspec.json.encode(Question(n=early.n, prompt="again")))
        late = await lab.seller.agent.asked.receive()
        await tell(Answer(n=early.n, text="for the first stream", last=True))
        await tell(Answer(n=late.n, text="for the second", last=True))
        raw = await second.receive(timeout_s=20)
        assert raw is not None
        assert msgspec.json.decode(raw)["text"] == "for the second"
        await second.reset()


LIES = {
    "nonsense": b"hello",
    "to nobody": b'{"type":"answer","n":77,"text":"x"}',
    "another kind of frame": b'{"type":"log","n":1,"text":"x"}',
    "an unknown field": b'{"type":"answer","n":1,"sure":true}',
    "more tokens than there can be": b'{"type":"answer","n":1,"tokens":99999999}',
    "twice": b'{"type":"answer","n":1,"text":"x","last":true}',
    "too much": b'{"type":"answer","n":1,"text":"' + b"x" * 150_000 + b'"}',
}


@pytest.mark.parametrize("what", LIES)
async def test_a_provider_that_answers_against_the_rules_is_heard_no_more(tmp_path: Path, what: str) -> None:
    async with served(tmp_path) as (lab, order_id, _tell), trio.open_nursery() as nursery:

        async def lie(_peer: str, stream: Framed) -> None:
            await stream.receive()
            await stream.receive()
            for _ in range(2):
                await stream.send(LIES[what])
            await stream.receive()

        lab.seller.host.serve_stream(
            PROTOCOL, lie, max_frame=MAX_FROM_BUYER, per_peer_rate=Rate(per_s=1, burst=9)
        )
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        nursery.start_soon(lines.run)
        if what == "twice":  # the first of the two is a good answer
            assert (await lines.ask(order_id, HELLO))["text"] == "x"
        else:
            with pytest.raises(OpenstallError) as caught:
                await lines.ask(order_id, HELLO)
            assert caught.value.code == "bad_answer"
        nursery.cancel_scope.cancel()


async def test_a_question_that_is_given_up_keeps_its_place_until_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the agent, which counts for itself; what still comes is passed over, and the line stays."""
    async with served(tmp_path) as (lab, order_id, tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        nursery.start_soon(lines.run)
        talk, hand_on = Talk(), type(lab.seller.agent).ask

        async def ask(agent: Any, job_id: str, question: Question) -> None:
            talk.put(question)
            talk._waiting.receive_nowait()  # the job reads it
            await hand_on(agent, job_id, question)

        async def answer(question: Question) -> None:
            found = Answer(n=question.n, text=question.prompt or "", last=True)
            talk._open.take(found, 1)
            await tell(found)

        monkeypatch.setattr(type(lab.seller.agent), "ask", ask)
        for _ in range(MOST_OPEN):
            async with lines.asking(order_id, HELLO):
                pass
        left = [await lab.seller.agent.asked.receive() for _ in range(MOST_OPEN)]
        with pytest.raises(SandboxError) as caught:  # here, before anything is sent
            await lines.ask(order_id, HELLO)
        assert caught.value.code == "too_many_open"
        for question in left:
            await answer(question)
        with trio.fail_after(20):
            while len(lines._lines[order_id].open):
                await trio.testing.wait_all_tasks_blocked(0.01)
        async with lines.asking(order_id, Question(prompt="new")) as found:
            await answer(await lab.seller.agent.asked.receive())
            assert [line.text async for line in found] == ["new"]
        nursery.cancel_scope.cancel()


async def test_a_question_that_was_never_sent_keeps_no_place(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, _tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        nursery.start_soon(lines.run)
        async with lines.asking(order_id, HELLO):
            pass
        line = lines._lines[order_id]
        async with line.stream._sending, trio.open_nursery() as asking:  # another one is being written
            for _ in range(MOST_OPEN - 1):
                asking.start_soon(lines.ask, order_id, HELLO)
            with trio.fail_after(20):
                while len(line.open) < MOST_OPEN:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            asking.cancel_scope.cancel()
        assert len(line.open) == 1
        nursery.cancel_scope.cancel()


async def test_a_job_that_has_ended_is_not_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, _tell):
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        await lab.buyer.desk.patch(order_id, report="x")
        with pytest.raises(OpenstallError) as caught:
            await lines.ask(order_id, HELLO)
        assert caught.value.code == "job_ended"


async def test_a_silent_provider_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_buyer, "ANSWER_S", 0.1)
    async with served(tmp_path) as (lab, order_id, _tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        nursery.start_soon(lines.run)
        with pytest.raises(OpenstallError) as caught:
            await lines.ask(order_id, HELLO)
        assert caught.value.code == "peer_silent"
        nursery.cancel_scope.cancel()


async def test_an_endpoint_listens_once_on_loopback_and_closes_with_its_job(tmp_path: Path) -> None:
    async with served(tmp_path) as (lab, order_id, _tell), trio.open_nursery() as nursery:
        lines = ServeLines(desk=lab.buyer.desk, peers=lab.buyer.host)
        endpoints = endpoints_of(lab, lines, tmp_path)
        nursery.start_soon(lines.run)
        nursery.start_soon(endpoints.run)
        await trio.testing.wait_all_tasks_blocked()
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OpenstallError) as caught:
            await endpoints.open(order_id, taken.getsockname()[1])
        assert caught.value.code == "port_in_use"
        with pytest.raises(OpenstallError) as caught:
            endpoints.show(order_id)
        assert caught.value.code == "no_endpoint"
        found = await endpoints.open(order_id)
        assert await endpoints.open(order_id) == endpoints.show(order_id) == found
        headers = {"authorization": f"Bearer {found['key']}"}
        async with httpx.AsyncClient(base_url=found["base_url"], headers=headers) as client:
            assert (await client.get("models")).status_code == 200
            async with httpx.AsyncClient(base_url=found["base_url"]) as stranger:
                assert (await stranger.get("models")).status_code == 401
                assert (await stranger.post("completions", content=b"{")).status_code == 401
            for body in (b"{", b"[]", b'{"model": 1}', b'{"model": "x", "prompt": ["a", "b"]}', b"\xff"):
                answer = await client.post(
                    "completions", content=body, headers={"content-type": "application/json"}
                )
                assert answer.status_code == 400
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        await lab.buyer.desk.patch(order_id, report="x", result="done")
        with trio.fail_after(30):
            while order_id in endpoints._open:
                await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
