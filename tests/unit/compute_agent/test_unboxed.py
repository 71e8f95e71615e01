from __future__ import annotations

import dataclasses
import fcntl
import os
from pathlib import Path

import pytest

from openstall.compute_agent.sandbox.host import own_interpreter
from openstall.compute_agent.sandbox.plan import Entry, Plan
from openstall.compute_agent.sandbox.unboxed import Place, remove_tree, sweep, tasks_of, unboxed_command
from openstall.compute_agent.specs import Limits
from openstall.market.errors import SandboxError


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def plan(place: Path, **fields: object) -> Plan:
    return Plan(
        entry=Entry(module="m"),
        runtime=own_interpreter(),
        inputs=place,
        params=b"",
        limits=Limits(),
        mode="no_namespaces",
        **fields,  # type: ignore[arg-type]
    )


def test_a_hostile_tree_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "hostile"
    root.mkdir()
    (root / "shut").mkdir()
    (root / "shut" / "file").write_text("x")
    (root / "shut").chmod(0)
    (root / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").write_text("x")
    here = Path.cwd()
    os.chdir(root)
    for _ in range(1500):  # deeper than Python's own removal goes, and than a path can say
        os.mkdir("d" * 200)  # noqa: PTH102
        os.chdir("d" * 200)
    os.chdir(here)
    remove_tree(root)
    assert not root.exists()
    assert (tmp_path / "kept").exists()


def test_a_place_is_private_and_goes_away() -> None:
    place = Place.make()
    assert place.root.stat().st_mode & 0o777 == 0o700
    place.remove()
    assert not place.root.exists()


def test_what_a_killed_agent_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    left, used = tmp_path / "openstall-job-left", tmp_path / "openstall-job-used"
    left.mkdir()
    used.mkdir()
    fd = os.open(used, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    place = Place.make()
    sweep()
    os.close(fd)
    assert not left.exists()
    assert used.exists()
    assert place.root.exists()
    place.remove()


def test_a_job_that_forks_needs_namespaces(tmp_path: Path) -> None:
    place = Place.make()
    with pytest.raises(SandboxError) as caught:
        unboxed_command(plan(tmp_path, allow_fork=True), place, seccomp_fd=9, events_fd=8)
    place.remove()
    assert caught.value.code == "needs_namespaces"


def test_the_command_holds_every_layer(tmp_path: Path) -> None:
    place = Place.make()
    command = " ".join(unboxed_command(plan(tmp_path), place, seccomp_fd=9, events_fd=8))
    place.remove()
    assert '"seccomp_fd": 9' in command
    assert '"needed": true' in command
    assert '"remove": false' in command
    assert f'"parent": {os.getpid()}' in command
    assert dataclasses.replace(plan(tmp_path), without=frozenset({"landlock"})).without


def test_own_tasks_are_counted() -> None:
    assert tasks_of(os.geteuid()) >= 1
