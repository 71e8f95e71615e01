"""The decoders of the network itself: frames, gossip, sync, greetings, addresses, blobs."""

from __future__ import annotations

from typing import Any

import msgspec
import statements
from decoding import Bytes, finished
from libp2p.pubsub.pb import rpc_pb2

from openstall.market.leaves import LEAVES, LEVEL
from openstall.market.schema import NONSENSE
from openstall.p2p import (
    addresses,
    blob_manifest,
    blob_wire,
    catalogue,
    discovery,
    gossip,
    hello,
    record_wire,
)
from openstall.p2p.framing import Framed


def read_frames(data: bytes) -> list[bytes]:
    framed = Framed(Bytes(data[1:], 1 + (data[0] if data else 0)), "somebody", max_frame=4096)  # type: ignore[arg-type]
    found = []
    while (frame := finished(framed._receive(4096, None))) is not None:
        assert len(frame) <= 4096
        found.append(frame)
    return found


class Pubsub(gossip.NodePubsub):
    """The reading loop alone: what it hands on is parsed and forgotten."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.penalise = lambda *_: None

    async def _take(self, peer_id: Any, raw: bytes) -> None:  # noqa: ARG002
        rpc = rpc_pb2.RPC()
        rpc.ParseFromString(raw)
        self.heard.append(rpc)


def read_gossip(data: bytes) -> list[Any]:
    service = Pubsub()
    finished(service.continuously_read_stream(Bytes(data, 4096)))  # type: ignore[arg-type]
    return service.heard


def gossip_seeds() -> list[bytes]:
    rpc = rpc_pb2.RPC()
    message = rpc.publish.add()
    message.data, message.from_id, message.seqno = b"news", b"peer", b"1"
    message.topicIDs.append("/openstall/test/records/1")
    raw = rpc.SerializeToString()
    return [bytes([len(raw)]) + raw, bytes([len(raw)]) + raw + b"\x02\x0a\x00", b"\xff\xff\xff\xff\x0f"]


def read_news(data: bytes) -> object:
    try:
        return msgspec.json.decode(data, type=catalogue._News)
    except NONSENSE:
        return None


def news_seeds() -> list[bytes]:
    record = statements.signed_record("listing")
    news = {
        "cid": record.cid,
        "type": "listing",
        "author": record.record.author,
        "seq": 1,
        "size": len(record.raw),
    }
    return [msgspec.json.encode(news)]


def read_digests(data: bytes) -> object:  # noqa: PLR0911 - one letter, one reader
    """What two peers who compare catalogues ask and answer, by its first letter."""
    kind, rest = data[:1], data[1:]
    match kind:
        case b"b":
            return record_wire.read_branches(rest)
        case b"s":
            return record_wire.read_spans(rest)
        case b"w":
            return record_wire.read_wanted(rest)
    try:
        if kind == b"l":
            return record_wire.read_listed(rest, [(0, LEAVES - 1)], "")
        if kind == b"t":
            return record_wire.read_level(rest, 1)
        return record_wire.read_bodies(rest, record_wire.MAX_BATCH)
    except ValueError:  # its readers say so, and the asker penalises
        return None


def digest_seeds() -> list[bytes]:
    record = statements.signed_record("listing")
    return [
        b"b" + bytes([0, 3, 255]),
        b"s" + record_wire.write_spans([(0, 7), (9, 60_000)], record.cid),
        b"w" + record_wire.write_wanted([record.cid]),
        b"l" + record_wire.write_listed([record.cid], more=True),
        b"t" + bytes(LEVEL),
        b"r" + record_wire.write_bodies([record.raw, b""]),
    ]


def read_peers(data: bytes) -> object:
    try:
        shared = msgspec.json.decode(data, type=discovery._Answer)
    except NONSENSE:
        return None
    return [addresses.dialable(one) for peer in shared for one in peer.addrs]


def peers_seeds() -> list[bytes]:
    known = {"peer_id": statements.peer_id("seller"), "addrs": ["/ip4/192.0.2.7/tcp/4001", "/dns4/a.b/tcp/1"]}
    return [msgspec.json.encode([known, known])]


def read_hello(data: bytes) -> object:
    found = hello.decode(data)
    assert len(found.name) <= hello.MAX_NAME
    assert found.name.isprintable()
    return hello.useful_addrs(found, remote="/ip4/192.0.2.1/tcp/4001")


def hello_seeds() -> list[bytes]:
    greeting = hello.Hello(
        network="test", name="A stall", addrs=["/ip4/192.0.2.7/tcp/4001"], seen="/ip4/1.2.3.4/tcp/5"
    )
    return [hello.encode(greeting), b"{}"]


def read_address(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    if addresses.dialable(text):
        transport, _ = addresses.split(text)
        assert addresses.split(transport) == (transport, "")
        assert 0 < addresses.port_of(transport) < 2**16
        addresses.is_loopback(transport)
    return None


def address_seeds() -> list[bytes]:
    ends = ["", f"/p2p/{statements.peer_id('seller')}"]
    starts = ["/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/tcp/80", "/dns4/stall.example/tcp/443"]
    return [f"{start}{end}".encode() for start in starts for end in ends]


def read_blob(data: bytes) -> object:
    """A manifest, or a question for one."""
    if data[:1] == b"m":
        found = blob_manifest.decode(data[1:])
        assert found.encode() == data[1:]
        return found
    return blob_wire.decode(data[1:])


def blob_seeds() -> list[bytes]:
    made = blob_manifest.build(5, bytes(32), [bytes(32)])
    cid = made.info().cid
    questions = [blob_wire.manifest_request(cid), blob_wire.run_request(cid, 0, 3)]
    return [b"m" + made.encode(), *(b"q" + one for one in questions)]


def answer_seeds() -> list[bytes]:
    return [b"\0result", b'\1{"code":"busy","message":"Later.","what_next":"Wait."}']
