"""What Openstall needs from the system itself, and how to get it on Debian and Ubuntu.

Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

Probe = Callable[[], bool]


class Missing(Exception):
    """System packages are missing and this user may not install them; the message says what to run."""


@dataclass(frozen=True, slots=True)
class Need:
    """A system package by its Debian name, what it is for, and how to see that it is there."""

    package: str
    purpose: str
    present: Probe


def has_program(name: str) -> Probe:
    """The executable is on PATH, or where an ordinary user's PATH does not lead."""
    return lambda: any(shutil.which(name, path=path) for path in (None, "/usr/sbin:/sbin"))


def has_library(soname: str) -> Probe:
    """The dynamic linker finds the library."""

    def present() -> bool:
        try:
            ctypes.CDLL(soname)
        except OSError:
            return False
        return True

    return present


def has_header(name: str) -> Probe:
    """A C compiler would find the header."""
    folders = ["/usr/include", "/usr/local/include", f"/usr/include/{sysconfig.get_config_var('MULTIARCH')}"]
    return lambda: any(Path(folder, name).exists() for folder in folders)


def has_python_header() -> bool:
    """This interpreter's own headers are there."""
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def has_font() -> bool:
    """Qt would find at least one font."""
    folders = ["/usr/share/fonts", "/usr/local/share/fonts"]
    return any(next(Path(folder).rglob(kind), None) for folder in folders for kind in ("*.ttf", "*.otf"))


QT = "the window"
RUN = [
    Need(
        "python3-venv", "environments of our own", lambda: importlib.util.find_spec("ensurepip") is not None
    ),
    Need("bubblewrap", "sandboxed jobs", has_program("bwrap")),
    Need("libseccomp2", "sandboxed jobs", has_library("libseccomp.so.2")),
    Need("util-linux", "sandboxed jobs", has_program("setpriv")),
    Need("xvfb", "screenshots without a display", has_program("Xvfb")),
    Need("fonts-dejavu-core", QT, has_font),
    Need("libdbus-1-3", QT, has_library("libdbus-1.so.3")),
    Need("libegl1", QT, has_library("libEGL.so.1")),
    Need("libfontconfig1", QT, has_library("libfontconfig.so.1")),
    Need("libgl1", QT, has_library("libGL.so.1")),
    Need("libglib2.0-0", QT, has_library("libgthread-2.0.so.0")),
    Need("libxcb-cursor0", QT, has_library("libxcb-cursor.so.0")),
    Need("libxcb-icccm4", QT, has_library("libxcb-icccm.so.4")),
    Need("libxcb-image0", QT, has_library("libxcb-image.so.0")),
    Need("libxcb-keysyms1", QT, has_library("libxcb-keysyms.so.1")),
    Need("libxcb-render-util0", QT, has_library("libxcb-render-util.so.0")),
    Need("libxcb-shape0", QT, has_library("libxcb-shape.so.0")),
    Need("libxcb-xinerama0", QT, has_library("libxcb-xinerama.so.0")),
    Need("libxkbcommon-x11-0", QT, has_library("libxkbcommon-x11.so.0")),
    Need("libx11-6", "seeing when the owner comes back", has_library("libX11.so.6")),
    Need("libxss1", "seeing when the owner comes back", has_library("libXss.so.1")),
]
BUILD = [
    Need("gcc", "building fastecdsa", has_program("gcc")),
    Need("libc6-dev", "building fastecdsa", has_header("stdlib.h")),
    Need("libgmp-dev", "building fastecdsa", has_header("gmp.h")),
    Need("python3-dev", "building fastecdsa", has_python_header),
]

TEST = [
    Need("iproute2", "testing two networks on one machine", has_program("ip")),
    Need("nftables", "testing through routers", has_program("nft")),
    # The program alone; the package "miniupnpd" around it would add a service to this machine.
    Need("miniupnpd-nftables", "testing through routers that open ports", has_program("miniupnpd")),
    Need("libxtst6", "testing with a key that is pressed", has_library("libXtst.so.6")),
]


def ensure(step: Callable[..., None], *, compilers: bool, tests: bool) -> None:
    """Install what is missing, or raise `Missing` with the one command to run.

    `step(label, *commands)` runs commands under a line of progress. Compilers are needed only until the
    application's packages are installed. Nothing is needed outside Linux.
    """
    if sys.platform != "linux":
        return
    missing = [
        need for need in [*RUN, *(BUILD if compilers else []), *(TEST if tests else [])] if not need.present()
    ]
    if not missing:
        return
    names = [need.package for need in missing]
    prefix = install_prefix()
    if prefix is None:
        raise Missing(words(missing))
    step("list of system packages", [*prefix, "apt-get", "-q", "update"])
    step(
        f"{len(names)} system packages: {', '.join(names[:3])} …",
        [*prefix, "apt-get", "-q", "install", "--yes", "--no-install-recommends", *names],
    )
    left = [need for need in missing if not need.present()]
    if left:
        raise Missing(words(left))


def install_prefix() -> list[str] | None:
    """The words before `apt-get` that make it work here without a question, or None if nothing does."""
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return quiet
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    return ["sudo", "-n", *quiet] if asked.returncode == 0 else None


def words(missing: Iterable[Need]) -> str:
    """What is missing, what for, and what to type."""
    missing = list(missing)
    purposes: dict[str, list[str]] = {}
    for need in missing:
        purposes.setdefault(need.purpose, []).append(need.package)
    lines = ["Some system packages are missing:"]
    lines += [f"  for {purpose}: {', '.join(packages)}" for purpose, packages in purposes.items()]
    names = " ".join(need.package for need in missing)
    if shutil.which("apt-get"):
        lines += ["", "Please run this once, then the same command again:", ""]
        sudo = "sudo " if shutil.which("sudo") else ""
        lines += [f"  {sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends {names}"]
        if not sudo:
            lines += ["", "(as root, because there is no sudo here)"]
    else:
        lines += ["", "These are their names on Debian; please install your system's equivalents."]
    return "\n".join(lines)
