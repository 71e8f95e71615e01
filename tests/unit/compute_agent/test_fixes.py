from __future__ import annotations

from pathlib import Path

import pytest

from openstall.compute_agent.sandbox.fixes import install_command


@pytest.mark.parametrize(
    ("manager", "package", "command"),
    [
        ("apt", "bubblewrap", "`apt install bubblewrap`"),
        ("apt", "libseccomp", "`apt install libseccomp2`"),
        ("dnf", "libseccomp", "`dnf install libseccomp`"),
        ("pacman", "bubblewrap", "`pacman -S bubblewrap`"),
    ],
)
def test_the_command_is_that_of_this_system(
    manager: str, package: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / manager).write_text("#!/bin/sh\n")
    (tmp_path / manager).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = install_command(package)
    assert command in said
    assert said.count("`") == 2


def test_on_an_unknown_system_each_family_has_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = install_command("bubblewrap")
    assert all(word in said for word in ("apt install", "dnf install", "pacman -S"))
