"""Being dialled back, what is passed on of others' addresses, and finding peers by their id."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest
import trio

from openstall.market.errors import PeerError
from openstall.p2p import addresses, dial_back, discovery, engine, kademlia, paths
from openstall.p2p.circuits import Garbled, receive, send
from openstall.p2p.dial_back import DialBack
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost, Rate
from openstall.p2p.kademlia import Kademlia, distance, wire
from openstall.p2p.reachability import Reachability
from openstall.p2p.vouching import Vouching

NewHost = Callable[..., Awaitable[PeerHost]]
WaitUntil = Callable[[Callable[[], bool]], Awaitable[None]]


def direct(host: PeerHost) -> str:
    return addresses.split(host.addrs[0])[0]


async def ask_back(asker: PeerHost, asked: PeerHost, *addrs: str) -> dial_back.Answer:
    question = msgspec.json.encode({"addrs": list(addrs)})
    raw = await asker.request(asked.peer_id, dial_back.PROTOCOL, question, timeout_s=15, max_response=2000)
    return msgspec.json.decode(raw, type=dial_back.Answer)


async def test_a_peer_that_is_dialled_back_learns_which_addresses_are_true(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    DialBack(ben)
    await anna.connect(ben.addrs[0])
    closed = "/ip4/127.0.0.1/tcp/9"
    said = await DialBack(anna).ask(ben.peer_id, [direct(anna), closed])
    assert said.reached == [direct(anna)]
    assert addresses.host_of(said.seen) == "127.0.0.1"
    assert len(anna.peers()) == len(ben.peers()) == 1, "the knock has left no connection"


async def test_nobody_is_made_to_knock_at_anothers_door(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    DialBack(ben)
    await anna.connect(ben.addrs[0])
    with socket.create_server(("127.0.0.2", 0)) as victim:
        victim.settimeout(0.3)
        port = victim.getsockname()[1]
        said = await ask_back(anna, ben, f"/ip4/127.0.0.2/tcp/{port}", f"/dns4/localhost/tcp/{port}")
        assert said.reached == []
        with pytest.raises(TimeoutError):
            await trio.to_thread.run_sync(victim.accept)


async def test_another_peer_at_the_askers_address_does_not_count(new_host: NewHost) -> None:
    anna, ben, chris = await new_host(), await new_host(), await new_host()
    DialBack(ben)
    await anna.connect(ben.addrs[0])
    assert (await ask_back(anna, ben, direct(chris))).reached == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"addrs": []}',
        b'{"addrs": ["x"], "more": 1}',
        b'{"addrs": 7}',
        b"[" * 900,
        msgspec.json.encode({"addrs": ["/ip4/127.0.0.1/tcp/9"] * 5}),
    ],
)
async def test_senseless_questions_are_refused(new_host: NewHost, raw: bytes) -> None:
    anna, ben = await new_host(), await new_host()
    DialBack(ben)
    await anna.connect(ben.addrs[0])
    with pytest.raises(RefusedByPeer) as caught:
        await anna.request(ben.peer_id, dial_back.PROTOCOL, raw, timeout_s=5, max_response=2000)
    assert caught.value.code == "bad_request"


async def test_nobody_is_dialled_back_without_end(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    DialBack(ben)
    await anna.connect(ben.addrs[0])
    with pytest.raises(RefusedByPeer) as caught:
        for _ in range(6):
            await ask_back(anna, ben, direct(anna))
    assert caught.value.code == "too_many_requests"


async def test_the_state_follows_the_connections(new_host: NewHost, wait_until: WaitUntil) -> None:
    anna, ben = await new_host(), await new_host()
    told: list[str] = []
    reach = Reachability(host=anna, on_change=lambda now: told.append(now.state))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reach.run)
        await wait_until(lambda: reach.now.state == "cut_off")
        await anna.connect(ben.addrs[0])
        await wait_until(lambda: reach.now.state == "local")
        assert reach.now.sentence
        assert reach.now.what_next
        await anna.disconnect(ben.peer_id)
        await wait_until(lambda: reach.now.state == "cut_off")
        assert told == ["cut_off", "local", "cut_off"]
        assert not reach.now.serving, "who is not reached directly does not relay by itself"
        reach.serve("on")
        await wait_until(lambda: reach.now.serving)
        reach.serve("off")
        await wait_until(lambda: not reach.now.serving)
        nursery.cancel_scope.cancel()


async def test_what_runs_over_an_address_that_is_gone_is_closed_and_dialled_anew(
    new_host: NewHost, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, ben = await new_host(), await new_host()
    await anna.connect(ben.addrs[0])
    await anna.paths.drop_stale()
    assert anna.peers(), "the address is still there"
    monkeypatch.setattr(addresses, "own_hosts", lambda: {"192.0.2.7"})
    await anna.paths.drop_stale()
    await wait_until(lambda: not anna.peers())
    assert (await anna.connect(ben.peer_id)).path == "direct"


async def test_who_calls_again_finds_no_dead_connection_in_the_way(
    new_host: NewHost, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ANSWER_S", 0.3)
    anna, ben = await new_host(), await new_host()
    await anna.connect(ben.addrs[0])
    (dead,) = engine.all_connections(ben._swarm)
    # Nothing that Anna sends arrives any more, and she does not say goodbye: her plug was pulled.
    (cut,) = engine.all_connections(anna._swarm)
    with monkeypatch.context() as plug:
        plug.setattr(cut.muxed_conn, "write_frame", say_nothing)
        await engine.dial_address(anna._swarm, direct(ben), ben.peer_id)
        await wait_until(lambda: dead.is_closed)
    assert ben.peers()


async def say_nothing(*_: object) -> None:
    await trio.sleep_forever()


# What is passed on


async def asked_for_peers(asker: PeerHost, asked: PeerHost) -> dict[str, list[str]]:
    raw = await asker.request(asked.peer_id, discovery.PROTOCOL, b"", timeout_s=15, max_response=65_536)
    return {one["peer_id"]: one["addrs"] for one in msgspec.json.decode(raw)}


async def test_claims_are_tried_before_they_are_passed_on(
    new_host: NewHost, nursery: trio.Nursery, wait_until: WaitUntil
) -> None:
    anna, ben, mallory, chris = [await new_host() for _ in range(4)]
    found = Discovery(host=anna, settings=DiscoverySettings(lan=False))
    await nursery.start(found.run)
    # Mallory says that she listens where Chris does, and where nobody does.
    mallory.paths.proven = [direct(chris), "/ip4/127.0.0.1/tcp/9"]
    await mallory.connect(anna.addrs[0])
    await ben.connect(anna.addrs[0])
    assert {direct(chris), direct(mallory)} <= set(anna.book.addrs(mallory.peer_id))
    await wait_until(lambda: bool(found._vouching.addrs(mallory.peer_id)))
    named = await asked_for_peers(ben, anna)
    assert named[mallory.peer_id] == [direct(mallory)]
    nursery.cancel_scope.cancel()


async def test_a_stranger_names_nobody_in_our_own_network(new_host: NewHost) -> None:
    anna = await new_host()
    found = Discovery(host=anna, settings=DiscoverySettings(lan=False))
    somebody = PeerHost(seed=os.urandom(32)).peer_id
    named = discovery._Shared(
        peer_id=somebody, addrs=["/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/80", "/ip4/45.0.0.9/tcp/4001"]
    )
    found._learn(named, told_by="/ip4/45.0.0.1/tcp/4001")
    assert anna.book.addrs(somebody) == ["/ip4/45.0.0.9/tcp/4001"]


# Kademlia


async def in_a_row(new_host: NewHost, count: int) -> list[tuple[PeerHost, Kademlia]]:
    """Each has called the next, and knows no other."""
    made: list[tuple[PeerHost, Kademlia]] = []
    for _ in range(count):
        host = await new_host()
        made.append((host, Kademlia(host, Vouching(host))))
    for (one, _), (other, _) in itertools.pairwise(made):
        await one.connect(other.addrs[0])
    return made


async def test_a_peer_is_found_by_its_id_over_several_others(new_host: NewHost) -> None:
    row = await in_a_row(new_host, 6)
    first, last = row[0][0], row[-1][0]
    first.paths.find = row[0][1].find
    with trio.fail_after(20):
        assert (await first.connect(last.peer_id)).peer_id == last.peer_id


async def test_a_search_for_nobody_ends_in_time(new_host: NewHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kademlia, "ASK_S", 0.5)
    row = await in_a_row(new_host, 4)
    silent = row[2][0]
    engine.handle(silent.engine_host, kademlia.PROTOCOL, say_nothing)
    nobody = PeerHost(seed=os.urandom(32)).peer_id
    with trio.fail_after(10):
        assert await row[0][1].find(nobody) == []


async def test_who_is_made_to_look_for_many_asks_others_no_more_than_they_allow(
    new_host: NewHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd that comes and goes makes a node look for it again: its friends must not shut the node out."""
    monkeypatch.setattr(kademlia, "RATE", Rate(per_s=20, burst=10))
    (anna, search), (ben, _) = await in_a_row(new_host, 2)
    with trio.fail_after(60):
        for _ in range(40):
            assert await search.find(PeerHost(seed=os.urandom(32)).peer_id) == []
    assert list(ben.bouncer.recent) == []
    assert ben.peer(anna.peer_id) is not None


