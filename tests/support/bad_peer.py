"""A peer whose client checks nothing: what the cases of the campaign (`bad_campaign`) are written with.

A case throws something at a real node and says how it must be refused; anything else is `NotRefused`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mutators
import statements
import trio

from openstall.market import canonical, ids
from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.leaves import LeafTree, leaf_digest, leaf_of
from openstall.market.records import SignedRecord, parse_record
from openstall.p2p import record_wire
from openstall.p2p.framing import Cut, Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.record_server import RecordServer

Plain = dict[str, Any]
DAY_S: Final = 86_400
PATIENCE_S: Final = 60.0
"""How long an honest node may take for what it does in a second when the machine is idle."""
ANSWERED, CUT, NOTHING, HANGS = "answered", "cut", "nothing", "hangs"
AWAY = (CUT, HANGS, "peer_unreachable")


class NotRefused(AssertionError):
    """An honest node let something through, or refused it in another way than the row promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An honest node, as a stranger knows it."""

    name: str
    peer_id: str
    addr: str
    wallet: str


class Shelf:
    """Records as a bad peer offers them: whatever bytes under whatever address."""

    def __init__(self, held: dict[str, bytes], *, withheld: Sequence[str] = ()) -> None:
        self._held = held
        self._listed = sorted({*held, *withheld}, key=lambda cid: (leaf_of(cid), cid))
        self._tree = LeafTree()
        for leaf in {leaf_of(cid) for cid in self._listed}:
            self._tree.put(leaf, leaf_digest([one for one in self._listed if leaf_of(one) == leaf]))

    def lacking(self, cids: Sequence[str]) -> Sequence[str]:
        return [one for one in cids if one not in self._held]

    def bodies(self, cids: Sequence[str]) -> dict[str, bytes]:
        return {one: self._held[one] for one in cids if one in self._held}

    def root(self) -> bytes:
        return self._tree.root()

    def branches(self) -> bytes:
        return self._tree.branches()

    def leaves(self, branch: int) -> bytes:
        return self._tree.leaves(branch)

    def cids(self, first: int, last: int, *, after: str, limit: int) -> Sequence[str]:
        behind = (leaf_of(after), after) if after else (-1, "")
        found = [
            one for one in self._listed if first <= leaf_of(one) <= last and (leaf_of(one), one) > behind
        ]
        return found[:limit]

    def gaps(self) -> Sequence[str]:
        return ()


class Guest:
    """One identity, connected to the target."""

    def __init__(self, bad: Bad, host: PeerHost, seed: bytes) -> None:
        self.bad, self.host, self.seed = bad, host, seed
        self.peer_id = host.peer_id
        self.target = bad.target

    async def ask(self, protocol: str, raw: bytes, *, most: int = 2**22, wait_s: float = 30.0) -> bytes:
        """The result of a request; PeerError, with the other's code where it refused."""
        return await self.host.request(
            self.target.peer_id, protocol, raw, timeout_s=wait_s, max_response=most
        )

    async def says(self, protocol: str, raw: bytes, *, wait_s: float = 30.0) -> str:
        """What becomes of a request: `answered`, the code of the refusal, `cut`, `nothing` or `hangs`."""
        try:
            await self.ask(protocol, raw, wait_s=wait_s)
        except Cut:
            told = CUT
        except PeerError as error:
            told = {"no_answer": NOTHING, "peer_silent": HANGS}.get(error.code, error.code)
        else:
            told = ANSWERED
        self.bad.told[told] += 1
        return told

    async def refused(self, protocol: str, raw: bytes, *codes: str) -> str:
        """A request that must be refused with one of these codes."""
        told = await self.says(protocol, raw)
        if told not in codes:
            raise NotRefused(f"{protocol}: “{told}” where {'/'.join(codes)} was due, to {raw[:300]!r}")
        return told

    async def talk(self, protocol: str, *frames: bytes, wait_s: float = 20.0) -> tuple[str, bytes]:
        """Frames on one stream, and what the other side makes of it: the first frame that comes back."""
        told, got = HANGS, b""
        try:
            with trio.move_on_after(wait_s):
                stream = await self.stream(protocol)
                async with stream:
                    for one in frames:
                        await stream.send(one)
                    answer = await stream.receive(max_frame=2**22)
                told, got = (NOTHING, b"") if answer is None else (ANSWERED, answer)
        except Cut:
            told = CUT
        except PeerError as error:
            told = error.code
        self.bad.told[told] += 1
        return told, got

    async def stream(self, protocol: str) -> Framed:
        """A stream to the target."""
        return await self.host.open_stream(self.target.peer_id, protocol, timeout_s=30, max_frame=2**22)

    async def raw(self, protocol: str, data: bytes, *, wait_s: float) -> str:
        """Bytes that are no frame, on a stream that stays open: how long the other side takes that."""
        stream = await self.stream(protocol)
        told = HANGS
        try:
            with trio.move_on_after(wait_s):
                await stream._stream.write(data)
                told = NOTHING if await stream.receive() is None else ANSWERED
        except Cut:
            told = CUT
        await stream.reset()
        self.bad.told[told] += 1
        return told

    async def shut_out(self) -> None:
        """The target hangs up on this identity, and lets it in no more."""
        with trio.move_on_after(PATIENCE_S):
            while self.host.peer(self.target.peer_id) is not None:  # noqa: ASYNC110 - libp2p tells nobody
                await trio.sleep(0.05)
        if self.host.peer(self.target.peer_id) is not None:
            raise NotRefused("the peer that misbehaved is still connected")
        with contextlib.suppress(PeerError):
            await self.host.connect(self.target.addr, timeout_s=4)
        if await self.says("/openstall/peers/1", b"", wait_s=4) not in AWAY:
            raise NotRefused("the peer that was shut out is let in again")
        self.bad.shut_out.append((self.target.name, self.peer_id))


