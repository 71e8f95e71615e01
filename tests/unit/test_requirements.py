from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["build", "app", "dev", "prove", "runtime", "runtime-gpu"]
ROOMS = ["app", "compute_agent", "ledger", "market", "p2p", "store", "ui"]


def name_of(line: str) -> str:
    return re.split(r"[=;\s]", line)[0].lower().replace("_", "-")


def pinned(file: str) -> set[str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    return {name_of(line) for line in lines if line and line[0] not in "#- "}


def imported(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*.py"):
        if {"node_modules", "workloads"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"openstall"}


def extras() -> set[str]:
    """What is imported late, and only where somebody has installed it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = [one for extra in settings["project"]["optional-dependencies"].values() for one in extra]
    assert all("==" in one for one in found)
    return {name_of(one) for one in found}


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_imports_is_pinned_by_name(room: str) -> None:
    owners = packages_distributions()
    distributions = {
        name_of(owner) for module in imported(ROOT / room) for owner in owners.get(module, [module])
    }
    assert distributions - pinned("app.in") - extras() == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--(extra-)?index|--find-links|/opt/|/home/", text)
    for package in re.split(r"\n(?=[a-z0-9])", text.strip()):
        assert re.match(r"[a-z0-9.-]+==\S+", package), package
        assert "--hash=sha256:" in package, package


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_in_its_lock(lock: str) -> None:
    assert pinned(f"{lock}.in") <= pinned(f"{lock}.lock")


def test_development_set_has_the_application_in_the_same_versions() -> None:
    app, dev = (
        set(
            re.findall(
                r"^[a-z0-9.-]+==\S+", (ROOT / "requirements" / f"{name}.lock").read_text(), re.MULTILINE
            )
        )
        for name in ("app", "dev")
    )
    assert app - dev == set()


@pytest.mark.parametrize("lock", [name for name in LOCKS if name != "runtime-gpu"])
def test_no_set_but_its_own_brings_the_libraries_of_a_graphics_card(lock: str) -> None:
    heavy = {name for name in pinned(f"{lock}.lock") if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert heavy <= {"nvidia-ml-py"}


def test_the_two_runtimes_differ_in_torch_alone() -> None:
    plain, gpu = (
        {line for line in (ROOT / "requirements" / name).read_text().splitlines() if "==" in line}
        for name in ("runtime.in", "runtime-gpu.in")
    )
    assert {name_of(line) for line in plain ^ gpu} == {"torch"}


def test_torch_is_for_the_sandbox_only() -> None:
    assert "torch" in pinned("runtime.lock")
    assert "torch" not in pinned("dev.lock")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_page_points_to_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r"`((?:docs|tests|tools)/[\w./-]+)`", text)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_continuous_integration_runs_what_the_readme_says() -> None:
    command = "python3 dev.py test"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith(f"exec {command}")
