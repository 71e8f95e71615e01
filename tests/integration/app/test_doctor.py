"""`openstall doctor` as a newcomer runs it: before any node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OPENSTALL = (sys.executable, "-P", "-m", "openstall.app.cli.main")


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*OPENSTALL, "--home", str(home), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_the_doctor_needs_no_node(tmp_path: Path) -> None:
    home = tmp_path / "node"
    found = run(home, "doctor", "--json")
    findings = json.loads(found.stdout)
    checks = {check["name"]: check for check in findings["checks"]}
    assert {"system", "bubblewrap", "sandbox", "workload runtime"} <= set(checks)
    assert findings["ok"] == all(check["ok"] for check in checks.values() if check["severity"] == "error")
    assert found.returncode == (0 if findings["ok"] else 1)
    assert not home.exists()
    page = run(home, "doctor").stdout
    assert all(f" {name}: " in page for name in checks)


def test_json_may_stand_behind_the_verb(tmp_path: Path) -> None:
    for words in (("--json", "order", "list"), ("order", "list", "--json")):
        refused = run(tmp_path, *words)
        assert refused.returncode == 1
        assert json.loads(refused.stderr)["error"]["code"] == "node_not_running"
