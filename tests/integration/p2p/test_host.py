"""Requests, streams and connections between hosts of one process, over real loopback sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from openstall.market.errors import NotFound, PeerError
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.framing import Cut, Framed
from openstall.p2p.host import HostLimits, PeerHost, Rate
from openstall.p2p.identity import peer_id_from_seed

NewHost = Callable[..., Awaitable[PeerHost]]
WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
ECHO = "/openstall/test/echo/1"
HOLD = "/openstall/test/hold/1"
PLENTY = Rate(per_s=1000, burst=1000)


async def echo(_: str, payload: bytes) -> bytes:
    return payload


def serve_echo(host: PeerHost, *, size: int = 1000, rate: Rate = PLENTY) -> None:
    host.serve(ECHO, echo, max_request=size, max_response=size, per_peer_rate=rate)


async def ask(host: PeerHost, other: PeerHost, payload: bytes = b"x", *, timeout_s: float = 10) -> bytes:
    return await host.request(other.peer_id, ECHO, payload, timeout_s=timeout_s, max_response=1 << 24)


async def test_the_peer_id_follows_from_the_seed_alone(new_host: NewHost) -> None:
    seed = os.urandom(32)
    host = await new_host(seed=seed)
    assert host.peer_id == peer_id_from_seed(seed)
    assert host.addrs[0].endswith(f"/p2p/{host.peer_id}")
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id_from_seed(b"short")


async def test_peers_introduce_themselves(new_host: NewHost, wait_until: WaitUntil) -> None:
    anna, ben = await new_host(name="Anna\x1b[1m"), await new_host(name="Ben", network="other")
    info = await anna.connect(ben.addrs[0])
    assert (info.name, info.network, info.direction) == ("Ben", "other", "out")
    await wait_until(lambda: bool(ben.peers()))
    assert (ben.peers()[0].name, ben.peers()[0].direction) == ("Anna [1m", "in")
    await wait_until(lambda: anna.peers()[0].latency_ms is not None)


async def test_a_large_request_and_answer_arrive_whole(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben, size=1 << 23)
    await anna.connect(ben.addrs[0])
    payload = os.urandom(5_000_000)
    assert await ask(anna, ben, payload) == payload
    assert await ask(anna, ben, b"") == b""


async def test_both_sides_can_ask_over_one_connection(new_host: NewHost, wait_until: WaitUntil) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(anna)
    await anna.connect(ben.addrs[0])
    await wait_until(lambda: bool(ben.peers()))
    assert await ask(ben, anna, b"back") == b"back"


async def test_a_refusal_reaches_the_asker_in_words_and_a_bug_does_not(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()

    async def handler(_: str, payload: bytes) -> bytes:
        if payload == b"bug":
            raise KeyError("secret detail")
        raise NotFound("no_listing", "That listing is gone.", "Search again.")

    ben.serve(ECHO, handler, max_request=10, max_response=10, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])
    with pytest.raises(RefusedByPeer) as caught:
        await ask(anna, ben, b"x")
    assert caught.value.as_dict() == {
        "code": "no_listing",
        "message": "That listing is gone.",
        "what_next": "Search again.",
    }
    with pytest.raises(RefusedByPeer) as caught:
        await ask(anna, ben, b"bug")
    assert caught.value.code == "internal"
    assert "secret" not in caught.value.message


async def test_a_protocol_that_nobody_serves(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    await anna.connect(ben.addrs[0])
    with pytest.raises(PeerError) as caught:
        await ask(anna, ben)
    assert caught.value.code == "not_supported"


async def test_an_unreachable_peer_ends_in_time_and_in_words(new_host: NewHost) -> None:
    anna = await new_host()
    stranger = peer_id_from_seed(os.urandom(32))
    with pytest.raises(PeerError) as caught:
        await anna.request(stranger, ECHO, b"", timeout_s=2, max_response=10)
    assert caught.value.code == "peer_unreachable"
    with socket.socket() as silent:
        # Accepts at the level of TCP and never says a word.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{stranger}"
        with trio.fail_after(5), pytest.raises(PeerError) as caught:
            await anna.connect(address, timeout_s=1)
        assert caught.value.code == "peer_unreachable"
        assert caught.value.what_next


async def test_a_peer_that_never_answers_ends_in_time(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()

    async def handler(_: str, __: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    ben.serve(ECHO, handler, max_request=10, max_response=10, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])
    with trio.fail_after(5), pytest.raises(PeerError) as caught:
        await ask(anna, ben, timeout_s=0.5)
    assert caught.value.code == "peer_silent"


async def test_a_handler_that_takes_too_long_is_stopped(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host(limits=HostLimits(handler_s=0.2))
    stopped = trio.Event()

    async def handler(_: str, __: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    ben.serve(ECHO, handler, max_request=10, max_response=10, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])
    with pytest.raises(RefusedByPeer) as caught:
        await ask(anna, ben)
    assert caught.value.code == "too_slow"
    assert stopped.is_set()


async def test_another_key_at_the_address_is_not_the_peer(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    wrong = ben.addrs[0].replace(ben.peer_id, peer_id_from_seed(os.urandom(32)))
    with pytest.raises(PeerError) as caught:
        await anna.connect(wrong, timeout_s=5)
    assert caught.value.code == "peer_unreachable"


async def test_dead_addresses_do_not_hide_the_one_that_works(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        dead = [f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}", "/ip4/127.0.0.1/tcp/1"]
        anna.book.learn(ben.peer_id, [*dead, ben.addrs[0].split("/p2p/")[0]])
        with trio.fail_after(5):
            await anna.connect(ben.peer_id)
    assert anna.book.addrs(ben.peer_id)[0] == ben.addrs[0].split("/p2p/")[0]


async def test_two_callers_share_one_dial(new_host: NewHost, wait_until: WaitUntil) -> None:
    anna, ben = await new_host(), await new_host()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(anna.connect, ben.addrs[0])
    await wait_until(lambda: len(ben.peers()) == 1)
    assert len(anna.peers()) == 1


@pytest.mark.parametrize("target", ["", "/ip4/127.0.0.1/tcp/4001", "not an address", "12D3KooWrong"])
async def test_a_bad_target_is_named(new_host: NewHost, target: str) -> None:
    anna = await new_host()
    with pytest.raises(PeerError) as caught:
        await anna.connect(target)
    assert caught.value.code in ("bad_address", "bad_peer_id")


async def test_dialling_oneself_is_refused(new_host: NewHost) -> None:
    anna = await new_host()
    with pytest.raises(PeerError) as caught:
        await anna.connect(anna.addrs[0])
    assert caught.value.code == "self_dial"


async def test_coming_and_going_is_told(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host(name="Ben")
    async with anna.events() as events:
        await anna.connect(ben.addrs[0])
        with trio.fail_after(10):
            event = await events.receive()
            assert (event.kind, event.peer.name) == ("connected", "Ben")
            await ben.disconnect(anna.peer_id)
            event = await events.receive()
            assert (event.kind, event.peer.peer_id) == ("disconnected", ben.peer_id)
    assert anna.peers() == []


async def test_a_lost_connection_is_dialled_again_by_the_next_request(
    new_host: NewHost, wait_until: WaitUntil
) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben)
    await anna.connect(ben.addrs[0])
    await ben.disconnect(anna.peer_id)
    await wait_until(lambda: not anna.peers())
    assert await ask(anna, ben, b"again") == b"again"


async def test_frames_flow_both_ways_and_end(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()

    async def shout(_: str, framed: Framed) -> None:
        while (frame := await framed.receive()) is not None:
            await framed.send(frame.upper())

    ben.serve_stream(ECHO, shout, max_frame=100, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])
    async with await anna.open_stream(ben.peer_id, ECHO, timeout_s=5, max_frame=100) as framed:
        for word in (b"a", b"", b"b" * 100):
            await framed.send(word)
            assert await framed.receive() == word.upper()
        await framed.finish()
        assert await framed.receive() is None


# Hostile behaviour


async def test_an_oversized_request_is_not_read_and_costs_points(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben, size=1000)
    await anna.connect(ben.addrs[0])
    for _ in range(6):
        with pytest.raises(PeerError):
            await ask(anna, ben, b"x" * 1001, timeout_s=3)
    assert ben.is_banned(anna.peer_id)


async def test_an_oversized_answer_is_refused_by_the_asker(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben, size=100_000)
    await anna.connect(ben.addrs[0])
    with pytest.raises(PeerError) as caught:
        await anna.request(ben.peer_id, ECHO, b"x" * 50_000, timeout_s=5, max_response=10_000)
    assert caught.value.code == "frame_too_large"


async def test_a_flood_of_requests_is_refused_and_then_banned(
    new_host: NewHost, wait_until: WaitUntil
) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben, rate=Rate(per_s=0.001, burst=5))
    await anna.connect(ben.addrs[0])
    for _ in range(5):
        await ask(anna, ben)
    with pytest.raises(RefusedByPeer) as caught:
        await ask(anna, ben)
    assert caught.value.code == "too_many_requests"
    for _ in range(300):
        with pytest.raises(PeerError):
            await ask(anna, ben, timeout_s=3)
        if ben.is_banned(anna.peer_id):
            break
    assert ben.is_banned(anna.peer_id)
    await wait_until(lambda: not ben.peers())
    with pytest.raises(PeerError):
        await anna.connect(ben.addrs[0], timeout_s=3)


async def test_a_request_that_drips_in_is_cut_off(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host(limits=HostLimits(request_read_s=0.3))
    serve_echo(ben)
    await anna.connect(ben.addrs[0])
    framed = await anna.open_stream(ben.peer_id, ECHO, timeout_s=5, max_frame=100)
    await framed._stream.write(b"\0\0\0\x0aonly")
    with trio.fail_after(5), pytest.raises(Cut):
        await framed.receive()
    await framed.reset()
    assert await ask(anna, ben) == b"x", "an honest request still works"


async def test_too_many_open_streams_are_reset_and_requests_go_on(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host(limits=HostLimits(max_conversations_per_peer=4))
    serve_echo(ben)

    async def hold(_: str, framed: Framed) -> None:
        await framed.send(b"here")
        await framed.receive()

    ben.serve_stream(HOLD, hold, max_frame=10, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])

    async def opened() -> Framed | None:
        framed = await anna.open_stream(ben.peer_id, HOLD, timeout_s=5, max_frame=10)
        try:
            return framed if await framed.receive() else None
        except Cut:
            return None

    held = [await opened() for _ in range(4)]
    with trio.fail_after(20):
        assert await opened() is None
        assert await ask(anna, ben) == b"x"
        for one in held:
            assert one is not None
            await one.aclose()
        while True:
            if await opened() is not None:
                break
            await trio.sleep(0.01)


async def test_too_many_open_requests_are_refused_and_the_connection_lives(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host(limits=HostLimits(max_handlers_per_peer=1))
    arrived, leave = trio.Event(), trio.Event()

    async def slowly(_: str, raw: bytes) -> bytes:
        arrived.set()
        await leave.wait()
        return raw

    ben.serve(ECHO, slowly, max_request=100, max_response=100, per_peer_rate=PLENTY)
    await anna.connect(ben.addrs[0])
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, anna, ben)
            await arrived.wait()
            with pytest.raises(RefusedByPeer) as caught:
                await ask(anna, ben)
            assert caught.value.code == "busy"
            leave.set()
        assert await ask(anna, ben) == b"x"


async def test_garbage_and_plaintext_on_the_port_do_no_harm(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben)
    port = int(ben.addrs[0].split("/")[4])
    hello = b"\x13/multistream/1.0.0\n"
    for words in (
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(4000),
        hello + b"\x11/plaintext/2.0.0\n",
        b"\xff" * 100,
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(words)
        with trio.move_on_after(0.2):
            answer = await stream.receive_some(1000)
            if words.startswith(hello):
                assert b"plaintext" not in answer
        await stream.aclose()
    await anna.connect(ben.addrs[0])
    assert await ask(anna, ben) == b"x"


async def test_a_cancelled_exchange_does_not_spoil_the_connection(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    serve_echo(ben, size=1 << 23)
    await anna.connect(ben.addrs[0])
    payload = os.urandom(4_000_000)
    for wait_s in (0.0, 0.001, 0.005, 0.01, 0.02, 0.03):
        with trio.move_on_after(wait_s):
            await ask(anna, ben, payload)
    assert len(anna.peers()) == 1
    assert await ask(anna, ben, b"fine") == b"fine"


# Life of the host


async def test_a_port_in_use_is_named(new_host: NewHost) -> None:
    anna = await new_host()
    with pytest.raises(PeerError) as caught:
        await new_host(listen=[anna.addrs[0].split("/p2p/")[0]])
    assert caught.value.code == "cannot_listen"


async def test_addresses_are_kept_between_runs(tmp_path: Path, new_host: NewHost) -> None:
    ben = await new_host()
    seed, book = os.urandom(32), tmp_path / "peers.json"
    async with PeerHost(seed=seed, peerstore_path=book) as anna:
        await anna.connect(ben.addrs[0])
    async with PeerHost(seed=seed, peerstore_path=book) as anna:
        assert (await anna.connect(ben.peer_id)).peer_id == ben.peer_id


async def test_shutting_down_leaves_no_task_behind(new_host: NewHost) -> None:
    def tasks() -> int:
        root = trio.lowlevel.current_root_task()
        assert root is not None
        pending, count = [root], 0
        while pending:
            task = pending.pop()
            count += 1
            pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return count

    before = tasks()
    async with PeerHost(seed=os.urandom(32)) as anna, PeerHost(seed=os.urandom(32)) as ben:
        serve_echo(ben)
        await anna.connect(ben.addrs[0])
        await ask(anna, ben)
        assert tasks() > before
    await trio.testing.wait_all_tasks_blocked()
    assert tasks() == before


async def test_a_peer_that_dies_in_the_middle_of_a_request_is_noticed(new_host: NewHost) -> None:
    anna = await new_host()
    started = trio.Event()

    async def handler(_: str, __: bytes) -> bytes:
        started.set()
        await trio.sleep_forever()
        raise AssertionError

    failure: list[PeerError] = []
    over = trio.Event()

    async def asker(ben: PeerHost) -> None:
        try:
            await ask(anna, ben, timeout_s=30)
        except PeerError as error:
            failure.append(error)
        over.set()

    async with trio.open_nursery() as nursery:
        async with PeerHost(seed=os.urandom(32)) as ben:
            ben.serve(ECHO, handler, max_request=10, max_response=10, per_peer_rate=PLENTY)
            await anna.connect(ben.addrs[0])
            nursery.start_soon(asker, ben)
            await started.wait()
        with trio.fail_after(5):
            await over.wait()
    assert failure[0].code in ("no_answer", "stream_cut")
