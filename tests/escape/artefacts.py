"""What a job may leave in its output folder to harm whoever takes it, and a simple collector as control.

Every attack is prepared by us in a plain folder, as if no sandbox had stood in its way.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ALLOWED = {"report.json": 4096, "model.onnx": 1 << 20}
CAP_BYTES = max(ALLOWED.values())
SECRET = "SECRET-of-the-owner"
_WAIT_S = 2


@dataclass(frozen=True, kw_only=True)
class Attack:
    """`leave` fills the output folder; `wallet` is a file of the owner."""

    name: str
    leave: Callable[[Path, Path], None]
    root_only: bool = False


ATTACKS: list[Attack] = []


def attack(
    name: str, *, root_only: bool = False
) -> Callable[[Callable[[Path, Path], None]], Callable[[Path, Path], None]]:
    """Register one."""

    def register(leave: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        ATTACKS.append(Attack(name=name, leave=leave, root_only=root_only))
        return leave

    return register


@attack("symbolic link to the wallet")
def symbolic_link(out: Path, wallet: Path) -> None:
    (out / "report.json").symlink_to(wallet)


@attack("hard link to the wallet")
def hard_link(out: Path, wallet: Path) -> None:
    (out / "report.json").hardlink_to(wallet)


@attack("symbolic link to a folder of the owner")
def linked_folder(out: Path, wallet: Path) -> None:
    (out / "report.json").symlink_to(wallet.parent)


@attack("symbolic link to /proc/self/environ")
def environment(out: Path, _wallet: Path) -> None:
    (out / "report.json").symlink_to("/proc/self/environ")


@attack("symbolic link to /dev/zero")
def endless(out: Path, _wallet: Path) -> None:
    (out / "report.json").symlink_to("/dev/zero")


@attack("FIFO, to make the reader wait for ever")
def fifo(out: Path, _wallet: Path) -> None:
    os.mkfifo(out / "report.json")


@attack("device file", root_only=True)
def device(out: Path, _wallet: Path) -> None:
    os.mknod(out / "report.json", 0o666 | stat.S_IFCHR, os.makedev(1, 5))


@attack("socket file")
def socket_file(out: Path, _wallet: Path) -> None:
    here = Path.cwd()
    os.chdir(out)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("report.json")
    os.chdir(here)


@attack("file larger than allowed")
def large(out: Path, _wallet: Path) -> None:
    (out / "model.onnx").write_bytes(bytes(8 * CAP_BYTES))


@attack("file with holes that claims more than it holds")
def sparse(out: Path, _wallet: Path) -> None:
    with (out / "model.onnx").open("wb") as file:
        file.truncate(8 * CAP_BYTES)


@attack("zip bomb")
def zip_bomb(out: Path, _wallet: Path) -> None:
    with zipfile.ZipFile(out / "model.onnx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.bin", bytes(64 * CAP_BYTES))


@attack("archive with a member called ../evil")
def traversal(out: Path, _wallet: Path) -> None:
    with tarfile.open(out / "model.onnx", "w") as archive:
        member = tarfile.TarInfo("../evil.sh")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))


@attack("archive with a link to the wallet")
def archived_link(out: Path, wallet: Path) -> None:
    with tarfile.open(out / "model.onnx", "w") as archive:
        member = tarfile.TarInfo("weights.bin")
        member.type, member.linkname = tarfile.SYMTYPE, str(wallet)
        archive.addfile(member)


@attack("program that is executable for everybody, setuid")
def program(out: Path, _wallet: Path) -> None:
    (out / "model.onnx").write_bytes(b"#!/bin/sh\n")
    (out / "model.onnx").chmod(0o4755)


@attack("file that was not asked for")
def extra(out: Path, _wallet: Path) -> None:
    (out / "evil.sh").write_text("x")


@attack("folder in the place of a file")
def folder(out: Path, _wallet: Path) -> None:
    (out / "report.json").mkdir()
    (out / "report.json" / "evil.sh").write_text("x")


@attack("hundreds of files")
def many(out: Path, _wallet: Path) -> None:
    for number in range(400):
        (out / f"{number}.json").write_text("")


for _words, _name in {
    "a line break": "report\n.json",
    "terminal codes": "report\x1b[2J.json",
    "text that runs backwards": "report\u202egnp.json",
    "a leading dash": "-rf.json",
    "a leading dot": ".bashrc",
    "a path of Windows": "..\\..\\evil.json",
    "a device name of Windows": "CON.json",
    "letters that look like others": "rep\u043ert.json",
    "a space at the end": "report.json ",
}.items():

    def _leave(out: Path, _wallet: Path, *, name: str = _name) -> None:
        (out / name).write_text("{}")

    attack(f"name with {_words}")(_leave)


SIMPLE = f"""
import resource, shutil, sys, tarfile, zipfile
from pathlib import Path
# an endless copy ends before it harms the machine of the test
resource.setrlimit(resource.RLIMIT_FSIZE, ({128 * CAP_BYTES}, {128 * CAP_BYTES}))
source, target = Path(sys.argv[1]), Path(sys.argv[2])
for path in source.rglob("*"):
    if path.is_dir():
        if path.is_symlink():
            shutil.copytree(path, target / path.name)
        continue
    shutil.copy(path, target / path.name)
for path in list(target.iterdir()):
    if path.is_file() and zipfile.is_zipfile(path):
        zipfile.ZipFile(path).extractall(target)
    elif path.is_file() and tarfile.is_tarfile(path):
        tarfile.open(path).extractall(target)
"""
"""Takes whatever it finds and unpacks what can be unpacked."""


def taken_by_simple_means(out: Path, target: Path) -> str:
    """The harm that it did, in words; empty for none."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", SIMPLE, str(out), str(target)],
        env={"TOKEN": SECRET},
        stderr=subprocess.PIPE,
    )
    try:
        _, said = process.communicate(timeout=_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "it waits for ever"
    if process.returncode != 0 and b"File too large" in said:
        return "it copies without end"
    return harm(target) or ("it stumbles" if process.returncode else "")


def harm(target: Path) -> str:
    """What is wrong with what was taken; empty for nothing."""
    if (target.parent / "evil.sh").exists():
        return "a file outside of the folder"
    found = [_harm_of(path) for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]
    return "".join(found)


def _harm_of(path: Path) -> str:
    facts = path.lstat()
    if path.is_symlink():
        return "a link"
    if facts.st_size > CAP_BYTES:
        return "more bytes than allowed"
    if SECRET.encode() in path.read_bytes():
        return "the secret"
    if facts.st_mode & 0o6111:
        return "a program"
    return "" if path.name in ALLOWED else "a file that was not asked for"


def prepare(folder: Path, chosen: Attack) -> tuple[Path, Path]:
    """The output folder with the attack in it, and an empty folder to take it to."""
    place = folder / "place"
    if place.exists():
        shutil.rmtree(place)
    out, target = place / "out", place / "target" / "taken"
    for path in (out, target, place / "home"):
        path.mkdir(parents=True)
    wallet = place / "home" / "wallet.json"
    wallet.write_text(json.dumps({"secret": SECRET}))
    (out / "report.json").write_text("{}")
    (out / "model.onnx").write_text("model")
    chosen_names = {"report.json", "model.onnx"}
    for name in chosen_names:
        (out / name).unlink()
    chosen.leave(out, wallet)
    for name in chosen_names:
        if not os.path.lexists(out / name):
            (out / name).write_text("{}")
    return out, target
