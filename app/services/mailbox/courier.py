"""Sends what waits in the outbox: to the peer itself where it is on, else to a mailbox of it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from openstall.app.logging import get_logger
from openstall.app.services.mailbox.post import Post, as_words
from openstall.app.services.mailbox.sealed import seal
from openstall.market.errors import OpenstallError
from openstall.market.letters import MAX_BODY, Letter, write_letter
from openstall.p2p import mailbox as wire
from openstall.p2p.exchange import RefusedByPeer, encode_refusal, encode_result
from openstall.p2p.host import PeerEvent
from openstall.store.mailbox import KeptLetter
from openstall.store.outbox import POSTED, OutboxRow

TIMEOUT_S = 15.0
ROUND_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
POST_AGAIN_S = 86_400
"""A letter without an answer is brought once more: the mailbox may have lost it, or gone for good."""

log = get_logger("openstall.post")


async def _always(_row: OutboxRow) -> bool:
    return True


@dataclass(slots=True, kw_only=True)
class Courier:
    """`run` sends until it is cancelled."""

    post: Post
    seed: bytes
    network: str
    mailboxes_of: Callable[[str], Awaitable[list[str]]]
    """Who keeps letters for a peer."""
    keep_here: Callable[[KeptLetter], Awaitable[None]]
    """Puts a letter into this node's own mailbox; raises OpenstallError where that keeps none."""
    changed: Callable[[], None]
    """What waits has changed."""
    wanted: Callable[[OutboxRow], Awaitable[bool]] = field(default=_always)
    """Whether something still makes sense; an order that was given up, or signed meanwhile, does not."""
    _news: trio.Event = field(default_factory=trio.Event)
    _under_way: set[str] = field(default_factory=set)
    _again_at: dict[str, float] = field(default_factory=dict)
    _pauses: dict[str, float] = field(default_factory=dict)
    _comings: int = 0

    def wake(self) -> None:
        """There is something new to send."""
        self._news.set()

    async def run(self) -> None:
        """Send at once what is new; again, when a peer comes or after a pause, what did not get through."""
        self.post.wake = self.wake
        async with self.post.host.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, events)
            while True:
                self._news = trio.Event()
                for recipient in await self._due():
                    self._under_way.add(recipient)
                    nursery.start_soon(self._try, recipient)
                with trio.move_on_at(min(self._again_at.values(), default=trio.current_time() + ROUND_S)):
                    await self._news.wait()

    async def _watch(self, events: trio.MemoryReceiveChannel[PeerEvent]) -> None:
        async for _event in events:
            # Whoever came may be a recipient, or the mailbox of one.
            self._comings += 1
            self._again_at.clear()
            self._pauses.clear()
            self._news.set()

    async def _due(self) -> list[str]:
        now = self.post.clock.now()
        if await self.post.workers.store(self.post.outbox.purge, now=now):
            self.changed()
        rows = await self.post.workers.store(self.post.outbox.to_send, posted_before=now - POST_AGAIN_S)
        rows += [
            row
            for peer in self.post.host.peers()
            for row in await self.post.workers.store(self.post.outbox.unanswered, peer.peer_id)
        ]
        wanted = dict.fromkeys(row.recipient for row in rows)
        time = trio.current_time()
        self._again_at = {one: at for one, at in self._again_at.items() if at > time}
        return [one for one in wanted if one not in self._under_way and one not in self._again_at]

    async def _try(self, recipient: str) -> None:
        comings = self._comings
        try:
            done = await self._deliver(recipient)
        finally:
            self._under_way.discard(recipient)
        if done:
            self._again_at.pop(recipient, None)
            self._pauses.pop(recipient, None)
        elif comings == self._comings:  # else somebody came meanwhile: it is tried again at once
            pause_s = self._pauses[recipient] = min(
                2 * self._pauses.get(recipient, FIRST_PAUSE_S / 2), LONGEST_PAUSE_S
            )
            self._again_at[recipient] = trio.current_time() + pause_s
        self._news.set()  # more may have been written meanwhile, or the next try has a time now

    async def _deliver(self, recipient: str) -> bool:
        """In the order in which it was written; whether all of it is on its way."""
        now = self.post.clock.now()
        for row in await self.post.workers.store(self.post.outbox.unanswered, recipient):
            if not await self.wanted(row):
                await self.post.workers.store(self.post.outbox.remove, row.id)
                self.changed()
                continue
            direct = self.post.host.peer(recipient) is not None
            if row.state == POSTED and row.changed_at > now - POST_AGAIN_S and not direct:
                continue
            try:
                await self._send(row, direct=direct)
            except OpenstallError as error:
                log.info("letter waits", recipient=recipient, what=row.what, reason=error.code)
                await self.post.workers.store(self.post.outbox.set_trouble, row.id, as_words(error))
                self.changed()
                return False
            self.changed()
        return True

    async def _send(self, row: OutboxRow, *, direct: bool) -> None:
        if direct:
            await self._directly(row)
            return
        boxes = [one for one in await self.mailboxes_of(row.recipient) if one != row.recipient]
        last: OpenstallError | None = None
        for box in boxes:
            try:
                await self._into(box, row)
            except OpenstallError as error:
                last = error
            else:
                return
        if row.answers or last is None:
            await self._directly(row)
            return
        raise last

    async def _directly(self, row: OutboxRow) -> None:
        """Ask the peer itself, or bring it the answer to its letter."""
        store, post = self.post.workers.store, self.post
        if row.answers:
            sealed = await self.sealed(row)
            await post.pace.turn(row.recipient)
            await wire.put(post.host, row.recipient, to=row.recipient, expires=row.expires, sealed=sealed)
            await store(post.outbox.remove, row.id)
            return
        try:
            answer = encode_result(
                await post.host.request(
                    row.recipient, row.protocol, row.body, timeout_s=TIMEOUT_S, max_response=MAX_BODY
                )
            )
        except RefusedByPeer as error:
            answer = encode_refusal(error)
        if await store(post.outbox.answered, row.id, answer, at=post.clock.now()):
            post.heard()

    async def _into(self, box: str, row: OutboxRow) -> None:
        """Leave the letter in a mailbox."""
        post, sealed = self.post, await self.sealed(row)
        if box == post.peer_id:
            await self.keep_here(
                KeptLetter(
                    id=wire.address_of(sealed),
                    recipient=row.recipient,
                    sender=post.peer_id,
                    expires=row.expires,
                    letter=sealed,
                )
            )
        else:
            await post.pace.turn(box)
            await wire.put(post.host, box, to=row.recipient, expires=row.expires, sealed=sealed)
        await post.workers.store(post.outbox.posted, row.id, box, at=post.clock.now())

    async def sealed(self, row: OutboxRow) -> bytes:
        """The bytes of the letter, the same however often it is brought."""
        if row.sealed is not None:
            return row.sealed
        letter = Letter(
            id=row.id,
            network=self.network,
            sender=self.post.peer_id,
            recipient=row.recipient,
            written=row.written,
            expires=row.expires,
            protocol=row.protocol,
            answers=row.answers,
            body=base64.b64encode(row.body).decode(),
        )
        padded = write_letter(letter, self.seed)
        sealed = seal(padded, row.recipient)
        await self.post.workers.store(self.post.outbox.keep_sealed, row.id, sealed)
        return sealed
