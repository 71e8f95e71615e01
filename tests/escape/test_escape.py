"""The escape campaign: every attempt in every column, judged. docs/sandbox.md shows the table."""

from __future__ import annotations

import ast
import dataclasses
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio

HERE = Path(__file__).resolve().parent
for _folder in (HERE, HERE / "inside"):
    sys.path.insert(0, str(_folder))

from columns import KNOWN_OPEN, ROOT_COLUMNS, USER_COLUMNS  # noqa: E402
from escape_table import PAGE, all_attempts, names_in  # noqa: E402
from running import Results, Unreadable, run_as_self, run_as_user  # noqa: E402

from openstall.compute_agent.sandbox.cgroup import CgroupScope  # noqa: E402
from openstall.compute_agent.sandbox.host import find_facilities, own_interpreter, run_sandbox  # noqa: E402
from openstall.compute_agent.sandbox.plan import Entry, Plan  # noqa: E402
from openstall.compute_agent.specs import Limits  # noqa: E402

ROOT = HERE.parents[1]
ATTEMPTS = all_attempts()
PRODUCT = [column.name for column in (*USER_COLUMNS, *ROOT_COLUMNS) if column.product]
AS_ROOT = os.geteuid() == 0
ALONE = {"namespaces only": 40, "filter only": 50, "Landlock only": 30}
"""Of the attempts that work bare, how many each layer stops with all others switched off, at the least."""

MISSED = {"no filter": 15, "no Landlock": 3, "Landlock only": 30, "filter only": 30}
"""How many work as soon as these layers are missing, at the least."""


@pytest.fixture(scope="session")
def results() -> Results:
    """Both users' columns at once; about a minute."""
    with ThreadPoolExecutor(2) as pool:
        user = pool.submit(run_as_user)
        root = pool.submit(run_as_self) if AS_ROOT else None
        try:
            found = user.result()
        except Unreadable as error:
            pytest.skip(str(error))
        return found | (root.result() if root is not None else {})


def opened(results: Results, column: str) -> set[str]:
    return {name for name, (verdict, _) in results[column].items() if verdict == "open"}


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 150
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("column", PRODUCT)
def test_the_product_leaves_open_only_what_is_known(results: Results, column: str) -> None:
    if column not in results:
        pytest.skip("the suite does not run as root")
    tried = [name for name, (verdict, _) in results[column].items() if verdict != "not tried"]
    assert len(tried) > 120
    leaks = opened(results, column) - set(KNOWN_OPEN[column])
    assert {name: results[column][name] for name in leaks} == {}


def test_every_attempt_works_where_nothing_holds_it(results: Results) -> None:
    works = set().union(*(opened(results, column) for column in results))
    dead = [
        attempt.name
        for attempt in ATTEMPTS
        if attempt.name not in works and not (attempt.unless or (attempt.root_only and not AS_ROOT))
    ]
    assert dead == []


@pytest.mark.parametrize("column", ALONE)
def test_each_layer_holds_alone(results: Results, column: str) -> None:
    stopped = {name for name in opened(results, "bare") if results[column][name][0] == "blocked"}
    assert len(stopped) >= ALONE[column], sorted(stopped)


@pytest.mark.parametrize("column", MISSED)
def test_each_layer_is_missed(results: Results, column: str) -> None:
    assert len(opened(results, column)) >= MISSED[column]


KERNEL = {"keys", "calls that were holes before", "sockets", "rights", "code from nowhere"}
"""What only the filter stands before."""

OPEN_WITHOUT = {
    "no filter": {
        "load and memory of the host by sysinfo(2)",
        "new System V memory, queue or semaphore",
        "read a process of its own sandbox (ptrace)",
        "signal its own parent",
        *(attempt.name for attempt in ATTEMPTS if attempt.group in KERNEL),
    },
    "no Landlock": {
        "a terminal of its own (/dev/ptmx)",
        "signal its own parent",
        "start a program that it wrote",
        "start a process",
        "start the interpreter anew",
    },
}


@pytest.mark.parametrize("column", OPEN_WITHOUT)
def test_what_one_layer_misses_another_holds(results: Results, column: str) -> None:
    """A layer that grows weak shows here, where no other hides it."""
    assert opened(results, column) - OPEN_WITHOUT[column] == set()


def test_the_common_recipe_leaks_what_ours_does_not(results: Results) -> None:
    leaks = opened(results, "common recipe")
    assert {"read ~/.ssh/id_ed25519", "session bus (D-Bus)", "terminal of the agent, by /dev/tty"} <= leaks
    assert not leaks & opened(results, "full")


def test_the_table_lists_the_attempts() -> None:
    assert names_in(PAGE.read_text("utf-8")) == [attempt.name for attempt in ATTEMPTS]


async def test_no_job_runs_without_a_layer(tmp_path: Path) -> None:
    scope = CgroupScope(manager=(), words="")
    facilities = await find_facilities(runtime=own_interpreter(), scope=scope)

    async def emit(event: object) -> None:
        raise AssertionError(event)

    plan = Plan(
        entry=Entry(script=HERE / "inside" / "main.py"),
        runtime=own_interpreter(),
        inputs=tmp_path,
        params=b"",
        limits=Limits(),
        mode=facilities.mode,
    )
    for layer in ("seccomp", "landlock", "limits"):
        with pytest.raises(ValueError, match="without a layer"):
            await run_sandbox(
                facilities=facilities,
                plan=dataclasses.replace(plan, without=frozenset({layer})),
                emit=emit,
                cancel=trio.Event(),
                allowed={},
                destination=tmp_path,
            )


def test_the_product_never_asks_for_less() -> None:
    asked = []
    for path in (path for room in ("app", "compute_agent", "ui") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Plan", "replace")):
                asked += [
                    (path.name, word.arg) for word in node.keywords if word.arg in {"without", "allow_fork"}
                ]
    assert asked == []