class Bad:
    """The attacker, in front of one target."""

    def __init__(self, settings: Plain, target: Target) -> None:
        self.settings, self.target = settings, target
        self.network: str = settings["network"]
        self.chain_id: int = settings["chain_id"]
        self.told: Counter[str] = Counter()
        self.shut_out: list[tuple[str, str]] = []
        self.blamed: list[tuple[str, str, str]] = []
        """Which node, whom, and for what: as that node's own log must say."""

    def others(self) -> list[Target]:
        """The other honest nodes."""
        return [one for one in targets(self.settings) if one.name != self.target.name]

    @property
    def live(self) -> Plain:
        """What the honest trade with at this moment: ids of orders, and files that are nobody else's."""
        found: Plain = json.loads(Path(self.settings["live"]).read_text())
        return found

    @asynccontextmanager
    async def guest(
        self,
        *,
        seed: bytes | None = None,
        shelf: Shelf | None = None,
        serve: Callable[[PeerHost], None] | None = None,
        name: str = "",
    ) -> AsyncIterator[Guest]:
        """A new name, connected; what it serves is there before anybody can ask."""
        seed = seed or os.urandom(32)
        host = PeerHost(seed=seed, network=self.network, name=name)
        if shelf is not None:
            RecordServer(host=host, prefix=f"/openstall/{self.network}/records", store=shelf)
        if serve is not None:
            serve(host)
        async with host:
            await host.connect(self.target.addr, timeout_s=PATIENCE_S)
            yield Guest(self, host, seed)

    def records(self, name: str) -> str:
        """The protocol of the catalogue with that name."""
        return f"/openstall/{self.network}/records/{name}/2"

    # --- records ---

    def body(self, kind: str) -> Plain:
        """The body of a valid record of this group."""
        body: Plain = statements.plain_record(kind)["body"]
        body["chain_id"] = self.chain_id
        contracts = self.settings["contracts"]
        body |= {
            name: contracts[name] for name in ("escrow", "channel") if name in body and kind != "request"
        }
        return body

    def plain(self, seed: bytes, kind: str, **changes: Any) -> Plain:
        """A record that holds, but for the changes."""
        now = int(time.time())
        made: Plain = {
            "v": 1,
            "type": kind,
            "network": self.network,
            "author": ids.peer_id_of_seed(seed),
            "key": "self" if kind == "developer" else "model-1",
            "seq": 1,
            "prev": "",
            "issued": now - 60,
            "expires": now + DAY_S,
        }
        if "body" not in changes:
            made["body"] = self.body(kind)
        return made | changes

    def sign(self, seed: bytes, plain: Plain, *, context: str = "", network: str = "") -> tuple[str, bytes]:
        """The address and the wire bytes of a record, whatever it says."""
        content = mutators.encode(plain)
        said = ids.sign(seed, context or plain["type"], network or plain["network"], content)
        return ids.cid_of(content), mutators.encode({"record": plain, "sig": said})

    def record(self, seed: bytes, kind: str, **changes: Any) -> tuple[str, bytes]:
        """A signed record."""
        return self.sign(seed, self.plain(seed, kind, **changes))

    def developer(self, seed: bytes, **changes: Any) -> tuple[str, bytes]:
        """The smallest record there is."""
        body = {"title": "A developer", "skills": "All", "tasks": ["regression"], "places": 1}
        body |= {"wallet": "0x" + "a1" * 20, "chain_id": self.chain_id}
        return self.record(seed, "developer", **{"body": body, **changes})

    async def bring(
        self,
        records: dict[str, bytes],
        *,
        seed: bytes | None = None,
        withheld: Sequence[str] = (),
        then: Callable[[Guest], Awaitable[None]] | None = None,
    ) -> list[str]:
        """Offer records to the target among a good one; which of them it has taken."""
        marker, raw = self.developer(os.urandom(32))
        shelf = Shelf({marker: raw, **records}, withheld=withheld)
        async with self.guest() as scout, self.guest(seed=seed, shelf=shelf) as guest:
            with trio.move_on_after(PATIENCE_S) as late:
                while not await self.held(scout, [marker]):  # noqa: ASYNC110 - another process
                    await trio.sleep(0.1)
            if late.cancelled_caught:
                raise NotRefused("a good record beside the bad ones was not taken")
            self.told["record"] += len(records) + len(withheld)
            if then is not None:
                await then(guest)
            return await self.held(scout, list(records))

    async def held(self, scout: Guest, cids: Sequence[str]) -> list[str]:
        """Which of these the target holds, live or not."""
        found: list[str] = []
        for start in range(0, len(cids), 200):
            asked = record_wire.write_wanted(cids[start : start + 200])
            for raw in record_wire.read_bodies(await scout.ask(self.records("bodies"), asked), 200):
                found += [cid_in(raw)]
        return found

    async def live_of(self, scout: Guest, cids: Sequence[str]) -> list[str]:
        """Which of these the target lists as live."""
        asked = [(leaf, leaf) for leaf in sorted({leaf_of(cid) for cid in cids})]
        answer = await scout.ask(self.records("cids"), record_wire.write_spans(asked, ""))
        listed = record_wire.read_listed(answer, asked, "")[0]
        return [one for one in cids if one in listed]

    async def public(self, scout: Guest, cid: str) -> SignedRecord:
        """An honest record that anybody may read."""
        answer = await scout.ask(self.records("bodies"), record_wire.write_wanted([cid]))
        raw = record_wire.read_bodies(answer, 1)[0]
        return parse_record(raw, network=self.network, now=int(time.time()))


def cid_in(raw: bytes) -> str:
    """The address of a record on the wire; empty for a proof."""
    try:
        return ids.cid_of(canonical.encode(canonical.decode(raw)["record"]))
    except (InvalidRecord, KeyError, TypeError):
        return ""


def targets(settings: Plain) -> list[Target]:
    """The honest nodes."""
    return [Target(**one) for one in settings["targets"]]


Run = Callable[[Bad], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a bad peer does. `against` names the only nodes that it makes sense with."""

    name: str
    run: Run
    against: tuple[str, ...]
    quick: bool


CASES: dict[str, Case] = {}


def case(*, against: Sequence[str] = (), quick: bool = True) -> Callable[[Run], Run]:
    """Enter a function among the cases of the campaign, under its name."""

    def enter(run: Run) -> Run:
        name = str(run.__name__)
        CASES[name] = Case(name=name, run=run, against=tuple(against), quick=quick)
        return run

    return enter
