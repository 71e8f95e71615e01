"""The SQLite file: durable, private, one writer, words for what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openstall.market.errors import StoreError
from openstall.store.database import Store
from openstall.store.settings import Settings

WRITER = """
import sys
from pathlib import Path
from openstall.store.database import Store
from openstall.store.settings import Settings
settings = Settings(Store(Path(sys.argv[1])))
for number in range(100_000):
    settings.set("number", number)
    settings.set("same", number)
    print(number, flush=True)
"""


def test_values_survive_a_reopen(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    Settings(store).set("name", {"a": [1, "ü"]})
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert Settings(again).get("name") == {"a": [1, "ü"]}
    again.check()
    again.close()


@pytest.mark.parametrize("confirmed", [1, 40, 200])
def test_what_was_confirmed_survives_kill_9(tmp_path: Path, confirmed: int) -> None:
    path = tmp_path / "s.sqlite"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(confirmed):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
    store = Store(path)
    store.check()
    settings = Settings(store)
    assert settings.get("number") >= last
    assert settings.get("number") - settings.get("same") in (0, 1)
    store.close()


def test_file_is_private(store: Store) -> None:
    if os.name != "nt":
        assert store.path.stat().st_mode & 0o077 == 0


def test_failed_block_changes_nothing(store: Store) -> None:
    settings = Settings(store)
    settings.set("kept", 1)
    with pytest.raises(ZeroDivisionError), store.write() as db:
        db.execute("UPDATE settings SET value = '2' WHERE name = 'kept'")
        _ = 1 // 0
    assert settings.get("kept") == 1


def test_nested_writes_are_one_transaction(store: Store) -> None:
    settings = Settings(store)
    with pytest.raises(ZeroDivisionError), store.write():
        settings.set("inner", 1)
        _ = 1 // 0
    assert settings.get("inner") is None


def test_many_threads(store: Store) -> None:
    settings = Settings(store)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(25):
                settings.set(f"{number}", step)
                assert settings.get(f"{number}") == step
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert settings.names("") == [str(number) for number in range(8)]


def test_full_disk_is_said_and_loses_nothing(store: Store) -> None:
    settings = Settings(store)
    settings.set("before", "here")
    with store.write() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    # SQLite refuses to grow beyond this and reports SQLITE_FULL, as it does when the disk is full.
    store._writer.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreError) as caught:
        settings.set("large", "x" * 1_000_000)
    assert caught.value.code == "disk_full"
    assert "nothing was saved" in caught.value.message
    assert settings.get("before") == "here"
    assert settings.get("large") is None
    store._writer.execute("PRAGMA max_page_count=1000000")
    settings.set("large", "x" * 1_000_000)


def test_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert caught.value.code == "store_damaged"
    assert path.read_bytes().startswith(b"this is no database")


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "nowhere" / "s.sqlite")
    assert caught.value.code == "store_unavailable"


def test_closed_store_refuses(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.close()
    store.close()
    with pytest.raises(StoreError) as caught:
        Settings(store).get("x")
    assert caught.value.code == "store_closed"


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError), store.read() as db:
        db.execute("DELETE FROM settings")
