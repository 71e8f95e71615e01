"""A peer with a modified client, in a process of its own: it says all that can be said, each time a bit off.

python hostile_peer.py ADDRESS SETTINGS

SETTINGS is JSON: `network` and `chain_id` of the victim's group, `victim` (its peer id), `every` (say one in
so many changes), `only` (parts of names of protocols). One JSON line for each protocol tells how often it
spoke and what it was told.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import mutators
import statements
import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.pubsub.pb import rpc_pb2

from openstall.market import canonical, ids
from openstall.market.errors import OpenstallError, PeerError
from openstall.p2p import blob_wire, engine, hello
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost

SPOKEN_AS_ONE: Final = 8
"""Things said under one identity; then it takes another, as it costs nothing."""
SILENT_S: Final = 2.0

Plain = dict[str, Any]


def orders(me: bytes, settings: Plain) -> Iterator[Plain]:
    """Everything that is asked about orders, as the buyer would."""
    plain = statements.plain_order("sale")
    plain |= {"network": settings["network"], "chain_id": settings["chain_id"]}
    plain |= {"buyer": ids.peer_id_of_seed(me), "seller": settings["victim"]}
    signature = ids.sign(me, "order", plain["network"], canonical.encode(plain))
    other = {"order_id": "", "buyer_signature": "", "seller_signature": "", "reason": ""}
    yield {"do": "propose", "order": plain, **other, "buyer_signature": signature}
    yield {"do": "copy", "order": plain, **other, "buyer_signature": signature, "seller_signature": signature}
    yield {"do": "reason", "order": {}, **other, "order_id": "ab" * 32, "reason": "It is not what was said."}
    yield {"do": "cancel_job", "order": {}, **other, "order_id": "ab" * 32}


def signed_doc(me: bytes, settings: Plain, context: str, doc: Plain) -> Plain:
    """A document under the attacker's own name."""
    said = ids.sign(me, context, settings["network"], canonical.encode(doc))
    return {"doc": doc, "sig": said}


def messages(protocol: str, me: bytes, settings: Plain) -> list[Plain]:
    """What is said in a protocol whose frames are JSON; empty where they are none."""
    cid, sha, order = "b" + "a" * 58, "ab" * 32, {"order_id": "cd" * 32}
    wallet, peer = "0x" + "a1" * 20, ids.peer_id_of_seed(me)
    talk = {**order, "message": _message(me, settings), "signature": "A" * 86}
    custom = {**order, "attempt": 1, "statement": "e30=", "signature": "ab" * 65}
    contest = {"request": cid, "wallet": wallet, "delivery": {"request": cid}, "key": sha}
    service = {"order": sha, "nonce": "ab" * 16, "amount_micro": 1}
    challenge = {"challenger": peer, "provider": settings["victim"], "claim": cid}
    found: dict[str, list[Plain]] = {
        "/openstall/order/1": list(orders(me, settings)),
        "/openstall/custom/1": [
            {"do": do, **custom} for do in ("delivery", "rows", "training", "verdict", "openings")
        ],
        "/openstall/contest/1": [
            {"do": do, **contest} for do in ("delivery", "rows", "training", "sheet", "practice", "board")
        ],
        "/openstall/talk/1": [{"do": do, **talk} for do in ("say", "evidence")],
        "/openstall/case/1": [{"do": do, "file": None, "case": sha} for do in ("complain", "verdict")],
        "/openstall/service/1": [{"do": do, **service} for do in ("status", "watch", "complain", "ping")],
        "/openstall/challenge/1": [signed_doc(me, settings, "challenge", challenge)],
        "/openstall/job/1": [
            {"follow": sha, "from_log": 1},
            {"voucher_micro": 5, "voucher_signature": "0x" + "ab" * 65},
        ],
        "/openstall/serve/1": [{"order": sha}],
        "/openstall/rig/1": [{"pair": {"proof": sha}}, {"hello": {"v": 1}}],
        "/openstall/chain/1": [
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            for method, params in (
                ("eth_blockNumber", []),
                ("eth_getBalance", [wallet, "latest"]),
                ("eth_getLogs", [{"fromBlock": "0x0", "address": wallet}]),
                ("eth_sendRawTransaction", ["0x02" + "00" * 100]),
            )
        ],
        hello.PROTOCOL: [
            {"v": 1, "network": settings["network"], "name": "A stall", "addrs": ["/ip4/192.0.2.7/tcp/1"]}
        ],
    }
    return found.get(protocol, [])


def _message(me: bytes, settings: Plain) -> Plain:
    return {
        "network": settings["network"],
        "order_id": "cd" * 32,
        "author": ids.peer_id_of_seed(me),
        "seq": 1,
        "previous": "",
        "seen": [],
        "at": statements.now(),
        "text": "Is it there?",
    }


GARBAGE: Final = (
    b"",
    b"\0",
    b"\xff" * 64,
    b"{}",
    b"[]",
    b"null",
    b"[" * 5000,
    b'{"do":"\xff"}',
    b"\x93\x01\x02",
    os.urandom(500),
    b"0" * 5000,
)


