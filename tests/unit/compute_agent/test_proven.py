"""A self-test of the libraries that went well stands as long as nothing has changed, and not longer."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openstall.compute_agent.runtime import Runtime
from openstall.compute_agent.sandbox import proven, selftest
from openstall.compute_agent.sandbox.cgroup import find_scope
from openstall.compute_agent.sandbox.host import Facilities
from openstall.compute_agent.sandbox.plan import Mode
from openstall.market.errors import SandboxError

VERSIONS = {"numpy": "2.1", "torch": "2.13.0"}


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    site, python = tmp_path / "site-packages", tmp_path / "python3.11"
    site.mkdir()
    python.write_bytes(b"")
    return Runtime(root=tmp_path, site_packages=site, python=python, prefix=tmp_path, version="3.11")


def facilities(mode: Mode = "user_namespace") -> Facilities:
    return Facilities(
        bwrap=Path("/usr/bin/bwrap"), mode=mode, scope=find_scope(), filter=b"", filter_with_fork=b"",
        filter_unboxed=b"", filter_gpu=b"", landlock=4,
    )  # fmt: skip


def test_it_stands_for_the_same_machine_and_the_same_libraries(runtime: Runtime) -> None:
    under = proven.conditions(facilities(), runtime)
    assert proven.kept(runtime, under) is None
    proven.keep(runtime, under, VERSIONS)
    assert proven.kept(runtime, proven.conditions(facilities(), runtime)) == VERSIONS
    library = runtime.site_packages / "torch" / "lib" / "libtorch.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"half of it")
    os.utime(runtime.site_packages, ns=(1, 1))
    under = proven.conditions(facilities(), runtime)
    assert proven.kept(runtime, under) is None
    proven.keep(runtime, under, VERSIONS)
    library.write_bytes(b"all of it")
    assert proven.kept(runtime, proven.conditions(facilities(), runtime)) is None


def test_where_the_conditions_cannot_be_read_nothing_is_kept(runtime: Runtime) -> None:
    proven.keep(runtime, proven.conditions(facilities(), runtime), VERSIONS)
    runtime.python.unlink()  # an installation is being put in its place
    under = proven.conditions(facilities(), runtime)
    assert under == {}
    proven.keep(runtime, under, VERSIONS)
    assert proven.kept(runtime, under) is None


def test_another_kind_of_sandbox_is_another_test(runtime: Runtime) -> None:
    proven.keep(runtime, proven.conditions(facilities(), runtime), VERSIONS)
    assert proven.kept(runtime, proven.conditions(facilities("no_namespaces"), runtime)) is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"under":{},"versions":7}', b"\xff" * 100_000])
def test_what_cannot_be_read_proves_nothing(runtime: Runtime, raw: bytes) -> None:
    (runtime.root / "self-test.json").write_bytes(raw)
    assert proven.kept(runtime, proven.conditions(facilities(), runtime)) is None


async def test_the_libraries_are_loaded_once_and_again_when_somebody_asks(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    broken = False

    async def trial(*_: Any, **__: Any) -> SimpleNamespace:
        tried.append("x")
        if broken:
            raise SandboxError("sandbox_failed", "It does not start.")
        return SimpleNamespace(written=b'{"numpy":"2.1","torch":"2.13.0"}', last_line="")

    monkeypatch.setattr(selftest, "trial", trial)
    for fresh, so_far in ((False, 1), (False, 1), (True, 2), (False, 2)):
        check = await selftest._runtime_starts(facilities(), runtime, fresh=fresh)
        assert (check.ok, check.cause) == (True, "numpy 2.1, torch 2.13.0")
        assert len(tried) == so_far
    broken = True
    for so_far in (3, 4):  # what failed is not believed afterwards
        assert not (await selftest._runtime_starts(facilities(), runtime, fresh=so_far == 3)).ok
        assert len(tried) == so_far
