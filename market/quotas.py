"""How much of a catalogue one author may fill.

The rule is about the set of records, never about the order in which they came: of each type an author's
slots with the highest numbers count, and the rest do not. So two peers that saw a flood in different order
hold the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LIVE_PER_AUTHOR: Mapping[str, int] = MappingProxyType(
    {
        "listing": 800,
        "offer": 250,
        "capacity": 250,
        "service": 250,
        "request": 350,
        "developer": 1,
        "peer": 1,
    }
)
"""Live records of one author by type; a tombstone counts as what it withdraws."""
OTHER_TYPES = 100
KEPT_PER_AUTHOR = 4_000
"""Records of one author that a peer keeps, superseded ones included; the oldest of those give way first."""