async def test_who_answers_with_lies_costs_only_a_dial(new_host: NewHost) -> None:
    anna, mallory, victim = [await new_host() for _ in range(3)]
    search = Kademlia(anna, Vouching(anna))

    async def lie(stream: engine.NetStream) -> None:
        asked = await receive(stream, wire.Message, timeout_s=5)
        answer = wire.Message(type=kademlia.FindNode)
        lies = [engine.Multiaddr(one).to_bytes() for one in (direct(victim), "/ip4/224.0.0.1/tcp/1")]
        answer.closerPeers.add(id=asked.key, addrs=[*lies, b"\xff\xff"])
        answer.closerPeers.add(id=b"nobody", addrs=lies)
        await send(stream, answer)
        await stream.close()

    engine.handle(mallory.engine_host, kademlia.PROTOCOL, lie)
    await anna.connect(mallory.addrs[0])
    wanted = PeerHost(seed=os.urandom(32)).peer_id
    assert await search.find(wanted) == [direct(victim)]
    anna.paths.find = search.find
    with trio.fail_after(15), pytest.raises(PeerError) as caught:
        await anna.connect(wanted)
    assert caught.value.code == "peer_unreachable"


async def test_garbage_is_no_question(new_host: NewHost) -> None:
    anna, ben = await new_host(), await new_host()
    Kademlia(ben, Vouching(ben))
    await anna.connect(ben.addrs[0])
    for raw in (b"\x05hello", b"\xff" * 12, b"\x04\x08\x04\x12\x00"):
        stream = await engine.negotiate_stream(anna.engine_host, ben.peer_id, kademlia.PROTOCOL)
        with trio.fail_after(5), pytest.raises((Garbled, engine.BaseLibp2pError)):
            await stream.write(raw)
            await stream.close_write()
            await receive(stream, wire.Message, timeout_s=5)


