"""Throw bytes at every decoder of what strangers send, and see that each refuses in its one way.

    python3 dev.py fuzz                          every decoder for a minute, one after the other
    python3 dev.py fuzz --seconds 600 hello      only these, each for so long
    python3 dev.py fuzz --list                   which there are
    python3 dev.py fuzz --table                  what the runs have shown, as it stands in docs/fuzzing.md

The fuzzer (atheris, libFuzzer inside) follows which lines of our code an input reaches. It runs on Linux with
Python 3.11. What ends a decoder is kept under build/fuzz/crashes; put it into tests/hostile/found and fix it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "fuzz"
LOG = WORK / "log.jsonl"
FOUND = ROOT / "tests" / "hostile" / "found"
SLOWEST_S = 10
STUCK_S = 300
MOST_MEMORY_MB = 2048

sys.path[:0] = [str(ROOT / "tests" / "support")]


def one(name: str, words: list[str]) -> None:
    """Fuzz one decoder in this process until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["openstall"], enable_loader_override=False):
        import decoders
    import mutators

    from openstall.market.errors import OpenstallError

    chosen = decoders.decoder(name)

    def read(data: bytes) -> None:
        began = time.process_time()
        with contextlib.suppress(OpenstallError):
            chosen.read(data)
        took = time.process_time() - began
        if took > SLOWEST_S:  # libFuzzer's own clock also counts what other programs take
            raise RuntimeError(f"{took:.1f} s of processor time for one input")

    def change(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)  # noqa: S311 - libFuzzer's seed makes a run repeatable
        if chosen.json and draw.random() < 0.75:
            try:
                value = json.loads(chosen.open(data))
                changed = chosen.close(mutators.encode(mutators.mutate(value, draw)))
            except Exception:  # noqa: BLE001 - no document (any more): its bytes are changed instead
                changed = b""
            if 0 < len(changed) <= most:
                return changed
        mutated: bytes = atheris.Mutate(data, most)
        return mutated

    atheris.Setup([sys.argv[0], *words], read, custom_mutator=change)
    atheris.Fuzz()


def run(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one decoder in a process of its own; what is worth keeping of its report."""
    import decoders

    chosen = decoders.decoder(name)
    corpus, crashes = WORK / "corpus" / name, WORK / "crashes"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(chosen.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    known = FOUND / name
    command = [
        sys.executable,
        __file__,
        "--one",
        name,
        str(corpus),
        *([str(known)] if known.exists() else []),
    ]
    command += [f"-max_total_time={seconds}", f"-max_len={chosen.most}", f"-timeout={STUCK_S}"]
    command += [
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        "-print_final_stats=1",
        f"-artifact_prefix={crashes}/{name}-",
    ]
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    (WORK / f"{name}.log").write_text(done.stdout + done.stderr)
    said = done.stderr

    def number_of(pattern: str) -> int:
        found = re.findall(pattern, said)
        return int(found[-1]) if found else 0

    return {
        "decoder": name,
        "seconds": round(time.monotonic() - start),
        "runs": number_of(r"stat::number_of_executed_units:\s+(\d+)"),
        "features": number_of(r"\bft: (\d+)"),
        "kept": number_of(r"\bcorp: (\d+)"),
        "memory_mb": number_of(r"stat::peak_rss_mb:\s+(\d+)"),
        "ended": "no crash" if done.returncode == 0 else f"status {done.returncode}",
    }


def table() -> str:
    """The runs of each decoder since one of them last ended badly, as Markdown."""
    import decoders

    total: dict[str, dict[str, Any]] = {}
    for line in LOG.read_text().splitlines() if LOG.exists() else []:
        entry = json.loads(line)
        before = total.get(entry["decoder"])
        if before is not None and before["ended"] == entry["ended"] == "no crash":
            entry["seconds"] += before["seconds"]
            entry["runs"] += before["runs"]
        total[entry["decoder"]] = entry
    rows = [
        "| decoder | reads | seconds | inputs | code features reached | inputs kept | memory, MB | ended |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for chosen in decoders.DECODERS:
        entry = total.get(chosen.name)
        if entry is None:
            continue
        rows.append(
            f"| {chosen.name} | {chosen.about} | {entry['seconds']} | {entry['runs']:,} "
            f"| {entry['features']:,} | {entry['kept']:,} | {entry['memory_mb']} | {entry['ended']} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Read the command line."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
        return 0
    import decoders

    names = [each.name for each in decoders.DECODERS]
    parser = argparse.ArgumentParser(description="Fuzz the decoders.")
    parser.add_argument(
        "decoder", nargs="*", choices=[*names, []], help="which; all of them if none is named"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each (60)")
    parser.add_argument("--list", action="store_true", help="say which decoders there are")
    parser.add_argument("--table", action="store_true", help="print the results so far")
    asked = parser.parse_args()
    if asked.list or asked.table:
        print(
            table()
            if asked.table
            else "\n".join(f"{each.name:12} {each.about}" for each in decoders.DECODERS)
        )
        return 0
    failed = 0
    for name in asked.decoder or names:
        report = run(name, asked.seconds)
        with LOG.open("a") as file:
            file.write(json.dumps(report) + "\n")
        print(
            "  {decoder:12} {seconds:5} s {runs:12,} inputs {features:6,} features  {ended}".format(**report),
            flush=True,
        )
        failed += report["ended"] != "no crash"
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
