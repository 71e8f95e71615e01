"""tools/prove.py and docs/orders.md: every proof is in the table, every call has one, each has a mutant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
CONTRACTS = ROOT / "ledger" / "contracts"
PROVED = ["Contest", "MeteredChannel", "ModelEscrow", "OrderEscrow", "SealedBidAuction"]


def table(name: str) -> list[list[str]]:
    """The cells of a table of the page, without its head."""
    inside = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->\n")[0]
    return [
        [cell.strip() for cell in re.split(r" \| ", line.strip("| "))] for line in inside.splitlines()[2:]
    ]


def proofs() -> list[tuple[str, str]]:
    """Contract and name of every proof in the folder."""
    found = []
    for path in sorted((CONTRACTS / "proofs").glob("?*Proof.sol")):
        names = re.findall(r"function check_(\w+)\(", path.read_text(encoding="utf-8"))
        found += [(path.stem.removesuffix("Proof"), name) for name in names]
    return found


def test_every_proof_is_in_the_table_once_and_none_failed() -> None:
    rows = table("proofs")
    assert sorted((row[0], row[1]) for row in rows) == sorted(proofs())
    assert {row[0] for row in rows} == set(PROVED)
    assert {row[4] for row in rows} == {"proved"}


def test_every_mutant_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from mutants import MUTANTS

    rows = table("mutants")
    known = [one.cells() for one in MUTANTS]
    assert sorted(row[:4] for row in rows) == sorted(known)
    assert [row for row in rows if row[-1] != "yes"] == []


def test_every_proof_has_a_mutant_that_is_broken_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from mutants import MUTANTS

    for one in MUTANTS:
        source = CONTRACTS / "sources" / f"{one.source or one.contract}.sol"
        assert source.read_text(encoding="utf-8").count(one.old) == 1, one
    assert {(one.contract, one.proof) for one in MUTANTS} == set(proofs())


@pytest.mark.parametrize("contract", PROVED)
def test_every_call_that_changes_something_is_in_a_proof_of_conservation(contract: str) -> None:
    abi = json.loads((CONTRACTS / "artifacts" / f"{contract}.json").read_text(encoding="utf-8"))["abi"]
    calls = [
        entry["name"]
        for entry in abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    ]
    assert calls
    names = {name for of, name in proofs() if of == contract}
    for call in calls:
        assert "conservation_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", call).lower() in names, call
