"""Which stretch of a training can be looked at again: drawn while the job runs, and unknown to its provider.

Each stretch, from one checkpoint that came home to the next, is as likely as any other, by reservoir
sampling (Vitter 1985, algorithm R): the k-th takes the place of the one that is kept with chance 1 in k.
"""

from __future__ import annotations

import secrets
from typing import Any

KEPT = "stretch"
"""In the data of an order: `{"begin", "end"}`, each a checkpoint; None is the start or the end of the job."""
_SEEN = "stretches"


def drawn(data: dict[str, Any], begin: dict[str, Any] | None, end: dict[str, Any] | None) -> dict[str, Any]:
    """The changes to an order's data after a stretch has ended."""
    seen = int(data.get(_SEEN, 0)) + 1
    stretch = {"begin": begin, "end": end} if secrets.randbelow(seen) == 0 else data.get(KEPT)
    return {_SEEN: seen, KEPT: stretch}


def cids_of(data: dict[str, Any]) -> set[str]:
    """The checkpoints that are needed: the newest, and those at both ends of the stretch."""
    ends = [data.get("checkpoint"), *((data.get(KEPT) or {}).values())]
    return {found["blob"]["cid"] for found in ends if found}
