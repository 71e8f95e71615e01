"""Requests and streams between two peers, with budgets on the serving side.

A request is one frame and a half-close; the answer is one frame whose first byte is 0 for a result
or 1 for a refusal (JSON: code, message, what_next).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec
import trio
from msgspec import Struct

from openstall.market.errors import OpenstallError, PeerError
from openstall.market.schema import NONSENSE
from openstall.p2p.engine import NetStream
from openstall.p2p.framing import Cut, Framed
from openstall.p2p.limits import Budgets, HostLimits, Rate, RateBudget
from openstall.p2p.nurseries import single_errors

Handler = Callable[[str, bytes], Awaitable[bytes]]
StreamHandler = Callable[[str, Framed], Awaitable[None]]
Penalise = Callable[[str, float, str], None]

MAX_REFUSAL = 4096
_OK = b"\0"
_REFUSED = b"\1"
_LATER = "Try again later."
_CODE = re.compile(r"^[a-z0-9_]{1,40}$")

log = logging.getLogger("openstall.p2p")


class _Refusal(Struct, kw_only=True):
    code: str
    message: str
    what_next: str = ""


class RefusedByPeer(PeerError):
    """The other peer answered, and said no. `code` is the other peer's own code."""


def printable(text: str, limit: int) -> str:
    """Another peer's words as one harmless line."""
    return "".join(one if one.isprintable() else " " for one in text[:limit]).strip()


def encode_refusal(error: OpenstallError) -> bytes:
    """The answer frame that says no."""
    refusal = _Refusal(code=error.code, message=error.message[:1000], what_next=error.what_next[:1000])
    return _REFUSED + msgspec.json.encode(refusal)


def encode_result(result: bytes) -> bytes:
    """The answer frame that carries a result."""
    return _OK + result


def decode_answer(frame: bytes) -> bytes:
    """The result inside an answer frame.

    Raises:
        RefusedByPeer: the other peer refused.
        PeerError: `bad_answer`, the frame makes no sense.
    """
    if frame[:1] == _OK:
        return frame[1:]
    nonsense = PeerError("bad_answer", "The other peer's answer makes no sense.", "It may be outdated.")
    if frame[:1] != _REFUSED or len(frame) > MAX_REFUSAL:
        raise nonsense
    try:
        refusal = msgspec.json.decode(frame[1:], type=_Refusal)
    except NONSENSE as error:
        raise nonsense from error
    code = refusal.code if _CODE.match(refusal.code) else "refused"
    raise RefusedByPeer(code, printable(refusal.message, 500), printable(refusal.what_next, 500))


async def answer_frame(
    protocol: str, handler: Handler, peer_id: str, request: bytes, *, max_response: int, timeout_s: float
) -> bytes:
    """The frame that answers a request, whatever its handler does; the same for streams and for letters."""
    try:
        with trio.fail_after(timeout_s):
            result = await handler(peer_id, request)
    except trio.TooSlowError:
        return encode_refusal(PeerError("too_slow", "The answer took too long.", _LATER))
    except OpenstallError as error:
        return encode_refusal(error)
    except Exception:
        log.exception("%s: the handler failed", protocol)
        return encode_refusal(PeerError("internal", "The other peer had an internal error.", _LATER))
    if len(result) > max_response:
        log.error("%s: an answer of %d bytes, %d are allowed", protocol, len(result), max_response)
        return encode_refusal(PeerError("answer_too_large", "The answer is too large to be sent."))
    return encode_result(result)


