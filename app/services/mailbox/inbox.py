"""Takes letters in: fetched from one's mailboxes, or brought by the sender; each handled once.

A letter is handed to the handler of its protocol as if it had come over a stream from its sender. What that
answers is kept with the letter's id before the mailbox hears that the letter may go: a node that is killed
in between handles it again, which listed requests allow, or finds its own answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from openstall.app.logging import get_logger
from openstall.app.services.mailbox.listed import kind_of
from openstall.app.services.mailbox.post import Post, make_row
from openstall.app.services.mailbox.sealed import unseal
from openstall.market.errors import InvalidOrder, OpenstallError, PeerError, Refused
from openstall.market.letters import MAX_BODY, MAX_CLOCK_SKEW_S, Letter, read_letter
from openstall.p2p import mailbox as wire
from openstall.p2p.exchange import answer_frame, encode_refusal
from openstall.p2p.host import PeerEvent
from openstall.p2p.limits import Rate, RateBudget
from openstall.store.outbox import OutboxRow

FETCH_EVERY_S = 180.0
FETCH_AGAIN_S = 5.0
"""After a mailbox did not answer; twice as long each time, up to the above."""
HANDLER_S = 120.0
MOST_ROUNDS = 64
"""Answers of one mailbox in a row: 128 letters each at most."""
RATE = Rate(per_s=1, burst=100)
"""Letters of one sender."""

log = get_logger("openstall.post")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """When a mailbox was last asked, and why it did not answer."""

    at: int
    trouble: str


@dataclass(slots=True, kw_only=True)
class Inbox:
    """`run` fetches until it is cancelled; `receive` takes one letter."""

    post: Post
    seed: bytes
    network: str
    my_mailboxes: Callable[[], Awaitable[list[str]]]
    changed: Callable[[], None]
    looked: dict[str, Looked] = field(default_factory=dict)
    """By mailbox."""
    _budget: RateBudget = field(default_factory=lambda: RateBudget(RATE))
    _news: trio.Event = field(default_factory=trio.Event)
    _taking: trio.Lock = field(default_factory=trio.Lock)

    def look_now(self) -> None:
        """Ask the mailboxes now: which they are has changed."""
        self._news.set()

    async def run(self) -> None:
        """Fetch at the start, whenever a mailbox connects, and every few minutes."""
        async with self.post.host.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, events)
            pause_s = FETCH_AGAIN_S
            while True:
                self._news = trio.Event()
                boxes = [box for box in await self.my_mailboxes() if box != self.post.peer_id]
                answered = [await self._fetch(box) for box in boxes]
                pause_s = FETCH_AGAIN_S if all(answered) else min(2 * pause_s, FETCH_EVERY_S)
                with trio.move_on_after(FETCH_EVERY_S if all(answered) else pause_s):
                    await self._news.wait()

    async def _watch(self, events: trio.MemoryReceiveChannel[PeerEvent]) -> None:
        async for event in events:
            if event.kind != "disconnected" and event.peer.peer_id in await self.my_mailboxes():
                self._news.set()

    async def _fetch(self, box: str) -> bool:
        """Whether the mailbox answered."""
        trouble = ""
        try:
            for _round in range(MOST_ROUNDS):
                await self.post.pace.turn(box)
                found = await wire.fetch(self.post.host, box)
                ids = [one.id for one in found.letters]
                for one in found.letters:
                    await self._take(one)
                if ids:
                    await self.post.pace.turn(box)
                    await wire.done(self.post.host, box, ids)
                if not found.more:
                    break
        except PeerError as error:
            log.info("mailbox not asked", mailbox=box, reason=error.code)
            trouble = error.message
        self.looked[box] = Looked(at=self.post.clock.now(), trouble=trouble)
        self.changed()
        return not trouble

    async def _take(self, waiting: wire.Waiting) -> None:
        """A letter out of a mailbox; one that is no good is dropped, for it does not get better."""
        try:
            await self.receive(wire.letter_bytes(waiting.letter))
        except OpenstallError as error:
            log.info("letter dropped", reason=error.code)

    async def receive(self, sealed: bytes) -> str:
        """Take a letter in; what it was, in words. Safe to repeat.

        Raises:
            InvalidOrder: it is not for this peer, forged, expired, or holds what may not come as a letter.
        """
        letter = await self.post.workers.work(self._open, sealed)
        async with self._taking:  # in the order of coming: the second message of a sender needs the first
            if letter.answers:
                return await self._take_answer(letter)
            return await self._take_ask(letter)

    def _open(self, sealed: bytes) -> Letter:
        padded = unseal(sealed, self.seed)
        now = self.post.clock.now()
        return read_letter(padded, recipient=self.post.peer_id, network=self.network, now=now)

    async def _take_answer(self, letter: Letter) -> str:
        """The answer to a letter of ours; others are ignored."""
        post = self.post
        row = await post.workers.store(post.outbox.by_id, letter.answers)
        if row is None or row.recipient != letter.sender or row.protocol != letter.protocol:
            return "An answer that nobody waits for (any more)"
        if await post.workers.store(post.outbox.answered, row.id, letter.content, at=post.clock.now()):
            post.heard()
            self.changed()
        return f"Answer: {row.what}"

    async def _take_ask(self, letter: Letter) -> str:
        post = self.post
        kind, served = kind_of(letter.protocol, letter.content), post.served.get(letter.protocol)
        if kind is None or served is None or len(letter.content) > served.max_request:
            raise InvalidOrder(
                "not_by_letter", "That cannot be asked in a letter.", "Ask when both are online."
            )
        before = await post.workers.store(post.outbox.seen, letter.sender, letter.id)
        answer = before[1] if before is not None else await self._handle(letter)
        await post.workers.store(
            post.outbox.take,
            letter.sender,
            letter.id,
            protocol=letter.protocol,
            answer=answer,
            until=letter.expires + MAX_CLOCK_SKEW_S,
            reply=self._reply(letter, answer),
        )
        post.wake()
        self.changed()
        return kind.words

    async def _handle(self, letter: Letter) -> bytes:
        """The answer frame of the protocol's own handler."""
        if not self._budget.take(letter.sender):
            return encode_refusal(Refused("too_many_requests", "That was asked too often.", "Wait a moment."))
        served = self.post.served[letter.protocol]
        return await answer_frame(
            letter.protocol,
            served.handler,
            letter.sender,
            letter.content,
            max_response=min(served.max_response, MAX_BODY - 1),
            timeout_s=HANDLER_S,
        )

    def _reply(self, letter: Letter, answer: bytes) -> OutboxRow:
        now = self.post.clock.now()
        return make_row(letter.sender, letter.protocol, answer, now=now, answers=letter.id)
