"""The challenger's side: ask, take the time by one's own clock, fetch the states, compute them again here."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.services.capacity import wire
from openstall.app.services.capacity.claims import Claims, claim_of
from openstall.app.services.capacity.network_speed import Line, round_trip_ms
from openstall.app.services.capacity.testbench import Testbench
from openstall.app.services.checking import Tell
from openstall.app.services.orders.placing import Party
from openstall.app.threads import Workers
from openstall.market.capacity import (
    Challenge,
    Commitment,
    Opening,
    Verdict,
    allowed_ms,
    fits,
    opened_segments,
    read_document,
    sha256_of,
    sign_document,
    work_seed,
)
from openstall.market.errors import InvalidOrder, InvalidRecord, PeerError
from openstall.market.records import Capacity, SignedRecord, Work
from openstall.market.schema import fit
from openstall.p2p.exchange import RefusedByPeer, decode_answer
from openstall.p2p.framing import Framed
from openstall.p2p.host import PeerHost
from openstall.store.verdicts import Verdicts

OPEN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of one challenge; `evidence` lets anybody check a verdict that speaks of an answer."""

    verdict: Verdict
    signed: dict[str, Any]
    evidence: dict[str, Any]
    line: dict[str, int] = field(default_factory=dict)
    """What the challenger saw of the line on the way; no part of the verdict."""

    @property
    def passing(self) -> bool:
        """Whether to try again before anything follows from it: away, or busy with others."""
        verdict = self.verdict
        return verdict.outcome == "silent" or (verdict.outcome == "refused" and verdict.code in wire.PASSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One challenge, and what only the challenger knows of it."""

    challenge: Challenge
    claim: Capacity
    secret: str
    limit_ms: int
    progress: Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """The opened states of one work, as they were fetched; `cid` where they are removed after the check."""

    work: Work
    seed: str
    digests: list[str]
    opened: list[int]
    path: Path
    cid: str


@dataclass(slots=True)
class _Course:
    """How far one challenge came."""

    shown: list[_Shown] = field(default_factory=list)

    outcome: str = "silent"
    code: str = ""
    elapsed_ms: int = 0
    commitment: dict[str, Any] | None = None
    line: Line = field(default_factory=Line)


@dataclass(slots=True, kw_only=True)
class Challenging:
    """Puts other machines to the test."""

    me: Party
    peers: PeerHost
    claims: Claims
    bench: Testbench
    verdicts: Verdicts
    workers: Workers
    clock: Clock

    async def challenge(self, record: SignedRecord, *, order_id: str, progress: Tell) -> Heard:
        """Challenge a claim's author once, and keep the signed verdict.

        Raises:
            SandboxError: this node cannot check the answer; nothing is said about the provider then.
        """
        claim, provider = claim_of(record), record.record.author
        secret = secrets.token_hex(32)
        challenge = Challenge(
            network=self.me.network,
            claim=record.cid,
            provider=provider,
            challenger=self.me.peer_id,
            order=order_id,
            seed=secrets.token_hex(32),
            secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
            at=self.clock.now(),
        )
        course = _Course()
        asked: _Asked | None = None
        peer = self.peers.peer(provider)
        limit_ms = allowed_ms(claim, rtt_ms=round(peer.latency_ms or 0) if peer else 0)
        try:
            async with await self.peers.open_stream(
                provider, wire.PROTOCOL, timeout_s=OPEN_S, max_frame=wire.MAX_FRAME
            ) as stream:
                course.outcome, course.code = "refused", "stream_cut"
                asked = _Asked(
                    challenge=challenge, claim=claim, secret=secret, limit_ms=limit_ms, progress=progress
                )
                await self._converse(stream, asked, course)
        except RefusedByPeer as error:
            course.outcome = "silent" if error.code == wire.PAUSED else "refused"
            course.code = error.code[:40]
        except (InvalidRecord, InvalidOrder) as error:
            course.outcome, course.code = "wrong", error.code[:40]
        except PeerError as error:
            # A peer that is there but knows no challenges has no business claiming anything.
            there = course.outcome == "refused" or error.code == "not_supported"
            away = error.code == "peer_unreachable"
            course.outcome = "refused" if there and not away else "silent"
            course.code = error.code[:40]
        if asked is not None and course.shown:
            fault = await self._check(asked, course.shown)
            course.outcome, course.code = ("wrong", fault[:40]) if fault else ("passed", "")
        return await self._conclude(challenge, secret, course, limit_ms)

    async def _converse(self, stream: Framed, asked: _Asked, course: _Course) -> None:
        asked.progress("Waiting for the provider's answer")
        challenge = asked.challenge
        question = sign_document(challenge, what="challenge", network=self.me.network, seed=self.me.seed)
        began = trio.current_time()
        await stream.send(wire.encode(question))
        raw = None
        with trio.move_on_after(asked.limit_ms / 1000) as patience:
            raw = await stream.receive()
        course.elapsed_ms = round((trio.current_time() - began) * 1000)
        if patience.cancelled_caught:
            course.outcome, course.code = "too_slow", ""
            return
        if raw is None:
            return
        course.commitment = wire.decode(decode_answer(raw))
        commitment = read_document(
            course.commitment,
            Commitment,
            what="commitment",
            network=self.me.network,
            author=challenge.provider,
        )
        if commitment.challenge != sha256_of(challenge) or not _fit(asked.claim, commitment):
            raise InvalidRecord("wrong_commitment", "The answer belongs to another challenge.")
        await stream.send(wire.encode({"secret": asked.secret}))
        raw = await stream.receive(timeout_s=wire.OPENING_S)
        if raw is None:
            return
        opening = fit(wire.decode(decode_answer(raw)), Opening, "opening")
        shown: list[_Shown] = []
        try:
            await self._fetch(asked, commitment, opening, course.line, shown)
        except BaseException:
            await self._forget(shown)
            raise
        course.shown = shown

    async def _fetch(
        self, asked: _Asked, commitment: Commitment, opening: Opening, line: Line, shown: list[_Shown]
    ) -> None:
        """Bring the opened states here; the provider keeps them only while the stream is open."""
        if len(opening.states) != len(asked.claim.works):
            raise InvalidRecord("states", "The provider does not show the states of every work.")
        parts = zip(asked.claim.works, commitment.digests, opening.states, strict=True)
        for at, (work, digests, blob) in enumerate(parts):
            opened = opened_segments(asked.secret, digests)
            if blob.size != len(opened) * work.size**2:
                raise InvalidRecord("states", "The provider shows something else than the opened states.")
            asked.progress("Fetching what the provider must show")
            # What was here before is not ours to remove, whatever the provider says that it is.
            known = self.claims.blobs.have(blob.cid)
            began = trio.current_time()
            path = await self.claims.fetch(blob, asked.challenge.provider, blob.size)
            if not known:
                line.add(blob.size, trio.current_time() - began)
            seed = work_seed(asked.challenge.seed, at)
            shown.append(
                _Shown(
                    work=work,
                    seed=seed,
                    digests=list(digests),
                    opened=opened,
                    path=path,
                    cid="" if known else blob.cid,
                )
            )

    async def _check(self, asked: _Asked, shown: list[_Shown]) -> str:
        """What is wrong with the answer; empty where all is right."""
        try:
            for one in shown:
                fault = await self.bench.check(
                    one.work, one.seed, one.digests, one.opened, one.path, progress=asked.progress
                )
                if fault:
                    return fault
        finally:
            await self._forget(shown)
        return ""

    async def _forget(self, shown: list[_Shown]) -> None:
        with trio.CancelScope(shield=True):
            for one in shown:
                if one.cid:
                    await self.claims.blobs.remove(one.cid)

    async def _conclude(self, challenge: Challenge, secret: str, course: _Course, limit_ms: int) -> Heard:
        verdict = Verdict(
            network=challenge.network,
            challenge=sha256_of(challenge),
            claim=challenge.claim,
            provider=challenge.provider,
            challenger=challenge.challenger,
            order=challenge.order,
            outcome=course.outcome,
            code=course.code,
            elapsed_ms=course.elapsed_ms,
            allowed_ms=limit_ms,
            at=self.clock.now(),
        )
        signed = sign_document(verdict, what="verdict", network=self.me.network, seed=self.me.seed)
        evidence = {
            "challenge": msgspec.to_builtins(challenge),
            "secret": secret,
            "commitment": course.commitment,
        }
        course.line.rtt_ms = round_trip_ms(self.peers, challenge.provider)
        line = course.line.as_dict()
        kept = {**signed, "evidence": evidence, "line": line}
        await self.workers.store(self.verdicts.keep, msgspec.to_builtins(verdict), kept)
        return Heard(verdict=verdict, signed=signed, evidence=evidence, line=line)


def _fit(claim: Capacity, commitment: Commitment) -> bool:
    return len(commitment.digests) == len(claim.works) and all(
        fits(work, digests) for work, digests in zip(claim.works, commitment.digests, strict=True)
    )
