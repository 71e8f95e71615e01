#!/usr/bin/env python3
"""Prove symbolically that the contracts lose and strand no money, and that the proofs can fail.

    python3 tools/prove.py                     every proof, as a table
    python3 tools/prove.py --mutants           break a copy of each contract: each time a proof must fail
    python3 tools/prove.py OrderEscrow ...     only these contracts
    python3 tools/prove.py --proof exit_claim  only proofs whose name contains this
    python3 tools/prove.py --markdown          also write the rows into docs/orders.md

For Linux and macOS, after `python3 dev.py setup`. It takes minutes of one core and is no part of the tests.
The prover (halmos) gets an environment of its own under build/, from requirements/prove.lock.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "ledger" / "contracts"
PROVER = ROOT / "build" / "prover"
LOCK = ROOT / "requirements" / "prove.lock"
NODE = ROOT / ".venv" / "bin" / "node"
PAGE = ROOT / "docs" / "orders.md"
LOOPS = 20
# For one answer, however busy the machine is: what bounds it is processor seconds.
PATIENCE_S = 3_600
# To rule a path out before it is walked; in the usual 1 ms a busy machine rules out few.
BRANCHING_MS = 100
# What one solver finds hard the other often answers at once, so each question is put to both.
ASK = """#!/bin/sh
ask() {{
    answer=$(ulimit -t "$1"; shift; exec "$@" 2>/dev/null)
    case $answer in sat*|unsat*) printf '%s\\n' "$answer"; exit 0 ;; esac
}}
ask 2 "{bin}/yices-smt2" --smt2-model-format --bvconst-in-decimal "$1"
ask {seconds} "{bin}/z3" "$1"
ask {seconds} "{bin}/yices-smt2" --smt2-model-format --bvconst-in-decimal "$1"
echo unknown
"""
RESULTS = {0: "proved", 1: "counterexample", 2: "no answer in time"}


def make_prover() -> None:
    """The prover's environment, if this very set is not there."""
    mark = PROVER / "lock"
    if mark.exists() and mark.read_bytes() == LOCK.read_bytes():
        return
    venv.create(PROVER, clear=True, with_pip=True)
    pip: list[str | Path] = [
        PROVER / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--require-hashes",
    ]
    subprocess.run([*pip, "-r", LOCK], check=True)
    mark.write_bytes(LOCK.read_bytes())


def compile_into(folder: Path, contract: str, mutant: Mutant | None) -> None:
    """Compile one contract and its proof as contracts are compiled, in the form that the prover reads."""
    sources = {}
    left = [CONTRACTS / "proofs" / f"{contract}Proof.sol"]
    while left:
        path = left.pop().resolve()
        text = path.read_text("utf-8")
        left += [path.parent / name for name in re.findall(r'from "(\.[^"]+)"', text)]
        if mutant is not None and path.stem == (mutant.source or contract):
            if text.count(mutant.old) != 1:
                sys.exit(f"{path.stem}: “{mutant.old}” is there {text.count(mutant.old)} times.")
            text = text.replace(mutant.old, mutant.new)
        sources[f"{path.parent.name}/{path.name}"] = {"content": text}
    wanted = [
        "abi",
        "evm.bytecode",
        "evm.deployedBytecode",
        "evm.methodIdentifiers",
        "metadata",
        "storageLayout",
    ]
    settings = {
        "optimizer": {"enabled": True, "runs": 1000},
        "evmVersion": "cancun",
        "viaIR": False,
        "outputSelection": {"*": {"*": wanted, "": ["ast"]}},
    }
    out = folder / "output.json"
    request = json.dumps({"language": "Solidity", "sources": sources, "settings": settings})
    subprocess.run([NODE, CONTRACTS / "compile.mjs", out], input=request.encode(), check=True)
    output = json.loads(out.read_bytes())
    problems = [entry["formattedMessage"] for entry in output.get("errors", [])]
    if problems:
        sys.exit("\n".join(problems))
    for path, contracts in output["contracts"].items():
        for name, made in contracts.items():
            place = folder / "out" / Path(path).name
            place.mkdir(parents=True, exist_ok=True)
            artifact = {
                "abi": made["abi"],
                "bytecode": as_forge(made["evm"]["bytecode"]),
                "deployedBytecode": as_forge(made["evm"]["deployedBytecode"]),
                "methodIdentifiers": made["evm"]["methodIdentifiers"],
                "metadata": json.loads(made["metadata"]) if made["metadata"] else None,
                "storageLayout": made["storageLayout"],
                "ast": output["sources"][path]["ast"],
                "id": output["sources"][path]["id"],
            }
            (place / f"{name}.json").write_text(json.dumps(artifact), "utf-8")


def as_forge(code: dict[str, Any]) -> dict[str, Any]:
    """A piece of bytecode as forge writes it."""
    return {**code, "object": "0x" + code["object"]}


def proofs_in(text: str) -> list[str]:
    """The names of the proofs in a source, in its order, without `check_`."""
    return re.findall(r"^    function check_(\w+)\(", text, re.MULTILINE)


def contracts() -> list[str]:
    """Every contract that has proofs."""
    return sorted(path.stem.removesuffix("Proof") for path in (CONTRACTS / "proofs").glob("?*Proof.sol"))