async def test_whoever_breaks_a_search_off_is_not_blamed(
    new_host: NewHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kademlia, "ASK_S", 1.0)
    anna, ben = await new_host(), await new_host()
    Kademlia(ben, Vouching(ben))
    await anna.connect(ben.addrs[0])
    for _ in range(3):
        stream = await engine.negotiate_stream(anna.engine_host, ben.peer_id, kademlia.PROTOCOL)
        await stream.write(b"\x20")  # a message of 32 bytes, of which none comes
        await engine.drop(stream)
    silent = await engine.negotiate_stream(anna.engine_host, ben.peer_id, kademlia.PROTOCOL)
    with trio.fail_after(30), pytest.raises((Garbled, engine.BaseLibp2pError)):
        await receive(silent, wire.Message, timeout_s=20)
    stream = await engine.negotiate_stream(anna.engine_host, ben.peer_id, kademlia.PROTOCOL)
    with trio.fail_after(30), pytest.raises((Garbled, engine.BaseLibp2pError)):
        await stream.write(b"\x05hello")
        await receive(stream, wire.Message, timeout_s=20)
    assert [one.points for one in ben.bouncer.recent] == [2]


async def test_in_a_large_group_a_peer_meets_its_neighbours(
    new_host: NewHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, late = await new_host(), await new_host()
    vouching = Vouching(hub)
    Kademlia(hub, vouching)
    others = [await new_host() for _ in range(4)]
    for one in others:
        await hub.connect(one.addrs[0])
    await late.connect(hub.addrs[0])
    search = Kademlia(late, Vouching(late))
    await search.meet_neighbours()
    assert len(late.peers()) == 1, "in a small group everybody is connected anyway"
    monkeypatch.setattr(kademlia, "LARGE_GROUP", 1)
    await search.meet_neighbours()
    assert {one.peer_id for one in late.peers()} == {one.peer_id for one in (hub, *others)}


def test_distances_are_those_of_kademlia() -> None:
    one, other = (PeerHost(seed=bytes([number] * 32)).peer_id for number in (1, 2))
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) > 0
