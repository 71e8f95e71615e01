"""The hash tree of RFC 9162 (section 2.1) over SHA-256: its root, and proofs that an entry is in it.

An entry is hashed behind a zero byte and two hashes behind a one, so that no entry passes for a node.
The tree hides nothing by itself: what must stay sealed carries a salt in each entry (`sealed_leaf`).
This module needs the standard library alone: the sandbox sees it too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
SALT_BYTES: Final = 16
MOST_LEAVES: Final = 2**32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry as it stands at the foot of the tree."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over hashes of entries, in one pass that holds one hash for each level of the tree."""
    peaks: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, whole = 1, leaf
        while peaks and peaks[-1][0] == size:
            whole = node_hash(peaks.pop()[1], whole)
            size *= 2
        peaks.append((size, whole))
    if not peaks:
        return EMPTY_ROOT
    root = peaks.pop()[1]
    while peaks:
        root = node_hash(peaks.pop()[1], root)
    return root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes beside the way from entry `index` up to the root, the lowest first.

    Raises:
        IndexError: there is no such entry.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    beside: list[bytes] = []
    level, place = list(leaves), index
    while len(level) > 1:
        if place ^ 1 < len(level):
            beside.append(level[place ^ 1])
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
        place //= 2
    return tuple(beside)


def is_included(*, root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `leaf` (a hash, see `leaf_hash`) is entry `index` of the `size` entries under `root`.

    The root does not prove the size: whoever commits to a root commits to the number of entries beside it.
    """
    if not 0 <= index < size <= MOST_LEAVES or any(len(part) != HASH_BYTES for part in (leaf, *proof)):
        return False
    place, last, found = index, size - 1, leaf
    for beside in proof:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = node_hash(beside, found)
            while place % 2 == 0 and place:
                place //= 2
                last //= 2
        else:
            found = node_hash(found, beside)
        place //= 2
        last //= 2
    return last == 0 and found == root


def salt_of(seed: bytes, index: int) -> bytes:
    """The salt of entry `index`; all of them follow from one seed, and none from another."""
    return hmac.digest(seed, index.to_bytes(8, "big"), "sha256")[:SALT_BYTES]


def sealed_leaf(salt: bytes, cells: Sequence[str]) -> bytes:
    """The hash of a row of texts behind its salt, the row as canonical JSON (RFC 8785).

    Raises:
        ValueError: the salt has another length, or a cell is not Unicode.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 16 bytes")
    return leaf_hash(salt + json.dumps(list(cells), ensure_ascii=False, separators=(",", ":")).encode())
