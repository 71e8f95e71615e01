"""Our addresses of files are those of IPFS: the same as the JavaScript importer's, from its real package."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from openstall.p2p.unixfs import LEAF, WIDTH, cid_of

HERE = Path(__file__).parent
NODE = Path(sys.executable).with_name("node")
CASES = [
    *((size, LEAF, WIDTH) for size in (0, 1, LEAF - 1, LEAF, LEAF + 1, 700_000)),
    (WIDTH * LEAF, LEAF, WIDTH),
    (WIDTH * LEAF + 1, LEAF, WIDTH),
    *((700_000, leaf, width) for leaf, width in ((1000, 3), (1024, 2), (4096, 174), (99, 18))),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the importer says of each case."""
    folder = tmp_path_factory.mktemp("unixfs")
    for size, _, _ in CASES:
        (folder / str(size)).write_bytes(content(size))
    asked = "".join(json.dumps([str(folder / str(size)), leaf, width]) + "\n" for size, leaf, width in CASES)
    done = subprocess.run(
        [NODE, HERE / "address.mjs"], input=asked, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("at", range(len(CASES)), ids=lambda at: "-".join(map(str, CASES[at])))
def test_the_address_is_that_of_ipfs(theirs: list[str], at: int) -> None:
    size, leaf, width = CASES[at]
    assert cid_of(io.BytesIO(content(size)), leaf=leaf, width=width) == theirs[at]


def test_each_leaf_may_end_it() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cid_of(io.BytesIO(b"content"), on_leaf=stop)
