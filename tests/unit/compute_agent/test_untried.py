"""Sandboxes that nobody has run: well formed as far as that can be seen here, and closed to jobs."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from openstall.compute_agent.sandbox import appcontainer, host, seatbelt, untried
from openstall.compute_agent.sandbox.fixes import command_in
from openstall.compute_agent.sandbox.seatbelt import SYSTEM, Ground, profile
from openstall.compute_agent.sandbox.untried import attempt, mechanism, start_bare, trial
from openstall.compute_agent.specs import GIB, Limits
from openstall.market.errors import Conflict, SandboxError

TOKEN = re.compile(r'\s*(?:(?P<string>#?"(?:[^"\\]|\\.)*")|(?P<bracket>[()])|(?P<word>[^\s()"]+))')
GROUND = Ground(
    python=Path("/opt/py/bin/python3.11"),
    read=(Path("/opt/py"), Path('/Users/a "b"\\c/runtime')),
    write=(Path("/private/tmp/job"),),
)


def parsed(text: str) -> list[Any]:
    """The expressions of a profile; fails where brackets or quotes do not close."""
    stack: list[list[Any]] = [[]]
    at = 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        assert found is not None, text[at : at + 40]
        at = found.end()
        if found["bracket"] == "(":
            stack.append([])
        elif found["bracket"] == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(found["string"] or found["word"])
    assert len(stack) == 1
    return stack[0]


def paths_in(rules: list[Any], operation: str, kind: str) -> set[str]:
    """The paths that an operation is allowed on."""
    named = [rule for rule in rules if rule[0] == "allow" and operation in rule]
    found = [part[1] for rule in named for part in rule[2:] if isinstance(part, list) and part[0] == kind]
    return {text[1:-1].replace('\\"', '"').replace("\\\\", "\\") for text in found}


def test_the_profile_denies_all_and_allows_what_the_plan_names_and_nothing_else() -> None:
    rules = parsed(profile(GROUND))
    assert rules[:2] == [["version", "1"], ["deny", "default"]]
    system = {str(path) for path in SYSTEM}
    read, write = ({str(path) for path in paths} for paths in (GROUND.read, GROUND.write))
    assert paths_in(rules, "file-read*", "subpath") == system | read | write
    assert paths_in(rules, "file-map-executable", "subpath") == system | read
    assert paths_in(rules, "file-write*", "subpath") == write
    assert paths_in(rules, "process-exec", "literal") == {str(GROUND.python)}
    above = paths_in(rules, "file-read-metadata", "literal")
    assert all(PurePosixPath(path) in {p for one in (*SYSTEM, *GROUND.read, *GROUND.write, GROUND.python)
                                       for p in one.parents} for path in above)  # fmt: skip
    allowed = {word for rule in rules if rule[0] == "allow" for word in rule[1:] if isinstance(word, str)}
    assert allowed == {
        *("file-read*", "file-map-executable", "file-read-metadata", "file-write*", "process-exec"),
        *("sysctl-read", "ipc-posix-shm-read-data", "ipc-posix-shm-write-create"),
        "ipc-posix-shm-write-unlink",
    }
    denied = {rule[1] for rule in rules if rule[0] == "deny"}
    assert {"default", "process-fork", "network*", "mach-lookup", "signal"} == denied


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\n(allow network*)", "/a\x00b", "/a\u202eb"])
def test_a_path_that_is_more_than_a_path_makes_no_profile(path: str) -> None:
    with pytest.raises(SandboxError, match="cannot stand in a sandbox profile"):
        profile(Ground(python=Path("/p"), read=(Path(path),), write=()))


def test_a_quote_in_a_path_does_not_end_its_string() -> None:
    rules = parsed(profile(Ground(python=Path("/p"), read=(Path('/x") (allow network*) ("'),), write=())))
    assert ["allow", "network*"] not in rules
    assert not any(rule[0] == "allow" and "network*" in rule for rule in rules)


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (appcontainer.BasicLimits, 64),
        (appcontainer.ExtendedLimits, 144),
        (appcontainer.CpuRate, 8),
        (appcontainer.Capabilities, 24),
        (appcontainer.Startup, 112),
        (appcontainer.Process, 24),
    ],
)
def test_structures_have_the_sizes_of_the_64_bit_windows_abi(
    structure: type[ctypes.Structure], size: int
) -> None:
    assert ctypes.sizeof(structure) == size


def test_a_job_object_holds_one_process_its_memory_and_its_time() -> None:
    limits = Limits(cpu_s=7, memory_bytes=3 * GIB, threads=2)
    found = appcontainer.job_limits(limits)
    assert found.basic.flags == 0x2000 | 0x200 | 0x8 | 0x4 | 0x400
    assert (found.basic.active_processes, found.job_memory) == (1, 3 * GIB)
    assert found.basic.job_time == 7 * 10**7
    assert (appcontainer.BasicLimits.flags.offset, appcontainer.ExtendedLimits.job_memory.offset) == (16, 120)
    rate = appcontainer.cpu_rate(limits, cores=8)
    assert (rate.flags, rate.rate) == (0x5, 2_500)
    assert appcontainer.cpu_rate(limits, cores=1).rate == 10_000
    grants = appcontainer.grants("S-1-15-2-1", [Path("r")], [Path("w")])
    assert [words[3] for words in grants] == ["*S-1-15-2-1:(OI)(CI)(RX)", "*S-1-15-2-1:(OI)(CI)(M)"]


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_a_system_with_a_sandbox_that_nobody_has_run_takes_no_jobs(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(SandboxError, match="nobody has run it yet") as caught:
        host.require_platform()
    assert caught.value.code == "untried_sandbox"
    assert "takes no jobs" in caught.value.message
    assert command_in(caught.value.what_next) == "", "nothing that one could run mends it"


def test_the_probe_opens_every_door_where_nothing_holds_it() -> None:
    found = attempt(start_bare)
    assert found is not None
    assert found.open == found.tried
    assert len(found.tried) == 8


def test_there_is_nothing_untried_here() -> None:
    assert (mechanism("linux"), mechanism("freebsd14")) == ("", "")
    if sys.platform == "linux":
        with pytest.raises(Conflict, match="no sandbox that nobody has run"):
            trial()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_what_only_these_systems_run_is_typed_for_them(system: str) -> None:
    files = [str(Path(module.__file__)) for module in (seatbelt, appcontainer, untried)]
    root = Path(__file__).parents[3]
    linked = [str(root / "build/types/openstall" / Path(name).relative_to(root)) for name in files]
    command = [sys.executable, "-m", "mypy", "--platform", system, "--follow-imports=silent", *linked]
    cache = ["--cache-dir", str(root / ".mypy_cache" / system)]
    done = subprocess.run([*command, *cache], check=False, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout
