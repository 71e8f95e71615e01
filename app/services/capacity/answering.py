"""The provider's side of a challenge: who may ask, how often, and the answer."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.capacity import wire
from openstall.app.services.capacity.bonds import Bonds
from openstall.app.services.capacity.claims import claim_of
from openstall.app.services.capacity.testbench import STATES, Proof, Testbench
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.threads import Workers
from openstall.market.capacity import (
    Challenge,
    Commitment,
    Opening,
    allowed_ms,
    opened_segments,
    read_document,
    sha256_of,
    sign_document,
    work_seed,
)
from openstall.market.errors import NotFound, OpenstallError, PeerError, Refused
from openstall.market.fields import BlobRef
from openstall.market.records import MAX_CLOCK_SKEW_S, Capacity, Work
from openstall.p2p.blobs import BlobStore
from openstall.p2p.exchange import encode_refusal, encode_result
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Rate, RateBudget
from openstall.p2p.nurseries import single_errors
from openstall.store.provider_log import ChallengeMet

PER_CHALLENGER = Rate(per_s=6 / 3600, burst=6)
ALTOGETHER = Rate(per_s=30 / 3600, burst=30)
"""However many may ask: a machine spends only so much of an hour on proving itself."""
_LEASED = ("funded", "running")

log = get_logger("openstall.capacity")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A challenge that is answered, and the folder for it."""

    peer_id: str
    challenge: Challenge
    claim: Capacity
    place: Path


@dataclass(slots=True)
class _Course:
    """When a challenge came, and after how long the answer was on its way; None before that."""

    began: float
    committed_ms: int | None = None


