"""The RPC of the owner's own IPFS node on this machine (Kubo's `/api/v0`): add and pin a file, unpin it.

The RPC governs the whole node and knows no password, so it is asked on loopback alone, at the address that
the owner typed, past any proxy, and no redirect is followed. All of it blocks: it is for a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import trio

from openstall.market import text
from openstall.market.errors import OpenstallError
from openstall.market.schema import NONSENSE

MAX_ANSWER = 64 * 1024
WAIT_S, WORK_S = 30.0, 300.0
"""A node may work on a large file for a while after its last byte."""
_ADDRESS = re.compile(r"^[A-Za-z0-9]{40,100}\Z")
_ADD = {
    "cid-version": "1",
    "raw-leaves": "true",
    "pin": "true",
    "chunker": "size-262144",
    "cid-base": "base32",
    "progress": "false",
}


class _Added(msgspec.Struct):
    address: str = msgspec.field(name="Hash")


class _Trouble(msgspec.Struct):
    message: str = msgspec.field(name="Message", default="")


Count = Callable[[int], None]
"""Is told how many bytes were read."""


class NodeTrouble(OpenstallError):
    """The owner's IPFS node is away, or did not do what it was asked."""


class _Read:
    """A file that is read until the one who waits for it gives up."""

    def __init__(self, file: BinaryIO, count: Count) -> None:
        self._file = file
        self._count = count
        self.fileno = file.fileno
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        trio.from_thread.check_cancelled()
        data = self._file.read(size)
        self._count(self._file.tell())
        return data


def add(node: str, file: BinaryIO, count: Count) -> str:
    """Give a file to the node and have it pinned; the address that the node gives it.

    Raises:
        NodeTrouble: with what the node says.
    """
    raw = _asked(node, "add", _ADD, {"file": ("file", _Read(file, count), "application/octet-stream")})
    try:
        lines = [msgspec.json.decode(line, type=_Added) for line in raw.splitlines() if line]
    except NONSENSE as error:
        raise _no_node(node) from error
    if len(lines) != 1 or not _ADDRESS.match(lines[0].address):
        raise _no_node(node)
    return lines[0].address


def unpin(node: str, address: str) -> None:
    """Let the node drop a file; no error where it does not hold it any more.

    Raises:
        NodeTrouble: with what the node says.
    """
    try:
        _asked(node, "pin/rm", {"arg": address}, None)
    except NodeTrouble as error:
        if "not pinned" not in error.message:
            raise


def _asked(
    node: str, verb: str, params: dict[str, str], files: dict[str, tuple[str, _Read, str]] | None
) -> bytes:
    import httpx  # late: a node that names no IPFS node never needs it

    try:
        with (
            httpx.Client(
                trust_env=False, follow_redirects=False, timeout=httpx.Timeout(WAIT_S, read=WORK_S)
            ) as client,
            client.stream("POST", f"{node}/api/v0/{verb}", params=params, files=files) as answer,  # type: ignore[arg-type]
        ):
            got = bytearray()
            for data in answer.iter_bytes():
                got += data
                if len(got) > MAX_ANSWER:
                    raise _no_node(node)
            if answer.status_code != 200:
                raise _refused(node, answer.status_code, bytes(got))
            return bytes(got)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NodeTrouble(
            "ipfs_node_away",
            f"Your IPFS node at {node} does not answer.",
            "Start it, or name another: openstall blobs ipfs --node …",
        ) from error


def _refused(node: str, status: int, raw: bytes) -> NodeTrouble:
    try:
        said = msgspec.json.decode(raw, type=_Trouble).message
    except NONSENSE:
        said = ""
    if not said:
        return _no_node(node)
    words = text.clean(said)[:300]
    return NodeTrouble(
        "ipfs_node_refuses", f"Your IPFS node says: {words} (status {status}).", "Look at the node itself."
    )


def _no_node(node: str) -> NodeTrouble:
    return NodeTrouble(
        "no_ipfs_node_there",
        f"What answers at {node} is not the RPC of an IPFS node.",
        "Kubo's has port 5001 as a rule, its gateway port 8080.",
    )
