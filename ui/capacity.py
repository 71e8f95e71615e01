"""What the local API answers about capacity: claims, bonds, and what challenges have shown."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from openstall.ui.documents import Document


class ClaimedFigure(Document, frozen=True, kw_only=True):
    """A figure of the provider's own benchmark."""

    name: str = ""
    device: str = ""
    value: int = 0
    unit: str = ""


class ClaimedWork(Document, frozen=True, kw_only=True):
    """A piece of work that can be asked for again."""

    device: str = ""
    threads: int = 0
    ms: int = 0
    million_operations_per_s: int = 0


class Claim(Document, frozen=True, kw_only=True):
    """What a provider says that its machine can do."""

    measured_at: int = 0
    runtime: str = ""
    figures: list[ClaimedFigure] = []
    works: list[ClaimedWork] = []


class Bond(Document, frozen=True, kw_only=True):
    """Money behind a claim, as the chain has it."""

    bond_id: str = ""
    state: str = ""
    left_micro: int = 0
    oracles: list[str] = []
    quorum: int = 0
    unlock_delay_s: int = 0


class Verdict(Document, frozen=True, kw_only=True):
    """What a challenge of this node has shown."""

    outcome: str = ""
    elapsed_ms: int = 0
    allowed_ms: int = 0
    at: int = 0
    line: dict[str, int] = {}


class Capacity(Document, frozen=True, kw_only=True):
    """All that is known of a provider's capacity here."""

    cid: str = ""
    claim: Claim | None = None
    bond: Bond | None = None
    verdicts: list[Verdict] = []


class ProofCheck(Document, frozen=True, kw_only=True):
    """A proof that was computed again on this node; `wrong` says what is wrong, by device."""

    cid: str = ""
    right: bool = False
    wrong: dict[str, str] = {}
