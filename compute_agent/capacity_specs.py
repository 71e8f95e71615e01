"""Parameters of the jobs that measure a machine: the challenge, its check, and the benchmark.

Those that look at a finished job again (`recheck_specs`) are of the same sort.

Only the owner of a node starts these, or a peer that may challenge it; an order cannot name them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from openstall.compute_agent.recheck_specs import RECHECKS, RecheckKind, RecheckParams

MAX_SEGMENTS: Final = 256
MAX_OPENED: Final = 16

Device = Annotated[str, msgspec.Meta(pattern=r"^(cpu|cuda:[0-9]{1,2})\Z")]
Seed = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Side = Annotated[int, msgspec.Meta(ge=64, le=4096, multiple_of=64)]
"""Rows and columns of the matrices; above 4,096 a float32 sum would no longer be exact."""
Segments = Annotated[int, msgspec.Meta(ge=4, le=MAX_SEGMENTS)]
Rounds = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""Rounds in one segment."""


class ChallengeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compute the chain of `seed`; writes `proof.json` and `states.bin`, the state before each segment."""

    seed: Seed
    size: Side
    segments: Segments
    rounds: Rounds
    device: Device = "cpu"

    @property
    def states_bytes(self) -> int:
        """Size of `states.bin`."""
        return self.segments * self.size**2


class VerifyChallengeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compute the `opened` segments again from `states.bin` (their states, in that order)."""

    seed: Seed
    size: Side
    segments: Segments
    rounds: Rounds
    digests: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=5, max_length=MAX_SEGMENTS + 1)]
    opened: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEGMENTS)], ...],
        msgspec.Meta(min_length=1, max_length=MAX_OPENED),
    ]
    device: Device = "cpu"

    def __post_init__(self) -> None:
        """Refuse what does not fit together, as a schema does."""
        if len(self.digests) != self.segments + 1 or max(self.opened) >= self.segments:
            raise ValueError("the digests and the opened segments do not fit the number of segments")


class BenchmarkParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measure one device; `seconds` is about the time for each figure."""

    device: Device = "cpu"
    seconds: Annotated[int, msgspec.Meta(ge=1, le=30)] = 2


MeasuringKind = Literal["challenge", "verify_challenge", "benchmark", RecheckKind]
MeasuringParams = ChallengeParams | VerifyChallengeParams | BenchmarkParams | RecheckParams
MEASURING: Final[dict[str, type[MeasuringParams]]] = {
    "challenge": ChallengeParams,
    "verify_challenge": VerifyChallengeParams,
    "benchmark": BenchmarkParams,
    **RECHECKS,
}
