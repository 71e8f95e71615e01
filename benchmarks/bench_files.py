"""CloudChain's figure 2 for our blob store: 50, 100 and 200 MB written and read, fitted to its equation 1.

The paper's form: T_r = S / B_r and T_w = S / B_w + T_c, with the size S, the speeds B and a constant T_c.
A line is fitted to the medians by least squares, for reading too: what is constant there is shown and not
hidden. Writing is what a seller's node does (copy, BLAKE3 of each chunk, SHA-256, to the disk for good);
reading from the store is a check of every chunk against its manifest; reading from a peer is a fetch
between two processes, to the disk for good. IPFS's reader is not measured: see docs/benchmarks.md.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import trio
from table import Row

from openstall.p2p import blob_manifest, unixfs
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blobs import BlobStore

SIZES_MB = (50, 100, 200)
ROUNDS = 3
FIT_AIM = 0.95


def rows() -> Iterable[Row]:
    """The table's lines: what was measured, and the line through it."""
    with tempfile.TemporaryDirectory(prefix="openstall-files-") as name:
        folder = Path(name)
        files = [_random_file(folder / f"{size}", size) for size in SIZES_MB]
        for what, measure, note in (
            ("written to the store", _write, "copy, both hashes, synced to the disk"),
            ("read from the store", _read, "every chunk checked against the manifest"),
            ("read from a peer", _fetch, "two processes, loopback, checked, synced to the disk"),
            ("addressed as IPFS does", _address, "UnixFS leaves and links, nothing written"),
        ):
            yield from _line(what, [_median(measure, folder, file) for file in files], note)


def _line(what: str, seconds: list[float], note: str) -> Iterator[Row]:
    """A row for the line T = S / B + T_c through the three points; met when the line explains them."""
    sizes = [float(size) for size in SIZES_MB]
    slope, constant = statistics.linear_regression(sizes, seconds)
    explained = statistics.correlation(sizes, seconds) ** 2
    points = ", ".join(f"{size} MB {one:.2f} s" for size, one in zip(SIZES_MB, seconds, strict=True))
    yield Row(
        name=f"files of 50, 100, 200 MB {what}",
        value=1 / slope if slope > 0 else 0.0,
        unit="MB/s",
        limit=f"a line: r² ≥ {FIT_AIM}",
        ok=explained >= FIT_AIM,
        note=f"{points}; T = S / {1 / slope:.0f} MB/s {constant:+.3f} s, r² {explained:.3f}; {note}",
    )


def _median(measure: Callable[[Path, Path], float], folder: Path, file: Path) -> float:
    return statistics.median(measure(folder, file) for _ in range(ROUNDS))


def _random_file(path: Path, size_mb: int) -> Path:
    with path.open("wb") as file:
        for _ in range(size_mb):
            file.write(os.urandom(1_000_000))
    return path


def _write(folder: Path, file: Path) -> float:
    async def main() -> float:
        store = BlobStore(folder / "store")
        start = time.perf_counter()
        info = await store.add_file(file)
        seconds = time.perf_counter() - start
        await store.remove(info.cid)
        return seconds

    return trio.run(main)


def _read(folder: Path, file: Path) -> float:
    async def main() -> float:
        store = BlobStore(folder / "store")
        info = await store.add_file(file)
        manifest = blob_manifest.decode(store.manifest(info.cid))
        start = time.perf_counter()
        with store.open(info.cid) as blob:
            for index in range(manifest.chunks):
                if blob_manifest.hash_chunk(blob.read(CHUNK)) != manifest.hash_of(index):
                    raise RuntimeError("the store gave a wrong chunk")
        seconds = time.perf_counter() - start
        await store.remove(info.cid)
        return seconds

    return trio.run(main)


def _fetch(folder: Path, file: Path) -> float:
    from bench_p2p import pair

    return file.stat().st_size / 1e6 / pair(folder, file, "blob")["mb_per_s"]


def _address(_: Path, file: Path) -> float:
    start = time.perf_counter()
    with file.open("rb") as source:
        unixfs.cid_of(source)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from table import as_text

    print(as_text(list(rows())))
