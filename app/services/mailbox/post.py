"""The post: asks peers directly where they are on, and keeps a letter where they are off.

It stands before the peer host and looks like it. A request that may travel as a letter (see `listed`) and
finds its peer away is on disk before the caller hears so; the caller asks again in its own time, as it does
of any peer that is away, and gets the answer once that has come. The same request asked twice is one letter.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from openstall.app.clock import Clock
from openstall.app.services.mailbox.listed import LISTED, Kind, kind_of
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.market.fields import DAY_S
from openstall.p2p import mailbox
from openstall.p2p.exchange import Handler, RefusedByPeer, decode_answer
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate
from openstall.store.outbox import ANSWERED, POSTED, WAITING, Outbox, OutboxRow

KEPT = "kept_in_outbox"
"""Code of the error that says: not sent now, but kept; ask again."""
LIFE_S = 14 * DAY_S
ASK_ANEW_S = 900
"""After a refusal by letter the same is asked anew, if the caller still wants it, no sooner than this."""
AWAY = frozenset({"peer_unreachable", "peer_silent", "no_answer", "offline"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The handler of a protocol, for letters."""

    handler: Handler
    max_request: int
    max_response: int


@dataclass(slots=True, kw_only=True)
class Post:
    """Before the host; `Courier` sends and `Inbox` takes in."""

    host: PeerHost
    outbox: Outbox
    workers: Workers
    clock: Clock
    served: dict[str, Served] = field(default_factory=dict)
    wake: Callable[[], None] = lambda: None
    """There is something new to send."""
    pace: Pace = field(default_factory=lambda: Pace(mailbox.RATE))
    """Of all that mailboxes are asked, by whichever part: over their rate they would shut this node out."""
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def peer_id(self) -> str:
        """Our own."""
        return self.host.peer_id

    def listen(self, *listeners: Callable[[], None]) -> None:
        """Call these when an answer has come by letter."""
        self._listeners += listeners

    def heard(self) -> None:
        """An answer has come by letter: those who wait for one ask again now."""
        for listener in self._listeners:
            listener()

    def serve(
        self, protocol: str, handler: Handler, *, max_request: int, max_response: int, per_peer_rate: Rate
    ) -> None:
        """Answer requests of a protocol, and letters with such requests where they are listed."""
        if protocol in LISTED:
            self.served[protocol] = Served(
                handler=handler, max_request=max_request, max_response=max_response
            )
        self.host.serve(
            protocol,
            handler,
            max_request=max_request,
            max_response=max_response,
            per_peer_rate=per_peer_rate,
        )

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, timeout_s: float, max_response: int
    ) -> bytes:
        """Ask a peer one thing; see `PeerHost.request`.

        Raises:
            RefusedByPeer: the other peer refused, now or in a letter.
            PeerError: `kept_in_outbox`, it is off and the request waits; else as the host says.
        """
        kind = kind_of(protocol, payload)
        if kind is None:
            return await self.host.request(
                peer_id, protocol, payload, timeout_s=timeout_s, max_response=max_response
            )
        row = await self.workers.store(self.outbox.by_key, key_of(peer_id, protocol, payload))
        if row is not None and row.answer is not None and row.answer[:1] == b"\0":
            # Asked again after a crash, it is sent again, which listed requests allow.
            await self.workers.store(self.outbox.remove, row.id)
            return _fitting(decode_answer(row.answer), max_response)
        try:
            answer = await self.host.request(
                peer_id, protocol, payload, timeout_s=timeout_s, max_response=max_response
            )
        except RefusedByPeer:
            await self._settle(row)
            raise
        except PeerError as error:
            if error.code not in AWAY:
                raise
            raise await self._keep(peer_id, protocol, payload, kind, row) from error
        await self._settle(row)
        return answer

    async def _settle(self, row: OutboxRow | None) -> None:
        """The peer was asked directly: the letter is for nothing."""
        if row is not None:
            await self.workers.store(self.outbox.remove, row.id)

    async def _keep(
        self, peer_id: str, protocol: str, payload: bytes, kind: Kind, row: OutboxRow | None
    ) -> PeerError:
        now = self.clock.now()
        if row is not None and row.state == ANSWERED and row.answer is not None:
            if now < row.changed_at + ASK_ANEW_S:
                return _refusal_in(row.answer)
            await self.workers.store(self.outbox.remove, row.id)
            row = None
        if row is None:
            row = make_row(peer_id, protocol, payload, kind=kind, now=now)
            if row.expires <= now:
                return PeerError(
                    "peer_unreachable", "The other peer is off, and it is too late for a letter."
                )
            try:
                row = await self.workers.store(self.outbox.add, row)
            except Conflict as error:
                return PeerError(error.code, error.message, error.what_next)
            self.wake()
        return kept(row)


def make_row(
    recipient: str, protocol: str, body: bytes, *, now: int, kind: Kind | None = None, answers: str = ""
) -> OutboxRow:
    """A new row of the outbox: a request, or the answer to a letter."""
    until = min(kind.until or now + LIFE_S, now + LIFE_S) if kind is not None else now + LIFE_S
    return OutboxRow(
        id=secrets.token_hex(16),
        key=key_of(recipient, protocol, body, answers),
        recipient=recipient,
        protocol=protocol,
        what=kind.words if kind is not None else "Answer",
        order_id=kind.order_id if kind is not None else "",
        body=body,
        answers=answers,
        state=WAITING,
        written=now,
        expires=until,
        changed_at=now,
    )


def key_of(recipient: str, protocol: str, body: bytes, answers: str = "") -> str:
    """What makes two requests one and the same."""
    named = f"{recipient}\0{protocol}\0{answers}\0".encode()
    return hashlib.sha256(named + (b"" if answers else body)).hexdigest()


def kept(row: OutboxRow) -> PeerError:
    """What whoever asked is told."""
    where = (
        "A mailbox keeps it until then." if row.state == POSTED else "It is kept here, and sent by itself."
    )
    return PeerError(KEPT, f"The other peer is off. {where}", "Nothing is lost; you can go off too.")


def _refusal_in(answer: bytes) -> PeerError:
    try:
        decode_answer(answer)
    except PeerError as error:
        return error
    return PeerError("bad_answer", "The other peer's answer makes no sense.", "It may be outdated.")


def _fitting(answer: bytes, most: int) -> bytes:
    if len(answer) > most:
        raise PeerError("bad_answer", "The other peer's answer makes no sense.", "It may be outdated.")
    return answer


def as_words(error: OpenstallError) -> str:
    """An error in one line, for the list of what waits."""
    return f"{error.message} {error.what_next}".strip()
