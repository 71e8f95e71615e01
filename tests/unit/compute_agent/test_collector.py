from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openstall.compute_agent.collector import collect
from openstall.market.errors import SandboxError

ALLOWED = {"model.onnx": 1000, "report.json": 100}


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder a job left, with both wanted files in it."""
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"m" * 600)
    (folder / "report.json").write_bytes(b"{}")
    (tmp_path / "taken").mkdir()
    return folder


@pytest.fixture
def left_fd(left: Path) -> Iterator[int]:
    fd = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_wanted_files_are_taken_with_size_and_hash(left_fd: int, tmp_path: Path) -> None:
    taken = collect(left_fd, ALLOWED, tmp_path / "taken")
    assert [(item.name, item.size) for item in taken] == [("model.onnx", 600), ("report.json", 2)]
    assert taken[0].sha256 == hashlib.sha256(b"m" * 600).hexdigest()
    assert (tmp_path / "taken" / "model.onnx").read_bytes() == b"m" * 600


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(left: Path) -> None:
        (left / "report.json").unlink()
        make(left / "report.json")

    return spoil


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{(fd := os.open(path.parent, os.O_PATH))}/{path.name}")
        os.close(fd)


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def flood(left: Path) -> None:
    for number in range(500):
        (left / f"f{number}").touch()


SPOILERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "symbolic link out": (replace_by(lambda p: p.symlink_to("/etc/passwd")), "output_not_plain"),
    "symbolic link to a sibling": (replace_by(lambda p: p.symlink_to("model.onnx")), "output_not_plain"),
    "dangling link": (replace_by(lambda p: p.symlink_to("nowhere")), "output_not_plain"),
    "hard link": (replace_by(lambda p: p.hardlink_to(p.parent / "model.onnx")), "output_not_plain"),
    "FIFO": (replace_by(os.mkfifo), "output_not_plain"),
    "socket": (replace_by(make_socket), "output_not_plain"),
    "folder": (replace_by(Path.mkdir), "output_not_plain"),
    "huge sparse file": (replace_by(make_sparse), "output_too_large"),
    "missing": (lambda left: (left / "report.json").unlink(), "output_missing"),
    "too large": (replace_by(lambda p: p.write_bytes(b"x" * 101)), "output_too_large"),
    "extra file": (lambda left: (left / "evil.sh").touch(), "output_unexpected"),
    "extra name with a newline": (lambda left: (left / "a\nb").touch(), "output_unexpected"),
    "extra name with escapes": (lambda left: (left / "x\x1b[2J").touch(), "output_unexpected"),
    "extra folder": (lambda left: (left / "sub").mkdir(), "output_unexpected"),
    "a flood of names": (flood, "output_unexpected"),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_hostile_folders_are_refused_whole(name: str, left: Path, left_fd: int, tmp_path: Path) -> None:
    spoil, code = SPOILERS[name]
    spoil(left)
    with pytest.raises(SandboxError) as caught:
        collect(left_fd, ALLOWED, tmp_path / "taken")
    assert caught.value.code == code
    assert list((tmp_path / "taken").iterdir()) == []
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message


def test_holes_within_the_cap_are_refused(left: Path, left_fd: int, tmp_path: Path) -> None:
    with (left / "model.onnx").open("wb") as file:
        file.truncate(1 << 20)
    with pytest.raises(SandboxError) as caught:
        collect(left_fd, {"model.onnx": 1 << 30, "report.json": 100}, tmp_path / "taken")
    assert caught.value.code == "output_not_plain"


def test_a_file_at_the_destination_is_never_overwritten(left_fd: int, tmp_path: Path) -> None:
    (tmp_path / "taken" / "report.json").write_text("mine")
    with pytest.raises(SandboxError) as caught:
        collect(left_fd, ALLOWED, tmp_path / "taken")
    assert caught.value.code == "output_not_stored"


def test_the_list_itself_must_be_plain(left_fd: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a name"):
        collect(left_fd, {"../../x.y": 10}, tmp_path / "taken")
