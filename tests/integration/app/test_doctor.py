"""`openstall doctor` as a newcomer runs it: before any node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

OPENSTALL = (sys.executable, "-P", "-m", "openstall.app.cli.main")


def run(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*OPENSTALL, "--home", str(home), *words]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def checks_of(found: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(found.stdout)["checks"]}


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


def test_what_is_missing_has_the_command_that_mends_it_and_after_that_all_is_well(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(folder).iterdir():
            if program.name != "bwrap" and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    bare = run(tmp_path / "node", "doctor", "--json", PATH=str(programs))
    missing = checks_of(bare)["bubblewrap"]
    assert (bare.returncode, missing["ok"]) == (1, False)
    assert json.loads(bare.stdout)["tier"] == "none"
    if shutil.which("apt-get"):
        assert missing["command"] == "apt-get update && apt-get install -y bubblewrap"
    # what that command does, without the network
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    (programs / "bwrap").symlink_to(bwrap)
    mended = run(tmp_path / "node", "doctor", "--json", PATH=str(programs))
    assert mended.returncode == 0, mended.stdout
    assert json.loads(mended.stdout)["ok"] is True


def test_the_runtime_is_installed_without_a_node(tmp_path: Path) -> None:
    """Here its download is refused by a closed port: the failure is its own, not that no node runs."""
    lost = {"OPENSTALL_RUNTIME": str(tmp_path / "none"), "XDG_DATA_HOME": str(tmp_path / "data")}
    missing = checks_of(run(tmp_path / "node", "doctor", "--json", **lost))["workload runtime"]
    assert (missing["ok"], missing["command"]) == (False, "openstall compute install-runtime")
    closed = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    tried = run(
        tmp_path / "node", "--json", "compute", "install-runtime", **lost, **closed, PIP_FIND_LINKS=""
    )
    assert tried.returncode == 1
    assert json.loads(tried.stderr)["error"]["code"] == "runtime_install_failed"
    assert not (tmp_path / "data" / "openstall" / "runtime").exists()
