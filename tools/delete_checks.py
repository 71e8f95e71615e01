"""Delete every check of the validators, one at a time, and see that a test fails each time.

    python3 dev.py mutants                           every file, as a table
    python3 dev.py mutants market/records.py ...     only these
    python3 dev.py mutants --list                    what would be deleted

A check is an `if` that raises, one of several conditions of it, a call that does nothing but check, and what
a schema says of a field beyond its type. A mutant that no test notices is a survivor: write the test, or
write down in docs/fuzzing.md why the check can go. It takes minutes of one core and is no part of the tests.
For Linux and macOS.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "build" / "deleted-checks.json"
SLOWEST_S = 300
MARKET = "tests/unit/market/"
CHECKERS = re.compile(r"^_?(check|refuse|verify|fit|fits|public_key_of|read)(_|$)")

TARGETS: dict[str, tuple[str, ...]] = {
    "market/records.py": (
        MARKET + "test_records.py",
        MARKET + "test_statement_properties.py",
        MARKET + "test_capacity.py",
        MARKET + "test_service_levels.py",
        "tests/hostile/test_schemas.py",
    ),
    "market/fields.py": (
        MARKET + "test_records.py",
        MARKET + "test_order_documents.py",
        MARKET + "test_request_bodies.py",
        "tests/hostile/test_schemas.py",
    ),
    "market/orders/documents.py": (
        MARKET + "test_order_documents.py",
        MARKET + "test_service_levels.py",
        "tests/hostile/test_schemas.py",
    ),
    "market/orders/agree.py": (
        "tests/hostile/test_validators.py",
        MARKET + "test_agree.py",
        MARKET + "test_service_levels.py",
    ),
    "app/services/door.py": ("tests/hostile/test_door_checks.py", "tests/unit/app/test_door.py"),
    "market/canonical.py": (MARKET + "test_canonical.py", MARKET + "test_records.py"),
    "market/ids.py": (MARKET + "test_ids.py",),
    "market/metering.py": (MARKET + "test_metering.py",),
    "market/orders/results.py": (MARKET + "test_product.py", MARKET + "test_metering.py"),
    "market/disputes/messages.py": (MARKET + "test_disputes.py", "tests/hostile/test_schemas.py"),
    "market/disputes/evidence.py": (MARKET + "test_disputes.py", "tests/hostile/test_schemas.py"),
    "p2p/hello.py": ("tests/unit/p2p/test_wire.py", "tests/hostile/test_schemas.py"),
    "p2p/exchange.py": (
        "tests/unit/p2p/test_wire.py",
        "tests/integration/p2p/test_host.py",
        "tests/hostile/test_connections.py",
    ),
    "ledger/invitation.py": ("tests/unit/ledger/test_invitation.py", "tests/hostile/test_schemas.py"),
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One file without one check."""

    file: str
    line: int
    deleted: str
    source: str


