"""No state of an order without a test that kills nodes in it: the table, the machines and the tests agree."""

from __future__ import annotations

import ast
from pathlib import Path

import kill_table

from openstall.market.orders.machine import MACHINES

FOLDER = Path(__file__).parents[2] / "integration" / "trade"
TESTS = (FOLDER / "test_kills.py", FOLDER / "test_custom_kills.py")


def states() -> set[tuple[str, str]]:
    """Every state of every kind of order, as the machines name them."""
    return {
        (kind, state)
        for kind, machine in MACHINES.items()
        for state in {machine.first, *machine.final, *machine.exits}
        | {name for step in machine.steps for name in (step.state, step.target)}
    }


def readers_of_the_table() -> set[str]:
    """The tests whose cases are those of the table under their own name."""
    found = set()
    for node in [node for path in TESTS for node in ast.parse(path.read_text(encoding="utf-8")).body]:
        if isinstance(node, ast.FunctionDef):
            own = [f"states_killed_by({constant})" for constant, name in names().items() if name == node.name]
            words = [ast.unparse(decorator) for decorator in node.decorator_list]
            if own and any(own[0] in word and "parametrize(('kind', 'state')" in word for word in words):
                found.add(node.name)
    return found


def names() -> dict[str, str]:
    """The tests that the table knows, by the constant that stands for each."""
    return {
        name: value for name, value in vars(kill_table).items() if name.isupper() and isinstance(value, str)
    }


def test_every_state_of_every_order_has_its_kill() -> None:
    assert set(kill_table.KILLED_BY) == states()


def test_every_test_of_the_table_runs_for_the_states_of_the_table() -> None:
    assert set(kill_table.KILLED_BY.values()) == readers_of_the_table()


def test_what_is_over_is_killed_after_its_end_and_what_is_open_before() -> None:
    for (kind, state), test in kill_table.KILLED_BY.items():
        over = test in (kill_table.OVER, kill_table.CUSTOM_OVER)
        assert over == (state in MACHINES[kind].final), (kind, state)
