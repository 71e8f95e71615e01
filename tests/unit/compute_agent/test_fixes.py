from __future__ import annotations

from pathlib import Path

import pytest

from openstall.compute_agent.sandbox.fixes import command_in, install_command, namespace_advice


@pytest.mark.parametrize(
    ("manager", "package", "command"),
    [
        ("apt-get", "bubblewrap", "apt-get update && apt-get install -y bubblewrap"),
        ("apt-get", "libseccomp", "apt-get update && apt-get install -y libseccomp2"),
        ("dnf", "libseccomp", "dnf install -y libseccomp"),
        ("pacman", "bubblewrap", "pacman -S --noconfirm bubblewrap"),
    ],
)
def test_the_command_is_that_of_this_system(
    manager: str, package: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / manager).write_text("#!/bin/sh\n")
    (tmp_path / manager).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = install_command(package)
    assert command_in(said) == command


def test_on_an_unknown_system_each_family_has_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = install_command("bubblewrap")
    assert all(word in said for word in ("apt-get install", "dnf install", "pacman -S"))
    assert command_in(said) == ""


def test_an_option_to_be_given_to_something_else_is_no_command() -> None:
    assert command_in("Start it with `--security-opt seccomp=unconfined`.") == ""
    assert command_in(namespace_advice()).partition(" ")[0] in ("", "apt", "sysctl")
