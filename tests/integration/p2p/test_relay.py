"""Relays on one machine: reservations, circuits, their limits, and relays that misbehave."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, blob_fetch, engine, paths, punch
from openstall.p2p import relay as relays
from openstall.p2p.blob_manifest import BlobInfo
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.circuits import HOP, STOP, Garbled, receive, send, wire
from openstall.p2p.host import DEFAULT_LISTEN, PeerHost, Rate, RelayLimits
from openstall.p2p.identity import peer_id_from_seed
from openstall.p2p.relay_client import _usable

NewHost = Callable[..., Awaitable[PeerHost]]
WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]
Fetching = Callable[[], Awaitable[BlobInfo]]
ECHO = "/openstall/test/echo/1"
MIB = 1 << 20


def serve_echo(host: PeerHost) -> None:
    async def echo(_: str, raw: bytes) -> bytes:
        return raw

    host.serve(ECHO, echo, max_request=MIB, max_response=MIB, per_peer_rate=Rate(per_s=100, burst=100))


async def ask(asker: PeerHost, asked: str, raw: bytes = b"x") -> bytes:
    return await asker.request(asked, ECHO, raw, timeout_s=10, max_response=MIB)


async def reserved(
    new_host: NewHost, *, listen: Sequence[str] = DEFAULT_LISTEN, **limits: float
) -> tuple[PeerHost, PeerHost, str]:
    """A relay, a peer with a place on it, and the circuit address of that peer."""
    relay = await new_host(relay_limits=RelayLimits(**limits))  # type: ignore[arg-type]
    relay.paths.relay.serving = True
    ben = await new_host(listen=listen)
    serve_echo(ben)
    await ben.connect(relay.addrs[0])
    await ben.paths.client.reserve(relay.peer_id)
    return relay, ben, ben.paths.client.ways()[0]


async def dial_through(host: PeerHost, way: str, peer_id: str) -> None:
    """Connect by a circuit only, however else the peer may be reached."""
    await host.paths.client.dial(way, peer_id)


async def test_a_peer_is_reached_through_a_relay(
    new_host: NewHost, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punch, "SETTLE_S", 0.5)
    monkeypatch.setattr(relays, "DRAIN_S", 0.2)
    relay, ben, way = await reserved(new_host)
    anna = await new_host()
    anna.book.learn(ben.peer_id, [way])
    ben.book.learn(anna.peer_id, [addresses.split(one)[0] for one in anna.addrs])
    info = await anna.connect(ben.peer_id)
    assert info.path == "relayed"
    assert await ask(anna, ben.peer_id, b"y" * 200_000) == b"y" * 200_000
    assert relay.paths.relay.use().carried > 400_000
    assert addresses.is_circuit(info.addr)
    # Ben knows where Anna listens, finds it open, and moves the two of them there.
    await wait_until(lambda: (seen := anna.peer(ben.peer_id)) is not None and seen.path == "direct")
    await wait_until(lambda: relay.paths.relay.use().circuits == 0)
    assert await ask(anna, ben.peer_id) == b"x"


async def test_the_way_through_the_relay_is_told_to_others(new_host: NewHost) -> None:
    relay, ben, way = await reserved(new_host)
    assert f"{way}/p2p/{ben.peer_id}" in ben.addrs
    anna = await new_host()
    await anna.connect(ben.addrs[0])
    assert way in anna.book.addrs(ben.peer_id)
    assert addresses.relay_of(way)[1] == relay.peer_id


async def test_who_does_not_serve_gives_no_places_and_joins_nobody(new_host: NewHost) -> None:
    relay, ben, way = await reserved(new_host)
    relay.paths.relay.serving = False
    anna = await new_host()
    with pytest.raises(PeerError) as caught:
        await dial_through(anna, way, ben.peer_id)
    assert caught.value.code == "relay_refused"
    with pytest.raises(PeerError):
        await ben.paths.client.reserve(relay.peer_id)


async def test_a_peer_without_a_place_is_not_reached(new_host: NewHost) -> None:
    relay, ben, way = await reserved(new_host)
    chris, anna = await new_host(), await new_host()
    for one in (chris, anna):
        await one.connect(relay.addrs[0])
    stream = await engine.negotiate_stream(anna.engine_host, relay.peer_id, HOP)
    target = wire.PeerId(id=engine.peer_id_bytes(chris.peer_id))
    await send(stream, wire.HopMessage(type=wire.HopMessage.CONNECT, peer=target))
    assert (await receive(stream, wire.HopMessage, timeout_s=5)).status == wire.NO_RESERVATION
    await ben.disconnect(relay.peer_id)
    with pytest.raises(PeerError):
        await dial_through(anna, way, ben.peer_id)
    assert not ben.paths.client.ways(), "a place ends with the connection to the relay"


async def test_places_are_limited_by_number_and_by_host(new_host: NewHost) -> None:
    relay, _, _ = await reserved(new_host, reservations_per_host=2)
    chris, dora = await new_host(), await new_host()
    for one in (chris, dora):
        await one.connect(relay.addrs[0])
    await chris.paths.client.reserve(relay.peer_id)
    with pytest.raises(PeerError) as caught:
        await dora.paths.client.reserve(relay.peer_id)
    assert caught.value.code == "relay_refused"
    assert relay.paths.relay.use().reservations == 2
    await chris.paths.client.reserve(relay.peer_id)  # renewing is always possible


async def test_a_place_runs_out(new_host: NewHost) -> None:
    relay, ben, way = await reserved(new_host)
    relay.paths.relay._reserved[ben.peer_id].expires = trio.current_time()
    anna = await new_host()
    with pytest.raises(PeerError):
        await dial_through(anna, way, ben.peer_id)
    assert relay.paths.relay.use().reservations == 0


async def test_circuits_of_one_peer_are_limited(new_host: NewHost) -> None:
    _, ben, way = await reserved(new_host, listen=(), circuits_per_peer=1)
    anna, chris = await new_host(listen=()), await new_host(listen=())
    await dial_through(anna, way, ben.peer_id)
    with pytest.raises(PeerError):
        await dial_through(chris, way, ben.peer_id)


async def test_a_circuit_carries_its_share_and_a_transfer_goes_on_with_the_next(
    new_host: NewHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PREFER_S", 0.3)
    relay, ben, way = await reserved(new_host, listen=(), circuit_bytes=4 * MIB, circuit_bytes_per_s=1e9)
    source = tmp_path / "model"
    source.write_bytes(os.urandom(10 * MIB))
    theirs, ours = BlobStore(tmp_path / "theirs"), BlobStore(tmp_path / "ours")
    blob = await theirs.add_file(source)
    BlobTransfer(host=ben, store=theirs, allow=lambda _cid, _peer: True)
    anna = await new_host(listen=())
    anna.book.learn(ben.peer_id, [way])
    fetching = BlobTransfer(host=anna, store=ours, allow=lambda _cid, _peer: False)
    with trio.fail_after(40):
        got = await fetching.fetch(blob.cid, [ben.peer_id], expected_size_max=10 * MIB)
    assert got.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert relay.paths.relay.use().carried > 10 * MIB
    assert relay.paths.relay.use().joined >= 3, "no circuit carried more than its share"


async def test_nobody_reserves_or_connects_over_a_circuit(new_host: NewHost) -> None:
    _, ben, way = await reserved(new_host, listen=())
    ben.paths.relay.serving = True
    anna = await new_host(listen=())
    await dial_through(anna, way, ben.peer_id)
    stream = await engine.negotiate_stream(anna.engine_host, ben.peer_id, HOP)
    await send(stream, wire.HopMessage(type=wire.HopMessage.RESERVE))
    said = await receive(stream, wire.HopMessage, timeout_s=5)
    assert said.status == wire.PERMISSION_DENIED


async def test_only_a_relay_of_ours_brings_circuits(new_host: NewHost) -> None:
    ben, mallory = await new_host(), await new_host()
    await mallory.connect(ben.addrs[0])
    stream = await engine.negotiate_stream(mallory.engine_host, ben.peer_id, STOP)
    caller = wire.PeerId(id=engine.peer_id_bytes(mallory.peer_id))
    with pytest.raises((Garbled, engine.BaseLibp2pError)):
        await send(stream, wire.StopMessage(type=wire.StopMessage.CONNECT, peer=caller))
        await receive(stream, wire.StopMessage, timeout_s=5)


async def test_garbage_on_the_relay_protocol_is_answered_and_harms_nobody(new_host: NewHost) -> None:
    relay, ben, _ = await reserved(new_host)
    anna = await new_host()
    await anna.connect(relay.addrs[0])
    for words in (b"\xff" * 12, b"\x90\x4e" + b"x" * 10, b"\x03\x08\x09\x10", b"\x02\x08\x02"):
        stream = await engine.negotiate_stream(anna.engine_host, relay.peer_id, HOP)
        await stream.write(words)
        await stream.close_write()
        said = await receive(stream, wire.HopMessage, timeout_s=5)
        assert said.status in (wire.MALFORMED_MESSAGE, wire.UNEXPECTED_MESSAGE)
    stream = await engine.negotiate_stream(anna.engine_host, relay.peer_id, HOP)
    nobody = wire.PeerId(id=b"\x00\x01\x02")
    await send(stream, wire.HopMessage(type=wire.HopMessage.CONNECT, peer=nobody))
    assert (await receive(stream, wire.HopMessage, timeout_s=5)).status == wire.MALFORMED_MESSAGE
    assert (await ben.paths.client.reserve(relay.peer_id)).ways


async def test_a_relay_that_names_a_foreign_address_gets_no_place_in_our_book(new_host: NewHost) -> None:
    relay = await new_host()
    relay.paths.relay.serving = True
    relay.paths.relay._own_addrs = lambda: ["/ip4/10.0.0.1/tcp/22", "/ip4/224.0.0.1/tcp/1"]
    ben = await new_host()
    await ben.connect(relay.addrs[0])
    made = await ben.paths.client.reserve(relay.peer_id)
    assert [addresses.relay_of(one)[0] for one in made.ways] == [addresses.split(relay.addrs[0])[0]]


def test_a_relay_in_the_internet_speaks_for_its_own_host_alone() -> None:
    relay_id = peer_id_from_seed(bytes(32))

    def ways(dialled: str, *claimed: str) -> list[str]:
        found = _usable(relay_id, dialled, [engine.Multiaddr(one).to_bytes() for one in claimed])
        return [addresses.relay_of(one)[0] for one in found]

    here, other_port, victim = (f"/ip4/45.0.0.{end}" for end in ("1/tcp/4001", "1/tcp/443", "9/tcp/25"))
    assert ways(here, victim, other_port) == [other_port, here]
    assert ways("/ip4/192.168.1.2/tcp/4001", victim) == [victim, "/ip4/192.168.1.2/tcp/4001"]
    assert ways("", victim, "/ip4/10.0.0.1/tcp/22") == [victim]
    assert _usable(relay_id, here, [b"\xff\xfe", b""]) == (addresses.circuit(here, relay_id),)


async def through(
    new_host: NewHost, folder: Path, size: int, **limits: float
) -> tuple[PeerHost, Path, Fetching]:
    """A relay, a file behind it, and how to fetch it."""
    relay, ben, way = await reserved(new_host, listen=(), **limits)
    source = folder / "model"
    source.write_bytes(os.urandom(size))
    theirs, ours = BlobStore(folder / "theirs"), BlobStore(folder / "ours")
    blob = await theirs.add_file(source)
    BlobTransfer(host=ben, store=theirs, allow=lambda _cid, _peer: True)
    anna = await new_host(listen=())
    anna.book.learn(ben.peer_id, [way])
    fetching = BlobTransfer(host=anna, store=ours, allow=lambda _cid, _peer: False)
    return relay, source, partial(fetching.fetch, blob.cid, [ben.peer_id], expected_size_max=size)


async def test_who_has_used_up_its_hour_at_a_relay_still_gets_a_file_slowly(
    new_host: NewHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PREFER_S", 0.3)
    monkeypatch.setattr(relays, "HOUR_S", 10.0)  # half a MiB a second after the first four
    shares = {"circuit_bytes": 4 * MIB, "circuit_bytes_per_s": 1e9, "peer_bytes_per_hour": 4.5 * MIB}
    relay, source, fetch = await through(new_host, tmp_path, 5 * MIB, **shares)
    with trio.fail_after(120):
        got = await fetch()
    assert got.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert relay.paths.relay.use().joined == 2, "a full share at once, and the rest slowly"


async def test_a_relay_that_carries_less_than_a_piece_of_a_file_is_named_as_the_reason(
    new_host: NewHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PREFER_S", 0.3)
    monkeypatch.setattr(blob_fetch, "RETRY_S", 0.05)
    _, _, fetch = await through(new_host, tmp_path, 2 * MIB, circuit_bytes=128 * 1024)
    with trio.fail_after(60), pytest.raises(PeerError) as caught:
        await fetch()
    assert caught.value.code == "relay_too_small"
    assert "128 KiB at a time" in caught.value.message


async def test_a_relay_without_a_free_circuit_is_not_mistaken_for_a_peer_that_is_off(
    new_host: NewHost,
) -> None:
    _, ben, way = await reserved(new_host, listen=(), circuits_per_peer=1)
    anna, chris = await new_host(listen=()), await new_host(listen=())
    await dial_through(anna, way, ben.peer_id)
    chris.book.learn(ben.peer_id, [way])
    with pytest.raises(PeerError) as caught:
        await chris.connect(ben.peer_id)
    assert caught.value.code == "peer_unreachable"
    assert "carries no more at present" in caught.value.message
