from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pytest

from openstall.ledger.journal import Journal, MinedBlock
from openstall.market.errors import StoreError


def block(number: int) -> MinedBlock:
    return MinedBlock(
        number=number, at=1000 + number, parent=f"0x{number:064x}", raw=["0x02" + "ab" * number]
    )


def written(folder: Path, *numbers: int) -> Journal:
    journal = Journal(folder)
    for number in numbers:
        journal.append(block(number))
    return journal


def numbers(folder: Path) -> list[int]:
    return [found.number for found in Journal(folder).recover().blocks]


def damaged(folder: Path) -> None:
    with pytest.raises(StoreError) as error:
        Journal(folder).recover()
    assert error.value.code == "chain_damaged"


def test_blocks_come_back_in_order_also_after_reopening(tmp_path: Path) -> None:
    written(tmp_path, 1, 2).close()
    written(tmp_path, 3).close()
    recovery = Journal(tmp_path).recover()
    assert recovery.state is None
    assert recovery.blocks == [block(1), block(2), block(3)]


def test_half_a_line_at_any_place_is_cut_off(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3).close()
    (path,) = tmp_path.glob("wal-*.log")
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = [number for number, end in enumerate(ends, start=1) if end <= length]
        assert numbers(tmp_path) == kept
        assert path.stat().st_size == max([0, *(end for end in ends if end <= length)])


def test_a_changed_byte_in_a_whole_line_is_never_passed_over(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3).close()
    (path,) = tmp_path.glob("wal-*.log")
    whole = path.read_bytes()
    for place in range(0, len(whole) - 1, 7):
        if whole[place] == 10:
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if whole[place] ^ 1 != 10:
            damaged(tmp_path)


def test_a_missing_block_is_noticed(tmp_path: Path) -> None:
    written(tmp_path, 1).close()
    written(tmp_path, 3).close()
    damaged(tmp_path)


def test_two_states_are_kept_and_the_older_serves_when_the_newer_is_damaged(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(1, 10):
        journal.append(block(number))
        if number in (3, 5, 8):
            journal.save_state(number, gzip.compress(b'{"at": %d}' % number))
    journal.close()
    assert sorted(path.name for path in tmp_path.glob("state-*")) == [
        "state-000000000005.json.gz",
        "state-000000000008.json.gz",
    ]
    recovery = Journal(tmp_path).recover()
    assert recovery.state is not None
    assert gzip.decompress(recovery.state) == b'{"at": 8}'
    assert [found.number for found in recovery.blocks] == [9]

    newest = tmp_path / "state-000000000008.json.gz"
    newest.write_bytes(newest.read_bytes()[:-4])
    recovery = Journal(tmp_path).recover()
    assert recovery.state is not None
    assert gzip.decompress(recovery.state) == b'{"at": 5}'
    assert [found.number for found in recovery.blocks] == [6, 7, 8, 9]

    (tmp_path / "state-000000000005.json.gz").write_bytes(b"rubbish")
    damaged(tmp_path)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written(tmp_path, 1)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError) as error:
            journal.append(block(2))
    assert error.value.code == "disk_full"
    journal.append(block(2))
    journal.close()
    assert numbers(tmp_path) == [1, 2]