def changes(plain: Plain, every: int) -> Iterator[Callable[[], Any]]:
    """The message itself, then each value of it replaced by each of many, and each field left out."""
    yield lambda: plain
    number = 0
    for path in mutators.places(plain):
        options: list[Callable[[], Any]] = [
            partial(mutators.put, plain, path, new) for new in mutators.flipped(mutators.at(plain, path))
        ]
        if path:
            options.append(partial(mutators.without, plain, path))
        for make in options:
            number += 1
            if number % every == 0:
                yield make


class Attacker:
    """Speaks under ever new names."""

    def __init__(self, address: str, settings: Plain) -> None:
        self._address = address
        self._settings = settings

    async def protocols(self) -> list[str]:
        """What the victim says that it serves."""
        async with PeerHost(seed=os.urandom(32), network=self._settings["network"]) as host:
            await host.connect(self._address)
            victim = self._settings["victim"]
            stream = await engine.negotiate_stream(host.engine_host, victim, "/ipfs/id/1.0.0")
            raw = b""
            with contextlib.suppress(EOFError, engine.BaseLibp2pError):
                while data := await stream.read(4096):
                    raw += data
            size, start = 0, 0
            while True:
                size |= (raw[start] & 127) << (7 * start)
                start += 1
                if raw[start - 1] < 128:
                    break
            told = Identify()
            told.ParseFromString(raw[start : start + size])
            return sorted(told.protocols)

    async def campaign(self) -> AsyncIterator[Plain]:
        """Everything, one protocol after the other: how often each was spoken, and what was told."""
        for protocol in await self.protocols():
            if not protocol.startswith(("/openstall/", "/meshsub/")):
                continue
            if self._settings.get("only") and not any(one in protocol for one in self._settings["only"]):
                continue
            counts: Counter[str] = Counter()
            said = 0
            while batch := self._batch(protocol, seed := os.urandom(32), said):
                await self._speak(protocol, seed, batch, counts)
                said += len(batch)
            yield {"protocol": protocol, "said": said, "told": dict(counts)}

    def _batch(self, protocol: str, seed: bytes, start: int) -> list[bytes]:
        """The next things to say, in the name of this seed: what is signed must be of the one who says it."""
        return [make() for make in islice(self._everything(protocol, seed), start, start + SPOKEN_AS_ONE)]

    def _everything(self, protocol: str, seed: bytes) -> Iterator[Callable[[], bytes]]:
        for raw in GARBAGE:
            yield partial(bytes, raw)
        for plain in messages(protocol, seed, self._settings):
            for make in changes(plain, self._settings.get("every", 1)):
                yield lambda make=make: mutators.encode(make())  # type: ignore[misc]
        if protocol == blob_wire.PROTOCOL:
            cid = "b" + "a" * 58
            yield partial(blob_wire.manifest_request, cid)
            yield partial(blob_wire.run_request, cid, 2**31, 64)

    async def _speak(self, protocol: str, seed: bytes, batch: list[bytes], counts: Counter[str]) -> None:
        async with PeerHost(seed=seed, network=self._settings["network"]) as host:
            try:
                await host.connect(self._address, timeout_s=10)
            except OpenstallError as error:
                counts[f"not let in: {error.code}"] += len(batch)
                return
            for raw in batch:
                counts[await self._say(host, protocol, raw)] += 1

    async def _say(self, host: PeerHost, protocol: str, raw: bytes) -> str:
        victim = self._settings["victim"]
        try:
            with trio.move_on_after(SILENT_S):
                framed = await host.open_stream(victim, protocol, timeout_s=5, max_frame=2**22)
                async with framed:
                    return await self._exchange(framed, protocol, raw)
            return "no answer"
        except RefusedByPeer as error:
            return error.code
        except PeerError as error:
            return error.code

    async def _exchange(self, framed: Framed, protocol: str, raw: bytes) -> str:
        if protocol.startswith("/meshsub/"):
            await framed._stream.write(_rpc(raw))
            return "said"
        await framed.send(raw)
        await framed.finish()
        answer = await framed.receive(max_frame=2**22)
        if answer is None:
            return "hung up"
        if answer[:1] == b"\1":
            code: str = json.loads(answer[1:])["code"]
            return code
        return "answered"


def _rpc(raw: bytes) -> bytes:
    rpc = rpc_pb2.RPC()
    message = rpc.publish.add()
    message.data, message.from_id, message.seqno = raw[:4000], b"nobody", os.urandom(8)
    message.topicIDs.append("/openstall/x/records/1")
    body = rpc.SerializeToString()
    size = len(body)
    prefix = bytearray()
    while size >= 128:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes([*prefix, size]) + body


async def main(address: str, settings: Plain) -> None:
    """One line for each protocol."""
    async for line in Attacker(address, settings).campaign():
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], json.loads(sys.argv[2]))
