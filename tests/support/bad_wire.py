"""Cases of the campaign: floods, frames, streams and greetings, before anything is said."""

from __future__ import annotations

import contextlib
import json
import os

import hostile_peer
import trio
from bad_peer import ANSWERED, CUT, HANGS, NOTHING, Bad, Guest, NotRefused, case

from openstall.market import ids
from openstall.market.errors import PeerError
from openstall.p2p import engine, hello
from openstall.p2p.circuits import BROKEN, HOP, Garbled, receive, send, wire
from openstall.p2p.framing import Framed
from openstall.p2p.host import HostLimits, PeerHost, Rate

LIMITS = HostLimits()
NO_FRAME = (2**31).to_bytes(4, "big") + b"x" * 100
REQUESTS = ("order", "custom", "contest", "talk", "case", "service", "mailbox", "recover")
STREAMS = ("job", "serve", "challenge", "rig")
HALF_OPEN = 24


def protocol(name: str) -> str:
    """The id of a protocol."""
    return f"/openstall/{name}/1"


@case()
async def flood_of_requests(bad: Bad) -> None:
    """Far more requests than the rate: the rest is refused unread, and in the end the peer is shut out."""
    async with bad.guest() as guest:
        for _ in range(400):
            told = await guest.says(protocol("custom"), b"{}")
            if guest.host.peer(guest.target.peer_id) is None:
                break
            if told == ANSWERED:
                raise NotRefused("a request without sense was answered")
        if bad.told["too_many_requests"] < 50:
            raise NotRefused(f"a flood of requests met no limit: {dict(bad.told)}")
        await guest.shut_out()


@case()
async def flood_of_streams(bad: Bad) -> None:
    """A hundred streams on which nothing is said: a few are kept for a while, the rest is reset."""
    alive = 0

    async def hold(guest: Guest) -> None:
        nonlocal alive
        with contextlib.suppress(PeerError, *BROKEN):
            stream = await guest.stream(protocol("job"))
            with trio.move_on_after(5) as quiet:
                await stream.receive()
            alive += quiet.cancelled_caught
            await stream.reset()

    async with bad.guest() as guest:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(hold, guest)
        bad.told["held"] += alive
        bad.told[CUT] += 100 - alive
    if alive > LIMITS.max_conversations_per_peer:
        raise NotRefused(f"{alive} streams of one peer were kept open")


@case(quick=False)
async def half_open_handshakes(bad: Bad) -> None:
    """Connections that say nothing, or a byte now and then: all are closed when the time is over."""
    closed = 0

    async def hold(drips: bool) -> None:
        nonlocal closed
        stream = await dial(bad)
        async with stream, trio.open_nursery() as nursery:
            if drips:
                nursery.start_soon(drip, stream)
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some(4096):
                    pass
            closed += 1
            nursery.cancel_scope.cancel()

    with trio.move_on_after(LIMITS.handshake_s + 45):
        async with trio.open_nursery() as nursery:
            for number in range(HALF_OPEN):
                nursery.start_soon(hold, number % 2 == 0)
    bad.told["closed"] += closed
    if closed < HALF_OPEN:
        raise NotRefused(f"{HALF_OPEN - closed} half-open handshakes were never ended")


