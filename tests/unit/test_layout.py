from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS: dict[str, str] = SETTINGS["tool"]["setuptools"]["package-dir"]
MAX_LINES = 400


def packages_in_tree() -> set[str]:
    found = set()
    for package, folder in ROOMS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            if "node_modules" not in inner:
                found.add(".".join((package, *inner)))
    return found


def sources() -> list[Path]:
    folders = [*ROOMS.values(), "tools", "benchmarks"]
    found = [ROOT / "dev.py"]
    for folder in folders:
        found += [path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    return found


def test_every_package_is_listed_so_that_the_wheel_has_it() -> None:
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert sorted(packages_in_tree()) == sorted(listed)
    assert listed == sorted(listed)


def test_every_room_is_known_to_the_import_rules() -> None:
    assert sorted(ROOMS) == SETTINGS["tool"]["importlinter"]["root_packages"]


def test_every_folder_with_modules_is_a_package() -> None:
    for folder in ROOMS.values():
        for module in (ROOT / folder).rglob("*.py"):
            if "node_modules" not in module.parts:
                assert (module.parent / "__init__.py").exists(), f"{module.parent} has no __init__.py"


def test_every_room_has_types() -> None:
    missing = [folder for folder in ROOMS.values() if not (ROOT / folder / "py.typed").exists()]
    assert missing == []


@pytest.mark.parametrize("folder", ["packaging", "tests", "docs"])
def test_folders_that_would_shadow_a_library_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_module_outgrows_its_subject() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_drawer_modules() -> None:
    drawers = {"utils", "util", "helpers", "common", "manager", "misc"}
    assert [path for path in sources() if path.stem in drawers or path.parent.name in drawers] == []