class _Deleter(ast.NodeTransformer):
    """Counts the checks of a module, and deletes the one with a number."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.deleted = ""
        self.line = 0

    def _here(self, node: ast.stmt | ast.expr, words: str) -> bool:
        self.count += 1
        if self.count - 1 != self.wanted:
            return False
        self.deleted, self.line = " ".join(words.split()), node.lineno
        return True

    def visit_If(self, node: ast.If) -> ast.AST:
        raises = isinstance(node.body[-1], ast.Raise)
        if raises and self._here(node, f"if {ast.unparse(node.test)}"):
            node.test = ast.copy_location(ast.Constant(False), node.test)  # noqa: FBT003 - a value of the syntax tree
            return node
        if raises:
            node.test = self._without_a_part(node.test)
        self.generic_visit(node)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if isinstance(node.value, ast.BoolOp):
            node.value = self._without_a_part(node.value)
        self.generic_visit(node)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if isinstance(node.value, ast.BoolOp):
            node.value = self._without_a_part(node.value)
        self.generic_visit(node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if CHECKERS.match(name) and self._here(node, ast.unparse(call)):
                return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        inner = node.slice
        annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        if annotated and isinstance(inner, ast.Tuple) and self._here(node, ast.unparse(node)):
            return inner.elts[0]
        self.generic_visit(node)
        return node

    def _without_a_part(self, test: ast.expr) -> ast.expr:
        if not isinstance(test, ast.BoolOp):
            return test
        for place, part in enumerate(test.values):
            word = "or" if isinstance(test.op, ast.Or) else "and"
            if self._here(part, f"… {word} {ast.unparse(part)}"):
                rest = test.values[:place] + test.values[place + 1 :]
                return rest[0] if len(rest) == 1 else ast.copy_location(ast.BoolOp(test.op, rest), test)
        return test


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every deletion of a check in a file."""
    text = (ROOT / file).read_text("utf-8")
    number = 0
    while True:
        deleter = _Deleter(number)
        tree = ast.fix_missing_locations(deleter.visit(ast.parse(text)))
        if not deleter.deleted:
            return
        yield Mutant(file=file, line=deleter.line, deleted=deleter.deleted, source=ast.unparse(tree))
        number += 1


class _Loader(importlib.abc.Loader):
    """Gives the mutated text in the place of the file."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)  # noqa: S102 - our own file, changed


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._name = "openstall." + mutant.file.removesuffix(".py").replace("/", ".")
        self._loader = _Loader(ROOT / mutant.file, mutant.source)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Only the one module."""
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self._loader, origin=str(self._loader._path))  # noqa: SLF001


def killer_of(mutant: Mutant | None, tests: Sequence[str]) -> str:
    """The first test that fails with this mutant; empty where none does. Runs in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_run_tests(mutant, tests, writer))
    os.close(writer)
    end = time.monotonic() + SLOWEST_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.close(reader)
            return "(the tests never ended)"
        time.sleep(0.05)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def _run_tests(mutant: Mutant | None, tests: Sequence[str], writer: int) -> int:
    import pytest

    class Report:
        failed = ""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and not self.failed:
                self.failed = report.nodeid

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed and not self.failed:
                self.failed = report.nodeid or "(import)"

    told = Report()
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-W", "ignore", "-p", "no:randomly"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = pytest.main([*options, *tests], plugins=[told])
        except BaseException:  # noqa: BLE001 - a mutant may break anything
            status = 1
    failed = told.failed or ("(the run broke off)" if status else "")
    os.write(writer, failed.encode()[:4000])
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Mutation-test the validators.")
    parser.add_argument("file", nargs="*", help="which; all of them if none is named")
    parser.add_argument("--list", action="store_true", help="say what would be deleted")
    asked = parser.parse_args()
    os.chdir(ROOT)
    found: dict[str, dict[str, object]] = json.loads(LOG.read_text()) if LOG.exists() else {}
    survivors = 0
    for file in asked.file or TARGETS:
        tests = [test for test in TARGETS[file] if Path(test).exists()]
        every = list(mutants_of(file))
        if asked.list:
            print("\n".join(f"{file}:{mutant.line}: {mutant.deleted}" for mutant in every))
            continue
        if killer := killer_of(None, tests):
            print(f"{file}: {killer} fails without any mutant")
            return 2
        alive = []
        for mutant in every:
            killer = killer_of(mutant, tests)
            if not killer:
                alive.append({"line": mutant.line, "deleted": mutant.deleted})
                print(f"  survives {file}:{mutant.line}: {mutant.deleted}", flush=True)
        survivors += len(alive)
        found[file] = {"checks": len(every), "killed": len(every) - len(alive), "survivors": alive}
        LOG.parent.mkdir(exist_ok=True)
        LOG.write_text(json.dumps(found, indent=1))
        print(f"| {file} | {len(every)} | {len(every) - len(alive)} |", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