async def drip(stream: trio.SocketStream) -> None:
    """A byte a second of something that might become a handshake."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for byte in b"\x13/multistream/1.0.0\n" * 50:
            await stream.send_all(bytes([byte]))
            await trio.sleep(1)


async def dial(bad: Bad) -> trio.SocketStream:
    """A bare TCP connection to the target."""
    parts = bad.target.addr.split("/")
    return await trio.open_tcp_stream(parts[2], int(parts[4]))


@case(quick=False)
async def requests_that_never_end(bad: Bad) -> None:
    """Half a frame and then silence, and half a frame that drips in: both are cut off in time."""
    told: list[str] = []

    async def half(guest: Guest, drips: bool) -> None:
        stream = await guest.stream(protocol("order"))
        await stream._stream.write((1000).to_bytes(4, "big") + b"x" * 10)
        with trio.move_on_after(LIMITS.request_read_s + 45) as late:
            async with trio.open_nursery() as nursery:
                if drips:
                    nursery.start_soon(drop, stream)
                with contextlib.suppress(PeerError):
                    await stream.receive()
                nursery.cancel_scope.cancel()
        await stream.reset()
        told.append(HANGS if late.cancelled_caught else CUT)

    async def drop(stream: Framed) -> None:
        with contextlib.suppress(*BROKEN):
            while True:
                await trio.sleep(1)
                await stream._stream.write(b"x")

    async with bad.guest() as guest, trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(half, guest, number % 2 == 0)
    bad.told.update(told)
    if HANGS in told:
        raise NotRefused(f"requests that never end are waited for: {told}")


@case()
async def oversized_frames(bad: Bad) -> None:
    """Frames of 2 GiB: cut off before any of it is read, for points, until the peer is shut out."""
    async with bad.guest() as guest:
        for name in (*REQUESTS, *STREAMS, *REQUESTS):
            try:
                told = await guest.raw(protocol(name), NO_FRAME, wait_s=30)
            except PeerError:
                break
            if told not in (CUT, NOTHING):
                raise NotRefused(f"{name}: {told} to a frame of 2 GiB")
        await guest.shut_out()


@case()
async def other_handshakes(bad: Bad) -> None:
    """Plaintext, TLS, other versions: Noise or nothing; and no version of a protocol but the present one."""
    for name in (
        "/plaintext/2.0.0",
        "/tls/1.0.0",
        "/secio/1.0.0",
        "/noise/2",
        "/yamux/1.0.0",
        "/openstall/order/1",
    ):
        heard = b""
        async with await dial(bad) as stream:
            for line in ("/multistream/1.0.0\n", f"{name}\n"):
                await stream.send_all(bytes([len(line)]) + line.encode())
            with trio.move_on_after(5), contextlib.suppress(trio.BrokenResourceError):
                while b"na\n" not in heard and (data := await stream.receive_some(4096)):
                    heard += data
        bad.told["na" if b"na\n" in heard else CUT] += 1
        if name.encode() in heard:
            raise NotRefused(f"{name} was taken in the place of Noise")
    async with bad.guest() as guest:
        for name in (*REQUESTS, *STREAMS):
            await guest.refused(f"/openstall/{name}/2", b"{}", "not_supported")


@case()
async def nonsense_in_every_protocol(bad: Bad) -> None:
    """Bytes that are no message: each protocol refuses them in words or hangs up, and none stumbles."""
    for name in (*REQUESTS, *STREAMS):
        async with bad.guest() as guest:
            for raw in hostile_peer.GARBAGE:
                if name in REQUESTS:
                    told, refused = await guest.says(protocol(name), raw), False
                else:
                    told, got = await guest.talk(protocol(name), raw)
                    refused = got[:1] == b"\1" or b'"refusal"' in got
                if told in ("internal", HANGS) or (told == ANSWERED and not refused):
                    raise NotRefused(f"{name}: {told} to {raw[:40]!r}")


@case()
async def every_field_of_every_message(bad: Bad) -> None:
    """The messages of all protocols, one value changed at a time: nothing stumbles (see `hostile_peer`)."""
    settings = {"network": bad.network, "chain_id": bad.chain_id, "victim": bad.target.peer_id}
    attacker = hostile_peer.Attacker(
        bad.target.addr, settings | {"every": 211 if bad.settings["quick"] else 67}
    )
    for line in [line async for line in attacker.campaign()]:
        bad.told.update(line["told"])
        if line["told"].get("internal"):
            raise NotRefused(f"{line['protocol']}: a handler stumbled: {line['told']}")


@case()
async def greetings_without_sense(bad: Bad) -> None:
    """A greeting that is none, or too long, ends nothing but itself."""
    said = {"v": 1, "network": bad.network, "name": "A stall", "addrs": []}
    async with bad.guest() as guest:
        for raw in (
            b"[" * 4000,
            b"{}x",
            json.dumps(said | {"name": 5}).encode(),
            json.dumps(said | {"addrs": ["x"] * 13}).encode(),
            json.dumps(said | {"name": "x" * 201}).encode(),
        ):
            await guest.refused(hello.PROTOCOL, raw, "bad_hello")
        await guest.refused(hello.PROTOCOL, b" " * (hello.MAX_BYTES + 1), CUT)
        if await guest.says(hello.PROTOCOL, json.dumps(said).encode()) != ANSWERED:
            raise NotRefused("a greeting with sense is answered no more")


@case(against=["provider"])
async def relay_abuse(bad: Bad) -> None:
    """Circuits to whoever holds no place, garbled questions, and more places than one computer gets."""
    async with bad.guest() as guest:
        victim = wire.HopMessage(type=wire.HopMessage.CONNECT)
        victim.peer.id = engine.peer_id_bytes(bad.others()[0].peer_id)
        await relayed(guest, victim, wire.NO_RESERVATION)
        await relayed(guest, wire.HopMessage(type=wire.HopMessage.CONNECT), wire.MALFORMED_MESSAGE)
        await relayed(guest, wire.HopMessage(type=wire.HopMessage.STATUS), wire.UNEXPECTED_MESSAGE)
        for _ in range(30):
            last = await relayed(guest, victim, wire.NO_RESERVATION, wire.RESOURCE_LIMIT_EXCEEDED)
        if last != wire.RESOURCE_LIMIT_EXCEEDED:
            raise NotRefused("a flood of questions to the relay met no limit")
    async with contextlib.AsyncExitStack() as stack:
        given = 0
        for _ in range(12):
            crowd = await stack.enter_async_context(bad.guest())
            asked = wire.HopMessage(type=wire.HopMessage.RESERVE)
            given += await relayed(crowd, asked, wire.OK, wire.RESERVATION_REFUSED) == wire.OK
        if given > 8:
            raise NotRefused(f"{given} places of the relay went to one computer")


async def relayed(guest: Guest, message: wire.HopMessage, *due: int) -> int:
    """What the relay answers, which must be one of these."""
    stream = await engine.negotiate_stream(guest.host.engine_host, guest.target.peer_id, HOP)
    try:
        await send(stream, message)
        status = int((await receive(stream, wire.HopMessage, timeout_s=20)).status)
    except (*BROKEN, Garbled) as error:
        raise NotRefused(f"the relay does not answer: {error}") from error
    finally:
        await engine.drop(stream)
    guest.bad.told[f"relay {status}"] += 1
    if status not in due:
        raise NotRefused(f"the relay says {status} where {due} was due")
    return status


@case()
async def made_to_knock_at_others_doors(bad: Bad) -> None:
    """Who asks to be called back at somebody else's address hears of no door; a flood of it is refused."""
    others = [one.addr.split("/p2p/")[0] for one in bad.others()]
    async with bad.guest() as guest:
        for addrs in (others, ["/ip4/192.0.2.1/tcp/80", "/ip4/10.0.0.1/tcp/22"]):
            answer = json.loads(await guest.ask(protocol("dial-back"), json.dumps({"addrs": addrs}).encode()))
            bad.told[ANSWERED] += 1
            if answer["reached"]:
                raise NotRefused(f"a peer is said to answer at another's address: {answer}")
        await guest.refused(protocol("dial-back"), json.dumps({"addrs": ["x"] * 5}).encode(), "bad_request")
        for _ in range(10):
            told = await guest.says(protocol("dial-back"), json.dumps({"addrs": others}).encode())
        if told != "too_many_requests":
            raise NotRefused("one may be called back as often as one likes")


