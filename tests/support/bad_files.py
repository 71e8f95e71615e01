"""Cases of the campaign: files that are nobody's business, and sources of files that lie."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable

import trio
from bad_peer import ANSWERED, CUT, NOTHING, PATIENCE_S, Bad, NotRefused, case

from openstall.market.errors import PeerError
from openstall.market.records import Listing
from openstall.p2p import blob_wire
from openstall.p2p.circuits import BROKEN
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost, Rate

EASY = Rate(per_s=1000, burst=1000)
LIE_S = 200.0


@case()
async def files_of_others(bad: Bad) -> None:
    """Inputs and results of the honest jobs, files that nobody has, questions that are none."""
    async with bad.guest() as guest:
        private = [*bad.live["private"][-6:], "b" + "a" * 58]
        for cid in private:
            for asked in (
                *(blob_wire.short_request(kind, cid) for kind in (b"M", b"H", b"A", b"S")),
                blob_wire.run_request(cid, 0, 1),
            ):
                await refused(bad, guest.talk(blob_wire.PROTOCOL, asked), b"no_blob")
        cid = private[0].encode()
        ranges = (b"R" + cid + b"\0" * 6, b"R" + cid + b"\xff" * 6)
        for asked in (b"", b"M" + cid + b"x", b"X" + cid, *ranges):
            await refused(bad, guest.talk(blob_wire.PROTOCOL, asked), b"bad_request")
        for asked in (b"M", b"M../../../../../etc/passwd"):
            await refused(bad, guest.talk(blob_wire.PROTOCOL, asked), b"no_blob")
    if bad.target.name == "seller":
        async with bad.guest() as guest:
            body = (await bad.public(guest, bad.settings["listing"])).body
            assert isinstance(body, Listing)
            asked = blob_wire.run_request(body.blob.cid, 2**31, 64)
            await refused(bad, guest.talk(blob_wire.PROTOCOL, asked), b"bad_range")


async def refused(bad: Bad, talk: Awaitable[tuple[str, bytes]], *codes: bytes) -> None:
    """The answer must be a refusal with one of these codes, or (to no frame at all) the end."""
    told, got = await talk
    if told in (CUT, NOTHING):
        return
    if told != ANSWERED or got[:1] != b"\1" or not any(one in got for one in codes):
        raise NotRefused(f"{told} {got[:200]!r} where {codes} was due")
    bad.told[codes[0].decode()] += 1


@case(against=["buyer"], quick=False)
async def sources_that_lie(bad: Bad) -> None:
    """Claim to have the package that the honest buyer fetches: send rubbish, too much, half, nothing."""
    async with trio.open_nursery() as nursery:
        for trick in ("rubbish", "endless", "half", "silent"):
            nursery.start_soon(one_source, bad, trick)


async def one_source(bad: Bad, trick: str) -> None:
    """Stay connected until the buyer has asked for chunks."""
    seller = next(one for one in bad.others() if one.name == "seller")
    asked: list[str] = []

    async def lie(_peer: str, framed: Framed) -> None:
        with contextlib.suppress(PeerError, *BROKEN):
            while (raw := await framed.receive()) is not None:
                asked.append(raw[:1].decode("ascii", "replace"))
                await answer(framed, raw, trick)

    def serve(host: PeerHost) -> None:
        host.serve_stream(blob_wire.PROTOCOL, lie, max_frame=2**22, per_peer_rate=EASY)

    async with bad.guest(serve=serve) as liar:
        await liar.host.connect(seller.addr, timeout_s=PATIENCE_S)
        with trio.move_on_after(LIE_S):
            while "R" not in asked:
                for cid in bad.live["packages"][-2:]:
                    with contextlib.suppress(PeerError):
                        await tell_holder(liar.host, seller.peer_id, cid)
                await trio.sleep(0.5)
        await trio.sleep(3)
        bad.told[f"{trick}: asked for chunks"] += asked.count("R")
        bad.told[f"{trick}: asked what it has"] += asked.count("H")
        if "R" not in asked:
            raise NotRefused(f"nobody asked the source that sends {trick} for anything: nothing was tried")
        if trick == "rubbish":
            bad.blamed.append((bad.target.name, liar.peer_id, "corrupt_chunk"))


async def tell_holder(host: PeerHost, seller: str, cid: str) -> None:
    """Claim at the seller that one has its package, and gives it to others."""
    stream = await host.open_stream(seller, blob_wire.PROTOCOL, timeout_s=20, max_frame=2**20)
    async with stream:
        await stream.send(blob_wire.short_request(b"A", cid))
        await stream.receive(timeout_s=20)


async def answer(framed: Framed, raw: bytes, trick: str) -> None:
    """What a lying source says."""
    if raw[:1] == b"H":
        await framed.send(b"\0W")
        return
    if raw[:1] != b"R":
        await framed.send(b"\0" + os.urandom(200))
        return
    count = int.from_bytes(raw[-2:], "big")
    await framed.send(b"\0")
    match trick:
        case "rubbish":
            for _ in range(count):
                await framed.send(os.urandom(blob_wire.CHUNK_BYTES))
        case "endless":
            for _ in range(count + 30):
                await framed.send(os.urandom(blob_wire.CHUNK_BYTES + 1))
        case "half":
            await framed._stream.write(blob_wire.CHUNK_BYTES.to_bytes(4, "big") + os.urandom(1_000))
            await framed.reset()
        case _:
            await trio.sleep(30)
