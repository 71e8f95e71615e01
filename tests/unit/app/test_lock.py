"""One node per home folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openstall.app.lock import HomeLock, holder_of
from openstall.market.errors import Conflict

HOLDER = """
import sys, time
from pathlib import Path
from openstall.app.lock import HomeLock
with HomeLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_holder_is_told_who_holds_it_and_a_kill_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "node.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert holder_of(path) == child.pid
        with pytest.raises(Conflict) as caught, HomeLock(path):
            pass
        assert caught.value.code == "node_running"
        assert str(child.pid) in caught.value.message
        child.send_signal(signal.SIGKILL)
        child.wait()
    with HomeLock(path):
        pass
    with HomeLock(path):
        pass


def test_nonsense_in_the_file_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "node.lock"
    assert holder_of(path) is None
    path.write_text("[]")
    assert holder_of(path) is None