class Server:
    """The serving side of one protocol: rate, concurrency, sizes and times come before the handler."""

    def __init__(
        self,
        *,
        protocol: str,
        rate: Rate,
        limits: HostLimits,
        busy: Counter[str],
        talking: Counter[str],
        penalise: Penalise,
        budgets: Budgets | None = None,
    ) -> None:
        self.protocol = protocol
        self._budget = RateBudget(rate)
        self._limits = limits
        self._busy = busy
        self._talking = talking
        self._penalise = penalise
        self._budgets = budgets or Budgets(limits)

    def _entrance(self, peer_id: str, under_way: Counter[str], most: int) -> PeerError | None:
        if not self._budget.take(peer_id):
            self._penalise(peer_id, 1.0, "too_many_requests")
            return PeerError("too_many_requests", "That was asked too often.", "Wait a moment and try again.")
        if under_way[peer_id] >= most or self._budgets.work.level(peer_id) < 0:
            return PeerError("busy", "Too many requests are open at once.", "Wait a moment and try again.")
        return None

    async def answer(
        self, stream: NetStream, handler: Handler, *, max_request: int, max_response: int
    ) -> None:
        """Serve one request on a fresh stream; never raises for what the other peer does."""
        peer_id = str(stream.muxed_conn.peer_id)
        framed = Framed(stream, peer_id, max_frame=max_request)
        refusal = self._entrance(peer_id, self._busy, self._limits.max_handlers_per_peer)
        if refusal is not None:
            await self._reply(framed, encode_refusal(refusal))
            return
        with _Counted(self._busy, peer_id), _Lease(self._budgets, peer_id) as lease:
            request = await self._read(framed, peer_id, lease)
            if request is None:
                return
            began = trio.current_time()
            answer = await answer_frame(
                self.protocol,
                handler,
                peer_id,
                request,
                max_response=max_response,
                timeout_s=self._limits.handler_s,
            )
            self._budgets.work.spend(peer_id, trio.current_time() - began)
            await self._reply(framed, answer)

    async def _read(self, framed: Framed, peer_id: str, lease: _Lease) -> bytes | None:
        try:
            request = await framed.receive(timeout_s=self._limits.request_read_s, admit=lease.take)
        except Cut:
            request = None
        except Full as error:
            await self._reply(framed, encode_refusal(error))
            return None
        except PeerError as error:
            self._penalise(peer_id, 20.0 if error.code == "frame_too_large" else 5.0, error.code)
            request = None
        if request is None:
            await framed.reset()
        return request

    async def _reply(self, framed: Framed, frame: bytes) -> None:
        try:
            with trio.move_on_after(self._limits.handler_s) as scope:
                async with framed:
                    await framed.send(frame)
            if scope.cancelled_caught:
                log.debug("%s: the answer was not taken", self.protocol)
        except Cut:
            log.debug("%s: the asker left before the answer", self.protocol)

    async def converse(self, stream: NetStream, handler: StreamHandler, *, max_frame: int) -> None:
        """Serve one streamed exchange; the stream is closed or reset when the handler ends.

        It may last for hours, so it does not count among the requests: many jobs would leave room for none.
        """
        peer_id = str(stream.muxed_conn.peer_id)
        framed = Framed(stream, peer_id, max_frame=max_frame)
        if self._entrance(peer_id, self._talking, self._limits.max_conversations_per_peer) is not None:
            await framed.reset()
            return
        with _Counted(self._talking, peer_id):
            try:
                async with framed:
                    await handler(peer_id, framed)
            except PeerError as error:
                if error.code == "frame_too_large":
                    self._penalise(peer_id, 20.0, error.code)
                log.debug("%s: %s", self.protocol, error.code)
            except OpenstallError as error:
                log.info("%s: refused: %s", self.protocol, error.code)
            except Exception:
                log.exception("%s: the handler failed", self.protocol)


class Full(PeerError):
    """There is no room for a request now."""


class _Lease:
    """The memory of one request until it is answered."""

    def __init__(self, budgets: Budgets, peer_id: str) -> None:
        self._room, self._peer_id, self._size = budgets.room, peer_id, 0

    def take(self, size: int) -> None:
        """Raises `Full`, before anything of that size is read."""
        if not self._room.take(self._peer_id, size):
            raise Full("busy", "Too much is being asked at once.", "Wait a moment and try again.")
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.give_back(self._peer_id, self._size)


class _Counted:
    """How many handlers run for a peer, as a context manager."""

    def __init__(self, counts: Counter[str], key: str) -> None:
        self._counts, self._key = counts, key

    def __enter__(self) -> None:
        self._counts[self._key] += 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._key] -= 1
        if self._counts[self._key] <= 0:
            del self._counts[self._key]


async def ask(framed: Framed, payload: bytes, *, max_response: int) -> bytes:
    """Send a request on a fresh stream and wait for its answer; the caller sets the deadline.

    The answer may come before the request has been taken (a refusal), so both run at once.

    Raises:
        RefusedByPeer, PeerError: as `decode_answer`, or the stream broke.
    """

    async def send() -> None:
        try:
            await framed.send(payload)
            await framed.finish()
        except Cut:
            log.debug("the request was not taken")

    with single_errors():
        async with framed, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            answer = await framed.receive(max_frame=max(max_response + 1, MAX_REFUSAL))
            nursery.cancel_scope.cancel()
            if answer is None:
                raise PeerError("no_answer", "The other peer ended the exchange without an answer.", _LATER)
            return decode_answer(answer)
    raise AssertionError("unreachable: single_errors never swallows")
