"""A real disk that is too small: a file system of a few megabytes in memory, made and removed by a test."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """A file system of its own, and a file that takes its room away."""

    path: Path

    @property
    def free_bytes(self) -> int:
        """Room that is left."""
        return shutil.disk_usage(self.path).free

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Take all room but so much."""
        with (self.path / "filler").open("ab") as file:
            size = file.tell()
            while self.free_bytes > leave_bytes:
                step = min(max(self.free_bytes - leave_bytes, 1), BLOCK)
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        return
                    raise
                size += step

    def free(self) -> None:
        """Give all of it back."""
        (self.path / "filler").unlink()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one at `folder`; the test is skipped where that is not possible."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root on Linux only")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "openstall-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts no file system in memory: {done.stderr.strip()}")
    try:
        yield SmallDisk(path=folder)
    finally:
        # Lazily, where a process that is ending still holds a file there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
