"""The test vectors of docs/protocol.md, checked by a client that is not ours."""

from __future__ import annotations

import json
import subprocess

from other_make import HERE, NODE


def test_the_vectors_hold_in_another_language() -> None:
    ran = subprocess.run(
        [NODE, HERE / "vectors.mjs"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    counted = json.loads(ran.stdout)
    assert all(counted.values())
    assert counted["signatures"] == 19
    assert counted["records"] == 8
