"""The way to a group's chain over the peer network: the host's gateway and the members' transport.

A request is one JSON-RPC call; the host's gateway lets only reads and signed transactions through. One
call is our own: `openstall_awaitHead` answers when the chain has grown beyond a number, so that members
need not ask again and again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import trio

from openstall.app.threads import Workers
from openstall.ledger import gateway
from openstall.ledger.transport import JsonValue, RpcRefusal, read_answer
from openstall.market.errors import ChainError, PeerError
from openstall.p2p.host import PeerHost
from openstall.p2p.limits import Pace, Rate

PROTOCOL = "/openstall/chain/1"
MAX_REQUEST_BYTES = 256 * 1024
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
CALL_TIMEOUT_S = 20.0
AWAIT_HEAD_S = 20.0
AWAIT_HEAD = "openstall_awaitHead"
HOST_IN_TROUBLE = -32001
"""Code of the ledger's gateway where the chain itself could not answer: nothing was refused."""
_NOTHING_LOST = "Your money is safe; what was signed is sent as soon as the host is back."
RATE = Rate(per_s=100, burst=1_000)


class ChainHost(Protocol):
    """What the ledger's group hosts offer."""

    def handle(self, method: str, params: list[Any]) -> JsonValue:
        """One allowed call; ChainError if it is refused."""


class HeadBoard:
    """The height of the hosted chain, for all who wait for the next block."""

    def __init__(self) -> None:
        self.number = -1
        self._grown = trio.Event()

    def grow(self, number: int) -> None:
        """The chain has this many blocks now. Call from the trio thread."""
        if number > self.number:
            self.number = number
            self._grown.set()
            self._grown = trio.Event()

    async def beyond(self, number: int, *, timeout_s: float) -> int:
        """The height, as soon as it is above `number`, or after the time-out as it is."""
        with trio.move_on_after(timeout_s):
            while self.number <= number:
                await self._grown.wait()
        return self.number


class Gateway:
    """Serves the hosted chain to members. `host` is None while this node hosts none."""

    def __init__(self, *, workers: Workers, board: HeadBoard) -> None:
        self.host: ChainHost | None = None
        self._workers = workers
        self._board = board

    def serve(self, peers: PeerHost) -> None:
        """Offer the protocol on a host."""
        peers.serve(
            PROTOCOL,
            self._on_request,
            max_request=MAX_REQUEST_BYTES,
            max_response=MAX_RESPONSE_BYTES,
            per_peer_rate=RATE,
        )

    async def _on_request(self, _peer_id: str, raw: bytes) -> bytes:
        host = self.host
        if host is None:
            raise ChainError("not_host", "This peer does not host a chain.", "Ask for a new invitation.")
        number = _awaited_number(raw)
        if number is not None:
            height = await self._board.beyond(number, timeout_s=AWAIT_HEAD_S)
            return json.dumps({"result": height}).encode()
        content = await self._workers.chain(gateway.answer, host.handle, raw)
        if len(content) > MAX_RESPONSE_BYTES:
            raise ChainError("answer_too_large", "The answer is too large.", "Ask for fewer blocks.")
        return content


class MemberTransport:
    """JSON-RPC to the host's gateway. Call it from worker threads only: it blocks."""

    def __init__(
        self, *, find_host: Callable[[], PeerHost], peer_id: str, token: trio.lowlevel.TrioToken
    ) -> None:
        self._find_host = find_host
        self._peer_id = peer_id
        self._token = token
        self._pace = Pace(RATE)

    def __call__(self, method: str, params: list[Any]) -> JsonValue:
        """One call; ChainError when the host is away, RpcRefusal when the chain says no."""
        try:
            return trio.from_thread.run(self.call, method, params, trio_token=self._token)
        except trio.RunFinishedError as error:
            raise ChainError("node_stopping", "The node is stopping.") from error

    async def call(self, method: str, params: list[Any], timeout_s: float = CALL_TIMEOUT_S) -> JsonValue:
        """The same from the trio thread."""
        await self._pace.turn(self._peer_id)
        return await self._ask(method, params, timeout_s)

    async def _ask(self, method: str, params: list[Any], timeout_s: float) -> JsonValue:
        payload = json.dumps({"id": 1, "method": method, "params": params}, separators=(",", ":")).encode()
        try:
            content = await self._find_host().request(
                self._peer_id, PROTOCOL, payload, timeout_s=timeout_s, max_response=MAX_RESPONSE_BYTES
            )
        except PeerError as error:
            raise ChainError(
                "chain_unreachable",
                f"The peer who hosts the group's chain cannot be reached: {error.message}",
                _NOTHING_LOST,
            ) from error
        try:
            return read_answer(content)
        except RpcRefusal as error:
            if error.rpc_code == HOST_IN_TROUBLE:
                raise ChainError("chain_unreachable", error.message, _NOTHING_LOST) from error
            raise

    async def await_head(self, number: int) -> int:
        """The chain's height, as soon as it is above `number` (or after a while as it is)."""
        answer = await self._ask(AWAIT_HEAD, [number], timeout_s=AWAIT_HEAD_S + CALL_TIMEOUT_S)
        if not isinstance(answer, int):
            raise ChainError("bad_answer", "The host of the chain gave a malformed height.")
        return answer


def _awaited_number(raw: bytes) -> int | None:
    """The number in a call that waits for the next block; None for every other call."""
    if AWAIT_HEAD.encode() not in raw[:200]:
        return None
    try:
        value = json.loads(raw)
        number = value["params"][0] if value["method"] == AWAIT_HEAD else None
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return number if isinstance(number, int) else None
