"""What a decoder is, and what it is fed with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

Raw = Callable[[bytes], bytes]
MAX_WIRE: Final = 64 * 1024
CID: Final = "b" + "a" * 58


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """One decoder. `json` says that a mutator may change its values rather than its bytes.

    `open` and `close` lead from the bytes to their JSON text and back (base64, a signature that fits again).
    """

    name: str
    about: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    most: int = MAX_WIRE
    json: bool = True
    open: Raw = bytes
    close: Raw = bytes


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


class Bytes:
    """A stream of given bytes that come in pieces."""

    muxed_conn = SimpleNamespace(peer_id="somebody")

    def __init__(self, data: bytes, piece: int) -> None:
        self._data, self._piece = data, piece

    async def read(self, n: int | None = None) -> bytes:
        size = self._piece if n is None else min(n, self._piece)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def reset(self) -> None:
        self._data = b""
