"""What a group chain keeps on disk, so that a kill at any moment loses nothing that was confirmed.

* `wal-<block>.log`: one line per block (time, parent hash, raw transactions in order), on disk before
  the block is mined. Mining is deterministic, so replaying a line gives the identical block.
* `state-<block>.json.gz`: anvil's state after a block, written beside and renamed; two are kept, with
  the lines since the older one. A damaged newer state therefore costs time, not data.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedWriter
from itertools import pairwise
from pathlib import Path

import msgspec

from openstall.ledger.private_files import sync_folder, write_private
from openstall.market.errors import StoreError

KEEP_STATES = 2
MAX_LINE_BYTES = 64 * 1024 * 1024


class MinedBlock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One block as the journal has it; `at` is its Unix time, `parent` the hash before it."""

    number: int
    at: int
    parent: str
    raw: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Where to begin after a start: a state as anvil dumped it (None: the genesis), and what follows."""

    state: bytes | None
    blocks: list[MinedBlock]


class Journal:
    """The files of one chain. Used by one thread only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BufferedWriter | None = None
        self.bytes_since_state = 0
        self.state_bytes = 0

    def recover(self) -> Recovery:
        """Choose the newest sound state and the blocks after it; opens the journal for appending.

        Raises:
            StoreError: a line in the middle is damaged, or blocks are missing.
        """
        blocks = {block.number: block for block in self._read_all()}
        for path in reversed(self._states()):
            packed = _sound(path)
            if packed is not None:
                self.state_bytes = len(packed)
                return self._recovery(packed, _number_of(path), blocks)
        if self._states() and 1 not in blocks:
            raise _damaged(self._folder)
        return self._recovery(None, 0, blocks)

    def append(self, block: MinedBlock) -> None:
        """Put a block on disk. It may be mined only after this returns.

        Raises:
            StoreError: the disk is full; then the block must not be mined.
        """
        content = msgspec.json.encode(block)
        line = b"%08x %s\n" % (zlib.crc32(content), content)
        if self._file is None:
            self._file = (self._folder / f"wal-{block.number:012d}.log").open("ab")
            sync_folder(self._folder)
        start = self._file.tell()
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut_back(start)
            raise StoreError(
                "disk_full", "The disk of the group's host is full: nothing more is mined."
            ) from error
        self.bytes_since_state += len(line)

    def save_state(self, number: int, packed: bytes) -> None:
        """Keep anvil's own (gzip) dump after block `number`; drop what is no longer needed.

        Raises:
            StoreError: the disk is full; the older state still stands.
        """
        write_private(self._folder / f"state-{number:012d}.json.gz", packed)
        self.close()
        states = self._states()
        for path in states[:-KEEP_STATES]:
            path.unlink()
        oldest = _number_of(states[-KEEP_STATES]) if len(states) >= KEEP_STATES else 0
        journals = self._journals()
        for path, following in pairwise(journals):
            if _number_of(following) <= oldest + 1:
                path.unlink()
        self.bytes_since_state, self.state_bytes = 0, len(packed)

    def close(self) -> None:
        """Close the journal file; the next block begins another."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _recovery(self, state: bytes | None, number: int, blocks: dict[int, MinedBlock]) -> Recovery:
        following = sorted(later for later in blocks if later > number)
        if following != list(range(number + 1, number + 1 + len(following))):
            raise _damaged(self._folder)
        chosen = [blocks[later] for later in following]
        self.bytes_since_state = sum(sum(map(len, block.raw)) for block in chosen)
        return Recovery(state=state, blocks=chosen)

    def _read_all(self) -> Iterator[MinedBlock]:
        for path in self._journals():
            yield from _read(path)

    def _cut_back(self, start: int) -> None:
        """Remove half a line, so that the next one does not follow rubbish."""
        if self._file is None:
            return
        path = Path(self._file.name)
        try:
            self._file.close()
        except OSError:  # flushing the rest fails again: those bytes are cut off next
            self._file.close()
        self._file = None
        os.truncate(path, start)

    def _states(self) -> list[Path]:
        return sorted(self._folder.glob("state-*.json.gz"))

    def _journals(self) -> list[Path]:
        return sorted(self._folder.glob("wal-*.log"))


def _read(path: Path) -> Iterator[MinedBlock]:
    """The lines of a file. Half a line at its end was never mined and is cut off; others must be sound."""
    good = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):
                break
            good += len(line)
            yield _parse(line, path)
    if path.stat().st_size > good:
        os.truncate(path, good)


def _parse(line: bytes, path: Path) -> MinedBlock:
    checksum, _, content = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(content):
        raise _damaged(path)
    try:
        return msgspec.json.decode(content, type=MinedBlock)
    except msgspec.DecodeError as error:
        raise _damaged(path) from error


def _sound(path: Path) -> bytes | None:
    """A packed state, or None when it is damaged."""
    try:
        packed = path.read_bytes()
        json.loads(gzip.decompress(packed))
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    return packed


def _number_of(path: Path) -> int:
    return int(path.name.partition("-")[2].partition(".")[0])


def _damaged(path: Path) -> StoreError:
    return StoreError(
        "chain_damaged",
        f"The group's chain on disk is damaged ({path.name}).",
        "Restore the folder from a back-up. Members keep their own signed orders.",
    )