def proofs_of(contract: str) -> list[str]:
    """The names of a contract's proofs."""
    return proofs_in((CONTRACTS / "proofs" / f"{contract}Proof.sol").read_text("utf-8"))


def write_program(path: Path, text: str) -> None:
    """A program that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def prove(folder: Path, contract: str, proof: str, seconds: int) -> dict[str, Any]:
    """Run the prover on one proof of what was compiled into the folder."""
    # The prover begins with `forge build`; what that would make lies there already.
    write_program(folder / "bin" / "forge", "#!/bin/sh\nexit 0\n")
    write_program(folder / "bin" / "ask", ASK.format(bin=PROVER / "bin", seconds=seconds))
    path = os.pathsep.join([str(folder / "bin"), str(PROVER / "bin"), os.environ["PATH"]])
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    command: list[str | Path] = [
        PROVER / "bin" / "halmos",
        "--root",
        folder,
        "--contract",
        f"{contract}Proof",
    ]
    command += ["--match-test", f"^check_{proof}\\(", "--loop", str(LOOPS), "--no-status", "--early-exit"]
    command += ["--solver-command", str(folder / "bin" / "ask"), "--solver-threads", "1"]
    command += ["--solver-timeout-branching", f"{BRANCHING_MS}ms"]
    command += ["--solver-timeout-assertion", f"{PATIENCE_S}s", "--json-output", answer]
    before = used_s()
    done = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if not answer.exists():
        sys.exit(done.stdout + done.stderr)
    [results] = json.loads(answer.read_bytes())["test_results"].values()
    [result] = results
    return {"exitcode": result["exitcode"], "paths": result["num_paths"][0], "seconds": used_s() - before}


def used_s() -> float:
    """Processor seconds of all that was run from here and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def put_row(table: str, row: list[str], heads: list[list[str]]) -> None:
    """Put a row into a table of the page; `heads`: the first cells of all rows there may be, in order."""
    page = PAGE.read_text("utf-8")
    begin, end = f"<!-- {table} -->\n", f"<!-- /{table} -->"
    before, _, rest = page.partition(begin)
    inside, _, after = rest.partition(end)
    if not after:
        sys.exit(f"{PAGE} has no table between {begin.strip()} and {end.strip()}.")
    title, rule, *lines = inside.splitlines()
    lines.append(as_row(row))
    kept = []
    for head in heads:
        kept += [line for line in lines if line.startswith(as_row(head))][-1:]
    PAGE.write_text("\n".join([before + begin + title, rule, *kept, end + after]), "utf-8")


def as_row(cells: list[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def run_proofs(contract: str, wanted: str, seconds: int, *, markdown: bool) -> int:
    """Every proof of a contract; how many did not hold."""
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        compile_into(Path(scratch), contract, None)
        for proof in (name for name in proofs_of(contract) if wanted in name):
            result = prove(Path(scratch), contract, proof, seconds)
            bad += result["exitcode"] != 0
            word = RESULTS.get(result["exitcode"], "failed")
            row = [contract, proof, str(result["paths"]), f"{result['seconds']:.0f}", word]
            print(as_row(row), flush=True)
            if markdown:
                put_row("proofs", row, [[of, name] for of in contracts() for name in proofs_of(of)])
    return bad


def run_mutant(mutant: Mutant, seconds: int, *, markdown: bool) -> int:
    """One broken contract; 1 where its proof did not see it."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_into(Path(scratch), mutant.contract, mutant)
        seen = prove(Path(scratch), mutant.contract, mutant.proof, seconds)["exitcode"] == 1
    row = [*mutant.cells(), "yes" if seen else "NO"]
    print(as_row(row), flush=True)
    if markdown:
        put_row("mutants", row, [one.cells() for one in MUTANTS])
    return not seen


def main() -> int:
    """Everything that was asked for; 1 where a proof failed, or did not fail on a broken contract."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("contracts", nargs="*", help="only these")
    parser.add_argument("--proof", default="", help="only proofs whose name contains this")
    parser.add_argument("--mutants", action="store_true", help="break copies; each must be found")
    parser.add_argument("--markdown", action="store_true", help="also write the rows into docs/orders.md")
    parser.add_argument(
        "--seconds", type=int, default=60, help="of a processor, for one question to a solver"
    )
    arguments = parser.parse_args()
    if not NODE.exists() or shutil.which("sh") is None:
        sys.exit("Run “python3 dev.py setup” first; this works on Linux and macOS.")
    make_prover()
    wanted = arguments.contracts or contracts()
    bad = 0
    if arguments.mutants:
        print(as_row(["contract", "proof", "what was there", "what stands there", "seen"]))
        print("|---|---|---|---|---|")
        for mutant in MUTANTS:
            if mutant.contract in wanted and arguments.proof in mutant.proof:
                bad += run_mutant(mutant, arguments.seconds, markdown=arguments.markdown)
        return bad > 0
    print(f"{as_row(['contract', 'proof', 'paths', 'seconds', 'result'])}\n|---|---|---|---|---|")
    for contract in wanted:
        bad += run_proofs(contract, arguments.proof, arguments.seconds, markdown=arguments.markdown)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
