"""Link the rooms under build/types/openstall, because type checkers cannot follow the editable install.

Run by `dev.py setup`. On Windows the links are junctions, which need no administrator.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def link(target: Path, name: Path) -> None:
    """Make `name` lead to the folder `target`, replacing a link that leads elsewhere."""
    if name.is_dir() and name.resolve() == target:
        return
    if name.is_symlink():
        name.unlink()
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(target), str(name))
    else:
        name.symlink_to(os.path.relpath(target, name.parent), target_is_directory=True)


def main() -> None:
    """Link every top-level room that pyproject.toml maps to `openstall.*`."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        rooms: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    for package, folder in rooms.items():
        name = ROOT / "build" / "types" / Path(*package.split("."))
        name.parent.mkdir(parents=True, exist_ok=True)
        link(ROOT / folder, name)


if __name__ == "__main__":
    main()
