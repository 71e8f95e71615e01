"""The address that IPFS gives a file: UnixFS in dag-pb, CIDv1, SHA-256, raw leaves of 256 KiB, 174 to a node.

It is what `ipfs add --cid-version 1` of Kubo and `ipfs-unixfs-importer` make. py-libp2p's own builder
leaves the sizes in its links empty, so that its addresses are those of nobody else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

LEAF = 256 * 1024
WIDTH = 174
_RAW, _DAG_PB, _SHA2_256 = 0x55, 0x70, bytes([0x12, 0x20])
_FILE = 2


@dataclass(frozen=True, slots=True)
class _Link:
    cid: bytes
    total: int
    """Bytes of the block and of all below it."""
    content: int
    """Bytes of the file in it."""


def cid_of(
    file: BinaryIO, *, leaf: int = LEAF, width: int = WIDTH, on_leaf: Callable[[], None] = lambda: None
) -> str:
    """Read the file to its end and address it. Blocking; memory does not depend on the size.

    `on_leaf` is called for each leaf, and may raise to end it.
    """
    levels: list[list[_Link]] = [[]]
    while data := file.read(leaf):
        on_leaf()
        _add(levels, 0, _link(_RAW, data, total=len(data), content=len(data)), width)
    if not levels[0] and len(levels) == 1:
        return _text(_link(_RAW, b"", total=0, content=0))
    level = 0
    while level < len(levels) - 1 or len(levels[level]) > 1:
        if levels[level]:
            group, levels[level] = levels[level], []
            _add(levels, level + 1, _node(group), width)
        level += 1
    return _text(levels[level][0])


def _add(levels: list[list[_Link]], level: int, link: _Link, width: int) -> None:
    """Put a link into its level; a level that is full becomes a node of the next when one more comes."""
    if level == len(levels):
        levels.append([])
    if len(levels[level]) == width:
        group, levels[level] = levels[level], []
        _add(levels, level + 1, _node(group), width)
    levels[level].append(link)


def _node(links: list[_Link]) -> _Link:
    content = sum(one.content for one in links)
    data = b"\x08" + _varint(_FILE) + b"\x18" + _varint(content)
    data += b"".join(b"\x20" + _varint(one.content) for one in links)
    block = b"".join(
        _field(0x12, _field(0x0A, one.cid) + _field(0x12, b"") + b"\x18" + _varint(one.total))
        for one in links
    ) + _field(0x0A, data)
    return _link(_DAG_PB, block, total=len(block) + sum(one.total for one in links), content=content)


def _link(codec: int, block: bytes, *, total: int, content: int) -> _Link:
    digest = hashlib.sha256(block).digest()
    return _Link(bytes([0x01, codec]) + _SHA2_256 + digest, total, content)


def _text(link: _Link) -> str:
    return "b" + base64.b32encode(link.cid).decode().lower().rstrip("=")


def _field(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
