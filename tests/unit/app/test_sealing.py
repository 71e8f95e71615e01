"""Sealed packages: whole and unchanged, or nothing at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from openstall.app.services import keys, sealing
from openstall.market.errors import InvalidOrder, StoreError

MIB = 1024 * 1024


@pytest.fixture
def package(tmp_path: Path) -> list[Path]:
    """A model larger than a frame, a text, and an empty file."""
    sizes = {"model.onnx": 2 * MIB + 17, "README.md": 40, "empty.txt": 0}
    paths = []
    for name, size in sizes.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size))
        paths.append(path)
    return paths


def sealed(package: list[Path], folder: Path) -> tuple[Path, bytes]:
    key = secrets.token_bytes(32)
    blob = folder / "blob"
    sealing.seal(package, blob, key)
    return blob, key


def test_files_come_back_exactly(package: list[Path], tmp_path: Path) -> None:
    blob, key = sealed(package, tmp_path)
    entries = [sealing.describe(path) for path in package]
    out = sealing.unseal(blob, key, entries, tmp_path / "out")
    assert [path.read_bytes() for path in out] == [path.read_bytes() for path in package]


@pytest.mark.parametrize("change", ["flip", "cut", "cut_frame", "append", "swap", "key"])
def test_a_changed_blob_does_not_open(package: list[Path], tmp_path: Path, change: str) -> None:
    blob, key = sealed(package, tmp_path)
    raw = bytearray(blob.read_bytes())
    frame, start = MIB + 17, 24
    match change:
        case "flip":
            raw[MIB] ^= 1
        case "cut":
            del raw[-5:]
        case "cut_frame":
            del raw[start + frame :]
        case "append":
            raw += b"x" * 50
        case "swap":
            raw[start : start + 2 * frame] = (
                raw[start + frame : start + 2 * frame] + raw[start : start + frame]
            )
        case "key":
            key = secrets.token_bytes(32)
    blob.write_bytes(raw)
    entries = [sealing.describe(path) for path in package]
    with pytest.raises(InvalidOrder) as caught:
        sealing.unseal(blob, key, entries, tmp_path / "out")
    assert caught.value.code == "wrong_files"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("lie", ["hash", "short", "long", "missing"])
def test_a_lying_manifest_is_found_out(package: list[Path], tmp_path: Path, lie: str) -> None:
    blob, key = sealed(package, tmp_path)
    entries = [sealing.describe(path) for path in package]
    first = entries[0]
    changed = {
        "hash": {"sha256": "0" * 64, "size": first.size},
        "short": {"sha256": first.sha256, "size": first.size - 1},
        "long": {"sha256": first.sha256, "size": first.size + 1},
    }
    if lie == "missing":
        entries = entries[:1]
    else:
        entries[0] = type(first)(name=first.name, **changed[lie])  # type: ignore[arg-type]
    with pytest.raises(InvalidOrder):
        sealing.unseal(blob, key, entries, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_with_words_and_leaves_nothing(package: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "blob"
    target.symlink_to("/dev/full")
    with pytest.raises(StoreError) as caught:
        sealing.seal(package, target, secrets.token_bytes(32))
    assert caught.value.code == "disk_full"
    assert not target.is_symlink()


def test_the_key_opens_only_for_its_order_and_only_the_signed_one() -> None:
    seed = bytes(range(32))
    package_key = keys.package_key(seed, "salt")
    commitment = hashlib.sha256(package_key).hexdigest()
    delivered = sealing.seal_key(package_key, keys.box_public(seed, "a" * 32))
    assert len(delivered) == 80
    assert sealing.open_key(delivered, keys.box_secret(seed, "a" * 32), commitment) == package_key
    with pytest.raises(InvalidOrder):
        sealing.open_key(delivered, keys.box_secret(seed, "b" * 32), commitment)
    with pytest.raises(InvalidOrder) as caught:
        wrong = sealing.seal_key(secrets.token_bytes(32), keys.box_public(seed, "a" * 32))
        sealing.open_key(wrong, keys.box_secret(seed, "a" * 32), commitment)
    assert caught.value.code == "wrong_key"
    with pytest.raises(InvalidOrder):
        sealing.open_key(b"", bytes(PrivateKey.generate()), commitment)
