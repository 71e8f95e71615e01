"""Starts the campaign: as this user, and, where this user is root, as an ordinary user too."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOMS = HERE.parents[1]
USER_ID = 1_950_500_000
"""An account that owns nothing but what the campaign gives to it."""

PACKAGES = (
    *("attr", "attrs", "idna", "outcome", "sniffio", "sortedcontainers", "trio"),
    *("msgspec", "platformdirs", "psutil", "pyseccomp"),
)
"""What our code imports in the sandbox's rooms: trio with what it needs, and the rest."""

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

Results = dict[str, dict[str, tuple[str, str]]]
"""Column, attempt: the verdict, and how."""


class Unreadable(Exception):
    """Another user cannot read what the campaign needs."""


def run_as_self(*columns: str) -> Results:
    """The columns of this user."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="openstall-escape-") as name:
        command = [sys.executable, str(HERE / "campaign.py"), f"{name}/stage", *columns]
        return _results(command, dict(os.environ), Path(name))


def run_as_user(*columns: str) -> Results:
    """The columns of an ordinary user. Raises Unreadable where root's files are kept from everybody."""
    if os.geteuid() != 0:
        return run_as_self(*columns)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="openstall-escape-") as name:
        folder = Path(name)
        command, environment = as_user(folder)
        return _results(
            [*command, str(folder / "escape" / "campaign.py"), f"{name}/stage", *columns], environment, folder
        )


def as_user(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The start of a command, and its environment, with copies of our code in `folder` that it can read."""
    python = shutil.which(f"python{VERSION}", path="/usr/bin:/usr/local/bin")
    if python is None or shutil.which("setpriv") is None:
        raise Unreadable(f"no Python {VERSION} of the system, or no setpriv")
    skip = shutil.ignore_patterns("__pycache__")
    for room in ("compute_agent", "learning", "market"):
        shutil.copytree(ROOMS / room, folder / "rooms" / "openstall" / room, ignore=skip)
    shutil.copytree(HERE, folder / "escape", ignore=skip)
    _copy_packages(folder / "packages")
    (folder / "home").mkdir()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER_ID, USER_ID)
    command = ["setpriv", "--reuid", str(USER_ID), "--regid", str(USER_ID), "--clear-groups"]
    command += ["--inh-caps=-all", python]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "PYTHONPATH": f"{folder / 'rooms'}:{folder / 'packages'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    tried = subprocess.run(
        [*command, "-c", "import trio, msgspec, platformdirs, psutil, pyseccomp"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        raise Unreadable(f"another user cannot run our code: {tried.stderr[-300:]}")
    return command, environment


def _copy_packages(folder: Path) -> None:
    """The checkout may lie where its owner alone can read."""
    folder.mkdir()
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise Unreadable(f"the package {name} is not installed")
        source = Path(found.origin)
        if found.submodule_search_locations:
            shutil.copytree(source.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def _results(command: list[str], environment: dict[str, str], folder: Path) -> Results:
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr[-4000:])
    return {
        column: {name: (verdict, words) for name, (verdict, words) in found.items()}
        for column, found in json.loads(ran.stdout).items()
    }
