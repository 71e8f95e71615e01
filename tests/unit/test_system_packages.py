from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import system_packages

    yield system_packages
    sys.modules.pop("system_packages", None)


def test_names_what_is_missing_and_the_one_command(packages: ModuleType) -> None:
    needs = [
        packages.Need("bubblewrap", "sandboxed jobs", lambda: False),
        packages.Need("xvfb", "screenshots without a display", lambda: False),
    ]
    text = packages.words(needs)
    assert "for sandboxed jobs: bubblewrap" in text
    assert "bubblewrap xvfb" in text


def test_probes_see_what_is_there_and_what_is_not(packages: ModuleType) -> None:
    assert packages.has_program("sh")()
    assert not packages.has_program("no-such-program")()
    assert not packages.has_library("libno-such-library.so.9")()
    assert not packages.has_header("no-such-header.h")()


@pytest.mark.skipif(sys.platform != "linux", reason="system packages are only asked for on Linux")
def test_one_who_may_not_install_is_told_and_nothing_is_run(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(packages, "RUN", [packages.Need("bubblewrap", "jobs", lambda: False)])
    monkeypatch.setattr(packages, "install_prefix", lambda: None)
    with pytest.raises(packages.Missing, match="bubblewrap"):
        packages.ensure(lambda label, *_commands: ran.append(label), compilers=False, tests=False)
    assert ran == []
