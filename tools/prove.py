#!/usr/bin/env python3
"""Prove symbolically that the contracts lose and strand no money, and that the proofs can fail.

    python3 tools/prove.py                     every proof, as a table
    python3 tools/prove.py --mutants           break a copy of each contract: each time a proof must fail
    python3 tools/prove.py OrderEscrow ...     only these contracts

For Linux and macOS, after `python3 dev.py setup`. It takes minutes of one core and is no part of the tests.
The prover (halmos) gets an environment of its own under build/, from requirements/prove.lock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "ledger" / "contracts"
PROVER = ROOT / "build" / "prover"
LOCK = ROOT / "requirements" / "prove.lock"
NODE = ROOT / ".venv" / "bin" / "node"
LOOPS = 20
RESULTS = {0: "proved", 1: "counterexample", 2: "no answer in time"}


@dataclass(frozen=True)
class Mutant:
    """One contract broken in one place, and the proof that must see it."""

    contract: str
    proof: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "OrderEscrow",
        "check_conservation_fund",
        "_pull(terms.token, terms.amount);",
        "_pull(terms.token, terms.amount - 1);",
    ),
    Mutant(
        "OrderEscrow",
        "check_exit_claim",
        "order.state = state;\n        order.since",
        "order.since",
    ),
    Mutant(
        "OrderEscrow",
        "check_exit_claim",
        "_pay(key, token, order.seller, amount",
        "_pay(key, token, order.buyer, amount",
    ),
    Mutant(
        "OrderEscrow",
        "check_exit_refund",
        "block.timestamp <= order.deliverBy",
        "block.timestamp <= uint256(order.deliverBy) + order.reviewS",
    ),
    Mutant(
        "MeteredChannel",
        "check_exit_withdraw",
        "uint128 rest = channel.deposit - channel.claimed;",
        "uint128 rest = channel.deposit;",
    ),
    Mutant(
        "MeteredChannel",
        "check_exit_withdraw",
        "block.timestamp <= channel.withdrawAt)",
        "block.timestamp <= uint256(channel.withdrawAt) + channel.withdrawDelayS)",
    ),
    Mutant("MeteredChannel", "check_conservation(", "        channel.claimed = amount;\n", ""),
    Mutant(
        "SealedBidAuction",
        "check_exit_expire",
        "block.timestamp <= auction.deliverBy",
        "block.timestamp <= auction.deliverBy + 60",
    ),
    Mutant(
        "SealedBidAuction",
        "check_exit_reveal",
        "_pay(key, auction.token, bidder, auction.deposit);\n    }\n\n    /// Anyone may end",
        "_pay(key, auction.token, msg.sender, auction.deposit);\n    }\n\n    /// Anyone may end",
    ),
    Mutant(
        "ModelEscrow",
        "check_exit_refund_passed",
        "if (state == State.Passed) return reviewed;",
        "if (state == State.Passed) return order.deliverBy;",
    ),
    Mutant(
        "ModelEscrow",
        "check_exit_claim",
        "_pay(key, token, order.seller, amount",
        "_pay(key, token, order.buyer, amount",
    ),
    Mutant(
        "Contest",
        "check_exit_close_judged",
        "uint128 rest = found.pool - found.claimed;",
        "uint128 rest = found.pool;",
    ),
    Mutant("Contest", "check_exit_close_void", "found.judgeBy + review))", "found.judgeBy + 2 * review))"),
)


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
    for path in [*(CONTRACTS / "sources").glob("*.sol"), *(CONTRACTS / "proofs").glob("*.sol")]:
        text = path.read_text("utf-8")
        if mutant is not None and path.stem == contract:
            if text.count(mutant.old) != 1:
                sys.exit(f"{contract}: “{mutant.old}” is there {text.count(mutant.old)} times.")
            text = text.replace(mutant.old, mutant.new)
        if path.parent.name == "sources" or path.stem in ("Proof", f"{contract}Proof"):
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


def prove(
    contract: str, proof: str, timeout_s: int, mutant: Mutant | None = None
) -> Iterator[dict[str, Any]]:
    """Run the prover; one result for each proof."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        compile_into(folder, contract, mutant)
        # The prover begins with `forge build`; what that would make lies there already.
        forge = folder / "bin" / "forge"
        forge.parent.mkdir()
        forge.write_text("#!/bin/sh\nexit 0\n", "utf-8")
        forge.chmod(0o755)
        path = os.pathsep.join([str(forge.parent), str(PROVER / "bin"), os.environ["PATH"]])
        answer = folder / "answer.json"
        command: list[str | Path] = [
            PROVER / "bin" / "halmos",
            "--root",
            folder,
            "--contract",
            f"{contract}Proof",
            "--no-status",
        ]
        command += [
            "--match-test",
            "^" + proof.replace("(", "\\("),
            "--loop",
            str(LOOPS),
            "--solver-threads",
            "1",
        ]
        command += ["--solver-timeout-assertion", f"{timeout_s}s", "--json-output", answer, "--early-exit"]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        if not answer.exists():
            sys.exit(done.stdout + done.stderr)
        for results in json.loads(answer.read_bytes())["test_results"].values():
            yield from results


def main() -> int:
    """Everything that was asked for; 1 where a proof failed, or did not fail on a broken contract."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("contracts", nargs="*", help="only these")
    parser.add_argument("--mutants", action="store_true", help="break copies; each must be found")
    parser.add_argument("--timeout-s", type=int, default=120, help="for one question to the solver")
    arguments = parser.parse_args()
    if not NODE.exists() or shutil.which("sh") is None:
        sys.exit("Run “python3 dev.py setup” first; this works on Linux and macOS.")
    make_prover()
    every = sorted(path.stem.removesuffix("Proof") for path in (CONTRACTS / "proofs").glob("?*Proof.sol"))
    contracts = arguments.contracts or every
    bad = 0
    if arguments.mutants:
        print("| contract | broken | proof | seen |\n|---|---|---|---|")
        for one in (mutant for mutant in MUTANTS if mutant.contract in contracts):
            seen = any(result["exitcode"] == 1 for result in prove(one.contract, one.proof, 30, one))
            bad += not seen
            old = " ".join(one.old.split())
            print(
                f"| {one.contract} | `{old}` | {one.proof.strip('(')} | {'yes' if seen else 'NO'} |",
                flush=True,
            )
        return bad > 0
    print("| contract | proof | paths | seconds | result |\n|---|---|---|---|---|")
    for contract in contracts:
        for result in prove(contract, "check_", arguments.timeout_s):
            name, word = result["name"].partition("(")[0], RESULTS.get(result["exitcode"], "failed")
            paths, seconds = result["num_paths"][0], round(result["time"][0], 1)
            bad += result["exitcode"] != 0
            print(
                f"| {contract} | {name.removeprefix('check_')} | {paths} | {seconds} | {word} |", flush=True
            )
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