@case(quick=False)
async def poisoned_peer_exchange(bad: Bad) -> None:
    """Invented peers, addresses of strangers, and lists that make no sense: nothing of it is told on."""
    invented = [ids.peer_id_of_seed(os.urandom(32)) for _ in range(32)]
    lies = [{"peer_id": one, "addrs": ["/ip4/192.0.2.66/tcp/4001"]} for one in invented]
    asked = 0

    async def lie(_peer: str, _raw: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return json.dumps(lies if asked % 2 else lies * 100).encode()[: 2**16]

    def serve(host: PeerHost) -> None:
        rate = Rate(per_s=100, burst=100)
        host.serve(protocol("peers"), lie, max_request=2**16, max_response=2**17, per_peer_rate=rate)

    async with bad.guest(serve=serve) as liar:
        said = {
            "v": 1,
            "network": bad.network,
            "name": "x",
            "addrs": [f"/ip4/192.0.2.66/tcp/{n}" for n in range(1, 12)],
        }
        await liar.says(hello.PROTOCOL, json.dumps(said).encode())
        with trio.move_on_after(25):
            while asked < 2:  # noqa: ASYNC110 - it asks when it likes
                await trio.sleep(0.2)
        bad.told["asked for peers"] += asked
        async with bad.guest() as scout:
            known = (await scout.ask(protocol("peers"), b"")).decode()
    if "192.0.2.66" in known or any(one in known for one in invented):
        raise NotRefused(f"an honest node passes lies on: {known[:300]}")
