"""The committed ABI and bytecode of each contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ARTIFACTS = Path(__file__).parent / "artifacts"
NAMES = (
    "Credit",
    "OrderEscrow",
    "MeteredChannel",
    "ProviderBond",
    "SealedBidAuction",
    "ModelEscrow",
    "Contest",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What is needed to deploy a contract and to talk to it."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    """Creation code; none of the contracts takes constructor arguments."""


@cache
def artifact(name: str) -> Artifact:
    """Read a committed artifact; `name` is one of `NAMES`."""
    value = json.loads((ARTIFACTS / f"{name}.json").read_text("utf-8"))
    return Artifact(name=name, abi=value["abi"], bytecode=bytes.fromhex(value["bytecode"][2:]))
