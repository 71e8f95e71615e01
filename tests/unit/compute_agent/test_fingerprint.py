from __future__ import annotations

import shutil
from pathlib import Path

from openstall.compute_agent import fingerprint as marks
from openstall.compute_agent.sandbox.plan import SHARED, WORKLOADS


def test_the_hash_follows_the_files_and_not_where_they_lie(tmp_path: Path) -> None:
    copy = tmp_path / "workloads"
    shutil.copytree(WORKLOADS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    found = marks.fingerprint({"numpy": "2.4.6"})
    paths = [*copy.glob("*.py"), *SHARED]
    assert marks._hash_of(reversed(paths)) == found.code
    (copy / "assess.py").write_bytes((copy / "assess.py").read_bytes().replace(b"\n", b"\r\n"))
    assert marks._hash_of(paths) == found.code
    (copy / "metrics.py").write_text("# another metric\n")
    assert marks._hash_of(paths) != found.code


def test_the_runtime_is_its_versions() -> None:
    first, second = (marks.fingerprint({"numpy": version}) for version in ("2.4.6", "2.4.7"))
    assert first.runtime != second.runtime
    assert (first.code, first.sandbox) == (second.code, second.sandbox)
