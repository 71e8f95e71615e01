"""The command line gives its token to the node that wrote it down, and to nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openstall.app.cli.client import ApiClient
from openstall.app.paths import Home
from openstall.market.errors import OpenstallError


def test_the_token_of_a_killed_node_is_not_given_out(tmp_path: Path) -> None:
    """A stranger may have taken its port since."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "api.json").write_text(json.dumps({"port": 1, "token": "secret", "pid": dead.pid}))
    with pytest.raises(OpenstallError) as caught:
        ApiClient(Home(tmp_path))
    assert caught.value.code == "node_not_running"