@dataclass(slots=True, kw_only=True)
class Answering:
    """Serves `/openstall/challenge/1`."""

    me: Party
    peers: PeerHost
    desk: OrderDesk
    catalogue: Catalogue
    bonds: Bonds
    bench: Testbench
    blobs: BlobStore
    access: BlobAccess
    folder: Path
    workers: Workers
    clock: Clock
    held_back: Callable[[], str]
    """Why the owner lets nothing run for others now; empty where it may."""
    met: Callable[[ChallengeMet], Awaitable[None]]
    """Called with how a challenge went, as far as this side can tell."""
    _working: trio.CancelScope | None = None
    _each: RateBudget = field(init=False)
    _all: RateBudget = field(init=False)
    _busy: bool = False

    def __post_init__(self) -> None:
        self._each, self._all = RateBudget(PER_CHALLENGER), RateBudget(ALTOGETHER)

    def serve(self) -> None:
        """Answer challengers from now on."""
        self.peers.serve_stream(
            wire.PROTOCOL, self._answer, max_frame=wire.MAX_FRAME, per_peer_rate=wire.RATE
        )

    def give_way(self) -> None:
        """The owner wants the machine: a challenge ends at once, and its challenger is told why."""
        if self._working is not None:
            self._working.cancel()

    async def _answer(self, peer_id: str, stream: Framed) -> None:
        asked = wire.decode(await stream.receive(timeout_s=wire.FIRST_FRAME_S))
        try:
            challenge = read_document(
                asked, Challenge, what="challenge", network=self.me.network, author=peer_id
            )
            claim = await self._admit(peer_id, challenge)
        except OpenstallError as error:
            await stream.send(encode_refusal(error))
            return
        given: list[str] = []
        course, failure = _Course(trio.current_time()), None
        asked = _Asked(
            peer_id=peer_id,
            challenge=challenge,
            claim=claim,
            place=self.folder / f"challenge-{secrets.token_hex(6)}",
        )
        try:
            self._busy = True
            await self._converse(stream, asked, given, course)
        except OpenstallError as error:
            failure = error
            log.info("challenge not answered", challenger=peer_id, code=error.code)
            with suppress(PeerError):
                await stream.send(encode_refusal(error))
        finally:
            with trio.CancelScope(shield=True):
                await self.workers.work(shutil.rmtree, asked.place, ignore_errors=True)
                for cid in given:
                    await self.blobs.remove(cid)
        await self._note(asked, course, failure)

    async def _note(self, asked: _Asked, course: _Course, failure: OpenstallError | None) -> None:
        """Keep how it went, for this node's own books; the verdict is the challenger's."""
        allowed = allowed_ms(asked.claim, rtt_ms=0)
        took_ms = course.committed_ms
        if took_ms is None:
            took_ms = round((trio.current_time() - course.began) * 1000)
        outcome = _outcome(course, failure, in_time=took_ms <= allowed)
        if outcome:
            await self.met(
                ChallengeMet(
                    challenge=sha256_of(asked.challenge),
                    order_id=asked.challenge.order,
                    outcome=outcome,
                    elapsed_ms=took_ms,
                    allowed_ms=allowed,
                    at=self.clock.now(),
                )
            )

    async def _admit(self, peer_id: str, challenge: Challenge) -> Capacity:
        """The claim that is put to the test.

        Raises:
            OpenstallError: not for this node, not by somebody who may ask, or too often.
        """
        fresh = abs(challenge.at - self.clock.now()) <= MAX_CLOCK_SKEW_S
        if challenge.provider != self.me.peer_id or challenge.challenger != peer_id or not fresh:
            raise Refused("bad_challenge", "The challenge is addressed to another peer, or its date is off.")
        # Also a claim that has expired since: it binds as long as a lease goes on that began before.
        record = await self.catalogue.held(challenge.claim)
        if record is None or record.record.author != self.me.peer_id:
            raise NotFound("no_such_claim", "This peer has made no such claim.")
        claim = claim_of(record)
        if not (await self._leases(peer_id, challenge.order) or await self._is_oracle(peer_id, claim)):
            raise Refused(
                "challenge_not_allowed",
                "Only a buyer with a paid job on this machine, or an oracle of its bond, may challenge it.",
            )
        if words := self.held_back():
            raise _paused(words)
        if self._busy:
            raise Refused("challenge_busy", "Another challenge is being answered.", "Try again in a moment.")
        if not (self._each.take(peer_id) and self._all.take("all")):
            raise Refused("too_many_challenges", "This machine was challenged often enough.", "Try later.")
        return claim

    async def _leases(self, peer_id: str, order_id: str) -> bool:
        order = await self.desk.find(order_id) if order_id else None
        return (
            order is not None
            and (order.role, order.kind, order.other) == ("seller", "compute", peer_id)
            and order.state in _LEASED
        )

    async def _is_oracle(self, peer_id: str, claim: Capacity) -> bool:
        bond = await self.bonds.behind(claim, self.me.peer_id)
        return bond is not None and await self.bonds.wallet_of(peer_id) in bond.oracles

    async def _converse(self, stream: Framed, asked: _Asked, given: list[str], course: _Course) -> None:
        challenge, claim = asked.challenge, asked.claim
        proofs = await self._prove_while_there(stream, asked)
        await stream.send(encode_result(wire.encode(self._commit(challenge, proofs))))
        course.committed_ms = round((trio.current_time() - course.began) * 1000)
        secret = _check_secret(await stream.receive(timeout_s=wire.SECRET_S), challenge)
        drawn = [opened_segments(secret, proof.digests) for proof in proofs]
        states = []
        for at, (work, opened) in enumerate(zip(claim.works, drawn, strict=True)):
            folder = asked.place / str(at)
            await self.bench.cut(folder / STATES, work, opened, folder / "opened.bin")
            info = await self.blobs.add_file(folder / "opened.bin")
            given.append(info.cid)
            self.access.grant(info.cid, asked.peer_id)
            states.append(BlobRef(cid=info.cid, size=info.size, sha256=info.sha256))
        await stream.send(encode_result(wire.encode(msgspec.to_builtins(Opening(states=states)))))
        await stream.receive(timeout_s=wire.FETCH_S)

    async def _prove_while_there(self, stream: Framed, asked: _Asked) -> list[Proof]:
        """The proofs of all works, which run at once; they end with the challenger's patience."""
        claim = asked.claim
        proofs: list[Proof | None] = [None] * len(claim.works)
        within_s = 2 * allowed_ms(claim, rtt_ms=0) / 1000

        async def prove(at: int, work: Work) -> None:
            seed = work_seed(asked.challenge.seed, at)
            proofs[at] = await self.bench.prove(work, seed, keep=asked.place / str(at), within_s=within_s)

        try:
            with trio.CancelScope() as self._working, single_errors():
                async with trio.open_nursery() as watch:
                    watch.start_soon(_end_when_left, stream)
                    async with trio.open_nursery() as nursery:
                        for at, work in enumerate(claim.works):
                            nursery.start_soon(prove, at, work)
                    watch.cancel_scope.cancel()
            if self._working.cancelled_caught:
                raise _paused(self.held_back())
        finally:
            self._working = None
            self._busy = False  # the next challenger need not wait until this one has checked
        return [proof for proof in proofs if proof is not None]

    def _commit(self, challenge: Challenge, proofs: list[Proof]) -> dict[str, Any]:
        commitment = Commitment(
            challenge=sha256_of(challenge), digests=[list(proof.digests) for proof in proofs]
        )
        return sign_document(commitment, what="commitment", network=self.me.network, seed=self.me.seed)


def _outcome(course: _Course, failure: OpenstallError | None, *, in_time: bool) -> str:
    """`passed`, `too_slow` or `refused`; empty where it was the challenger's or the owner's doing."""
    if failure is None:
        return "passed" if in_time else "too_slow"
    if failure.code == wire.PAUSED or course.committed_ms is not None:
        return ""
    if isinstance(failure, PeerError):
        return "" if in_time else "too_slow"
    return "refused"


def _paused(words: str) -> Refused:
    return Refused(wire.PAUSED, f"The owner has taken the machine back for now. {words}".strip())


async def _end_when_left(stream: Framed) -> None:
    """Nothing is due from the challenger before the commitment: whatever comes ends the work."""
    await stream.receive()
    raise PeerError("challenger_left", "The challenger left before the answer.")


def _check_secret(raw: bytes | None, challenge: Challenge) -> str:
    value = wire.decode(raw)
    try:
        secret = msgspec.convert(value, wire.Secret).secret
    except msgspec.ValidationError as error:
        raise PeerError("bad_frame", "The challenger sent something that makes no sense.") from error
    if hashlib.sha256(secret.encode()).hexdigest() != challenge.secret_sha256:
        raise PeerError("wrong_secret", "The challenger showed another secret than it had sealed.")
    return secret
