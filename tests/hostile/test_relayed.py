"""Relays that flood those who hold a place on them, and crowds that come through honest ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

from openstall.market.errors import PeerError
from openstall.p2p import engine
from openstall.p2p.circuits import PUNCH, STOP, as_connection, receive, send, wire
from openstall.p2p.host import HostLimits, PeerHost, Rate, RelayLimits
from openstall.p2p.identity import peer_id_from_seed

NewHost = Callable[..., Awaitable[PeerHost]]
ECHO = "/openstall/test/echo/1"
FEW = HostLimits(max_inbound_per_relay=3, max_handshakes_per_relay=2, max_relayed_per_peer=2, handshake_s=2.0)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not true():  # noqa: ASYNC110 - states of libp2p have no events
            await trio.sleep(0.05)


async def relay_of(new_host: NewHost, ben: PeerHost) -> tuple[PeerHost, str]:
    """A relay on which Ben has a place, and the address of that place."""
    relay = await new_host(relay_limits=RelayLimits(circuits_per_peer=100))
    relay.paths.relay.serving = True
    await ben.connect(relay.addrs[0])
    made = await ben.paths.client.reserve(relay.peer_id)
    return relay, made.ways[0]


async def behind_a_router(new_host: NewHost) -> PeerHost:
    async def echo(_: str, raw: bytes) -> bytes:
        return raw

    ben = await new_host(listen=(), limits=FEW)
    ben.serve(ECHO, echo, max_request=100, max_response=100, per_peer_rate=Rate(per_s=100, burst=100))
    return ben


async def bring(relay: PeerHost, ben: PeerHost, caller: str) -> tuple[engine.NetStream, int]:
    """A circuit of a modified relay, which says that anybody calls; with Ben's answer, or -1."""
    link = engine.connections_of(relay.engine_host.get_network(), ben.peer_id)[0]  # type: ignore[arg-type]
    stream = await engine.negotiate_on(relay.engine_host, link, STOP)
    asked = wire.StopMessage(type=wire.StopMessage.CONNECT, peer=wire.PeerId(id=engine.peer_id_bytes(caller)))
    try:
        await send(stream, asked)
        return stream, (await receive(stream, wire.StopMessage, timeout_s=10)).status
    except Exception:  # noqa: BLE001 - hung up, in one of libp2p's many ways
        return stream, -1


async def served(ben: PeerHost, way: str, new_host: NewHost) -> None:
    anna = await new_host(listen=())
    await anna.paths.client.dial(way, ben.peer_id)
    assert await anna.request(ben.peer_id, ECHO, b"hello", timeout_s=20, max_response=100) == b"hello"


async def test_a_relay_that_brings_silent_callers_holds_up_nobody_elses(new_host: NewHost) -> None:
    ben = await behind_a_router(new_host)
    mallory, _ = await relay_of(new_host, ben)
    _, way = await relay_of(new_host, ben)
    answers = [(await bring(mallory, ben, peer_id_from_seed(bytes([n] * 32))))[1] for n in range(4)]
    assert answers == [wire.OK, wire.OK, -1, -1]
    assert ben.paths.client.entrance.refused == 2
    await served(ben, way, new_host)
    # The silent ones lose their places.
    await until(lambda: mallory.peer_id not in ben.paths.client.entrance.inside)
    assert not ben.paths.client.entrance.shaking


async def test_one_relay_cannot_take_every_place_with_many_peer_ids(new_host: NewHost) -> None:
    ben = await behind_a_router(new_host)
    relay, way = await relay_of(new_host, ben)
    _, other_way = await relay_of(new_host, ben)
    crowd = [await new_host(listen=()) for _ in range(5)]
    inside = 0
    for one in crowd:
        try:
            await one.paths.client.dial(way, ben.peer_id)
        except PeerError:
            continue
        inside += 1
    assert inside == 3
    assert ben.paths.client.entrance.inside[relay.peer_id] == 3
    await served(ben, other_way, new_host)


async def test_one_peer_has_few_connections_through_all_relays_together(new_host: NewHost) -> None:
    ben = await behind_a_router(new_host)
    (_, way), (_, other_way) = await relay_of(new_host, ben), await relay_of(new_host, ben)
    mallory = await new_host(listen=())
    await mallory.paths.client.dial(way, ben.peer_id)
    await mallory.paths.client.dial(other_way, ben.peer_id)
    for one in (way, other_way):
        with pytest.raises(PeerError) as caught:
            await mallory.paths.client.dial(one, ben.peer_id)
        assert caught.value.code == "relay_refused"
    await served(ben, way, new_host)
    await mallory.disconnect(ben.peer_id)
    await until(lambda: mallory.peer_id not in ben.paths.client.entrance.callers)


async def test_a_relay_that_lies_about_the_caller_brings_nobody(new_host: NewHost) -> None:
    ben = await behind_a_router(new_host)
    mallory, _ = await relay_of(new_host, ben)
    victim = peer_id_from_seed(b"v" * 32)
    stream, status = await bring(mallory, ben, victim)
    assert status == wire.OK
    raw = as_connection(
        stream, initiator=True, address=f"/p2p/{mallory.peer_id}/p2p-circuit/p2p/{ben.peer_id}"
    )
    network = mallory.engine_host.get_network()
    # Here the handshake may be over before Ben hangs up, or not: what counts is what Ben has.
    with trio.move_on_after(10), suppress(engine.BaseLibp2pError):
        await engine.take_outbound(network, raw, ben.peer_id)  # type: ignore[arg-type]
    await until(lambda: not ben.paths.client.entrance.inside)
    assert len(engine.connections_of(ben.engine_host.get_network(), mallory.peer_id)) == 1  # type: ignore[arg-type]
    assert ben.peer(victim) is None


async def test_who_asks_for_a_hole_while_it_is_asked_ends_neither_node(new_host: NewHost) -> None:
    """Once a caller through a relay could end a node so: each side forgot the other's question."""
    ben = await behind_a_router(new_host)
    _, way = await relay_of(new_host, ben)
    mallory = await new_host(listen=())
    asked, enough = trio.Event(), trio.Event()

    async def keep_waiting(stream: engine.NetStream) -> None:
        asked.set()
        await enough.wait()
        await engine.drop(stream)

    engine.handle(mallory.engine_host, PUNCH, keep_waiting)
    await mallory.paths.client.dial(way, ben.peer_id)
    with trio.fail_after(30):
        await asked.wait()
        stream = await engine.negotiate_stream(mallory.engine_host, ben.peer_id, PUNCH)
        await stream.write(b"\x00")
        await engine.drop(stream)
        enough.set()
        await mallory.disconnect(ben.peer_id)
    await until(lambda: not ben.paths.puncher._running)
    await served(ben, way, new_host)
