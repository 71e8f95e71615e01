"""The exact commands by which an owner puts right what the doctor found, for the system at hand."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_MANAGERS = {
    "apt-get": "apt-get update && apt-get install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper --non-interactive install",
    "pacman": "pacman -S --noconfirm",
    "apk": "apk add -U",
}
"""As they work on a machine that has not listed any packages yet, and with nobody at the keyboard."""
_NAMES = {
    "bubblewrap": {},
    "libseccomp": {"apt-get": "libseccomp2", "zypper": "libseccomp2"},
}  # fmt: skip
_COMMAND = re.compile(r"`([^`-][^`]*)`")
_PROFILE = "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict"


def install_command(package: str) -> str:
    """How to install a package here, as one sentence with the command, or with one for each family."""
    known: Mapping[str, str] = _NAMES[package]
    commands = {name: f"{start} {known.get(name, package)}" for name, start in _MANAGERS.items()}
    for name, command in commands.items():
        if shutil.which(name):
            return f"As administrator: `{command}`."
    families = {"apt-get": "Debian, Ubuntu", "dnf": "Fedora", "pacman": "Arch"}
    listed = ", ".join(f"`{commands[name]}` ({family})" for name, family in families.items())
    return f"Install it: {listed}."


def command_in(fix: str) -> str:
    """The command in the words of a fix, to be run as it stands; empty where there is none, or a choice."""
    found = _COMMAND.findall(fix)
    return found[0] if len(found) == 1 else ""


def namespace_advice() -> str:
    """What keeps this user from making namespaces, and the command that allows it."""
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1" and os.geteuid() != 0:
        return (
            "AppArmor keeps programs from making user namespaces. As administrator, allow it for "
            f"bubblewrap: `apt install apparmor-profiles && ln -s {_PROFILE} /etc/apparmor.d/ "
            "&& systemctl reload apparmor`."
        )
    if _setting("kernel/unprivileged_userns_clone") == "0" and os.geteuid() != 0:
        return (
            "User namespaces are switched off. As administrator: `sysctl kernel.unprivileged_userns_clone=1`."
        )
    if _setting("user/max_user_namespaces") == "0":
        return "User namespaces are switched off. As administrator: `sysctl user.max_user_namespaces=15000`."
    return (
        "Inside a container, allow user namespaces (for example `--security-opt seccomp=unconfined`); "
        "inside a chroot they are never allowed. Otherwise update the kernel and bubblewrap."
    )


def _setting(name: str) -> str:
    try:
        return (Path("/proc/sys") / name).read_text("ascii").strip()
    except (FileNotFoundError, PermissionError):
        return ""
