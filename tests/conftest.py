"""Settings for every test: no display, no keychain and no home folder of the person who runs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
from hypothesis import settings

# Set before anything imports Qt or keyring. A display is used only when a person asks for a platform by name.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
for name in [name for name in os.environ if name.startswith("OPENSTALL_") and name != "OPENSTALL_RUNTIME"]:
    del os.environ[name]

RECURSION_LIMIT = sys.getrecursionlimit()

# A slow machine is no failure: no test has a deadline for one example.
settings.register_profile("openstall", deadline=None, print_blob=True)
settings.load_profile("openstall")


LONG_FIRST = (
    "integration/trade/test_custom_kills",
    "integration/trade/test_kills",
    "integration/trade/",
    "integration/",
    "ui/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take long come first, so that no worker is left alone with one at the end."""

    def rank(item: pytest.Item) -> int:
        return next((at for at, part in enumerate(LONG_FIRST) if part in item.nodeid), len(LONG_FIRST))

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Undo what the import of a test module did to Python's recursion limit.

    Some import eth_account as an independent witness, and py_ecc under it sets the limit to 100,000: enough
    for nested JSON to overrun the C stack in a test of another room. Our own rooms import it by
    ledger.late_imports.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.fixture(scope="session", autouse=True)
def forked_peers() -> Iterator[None]:
    """Peers of a market start as forks; see `forked`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openstall.app.demo.peers.launch", forked.launch)
        yield


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, so that no test reads or writes what belongs to a person."""
    home = tmp_path / "home"
    for name, folder in {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_STATE_HOME": home / ".local" / "state",
    }.items():
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    return home
