"""The owner's limits for files: how fast they come and go, how much disk they take, who else gets them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from openstall.market.errors import Refused
from openstall.store.settings import Settings

KIB = 1024
MIB = 1024 * 1024
LEAST_PER_S = 16 * KIB
"""Below that others take this node for dead."""
_NAME = "blobs.limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLimits:
    """Bytes per second up and down, and bytes on the disk; 0 is no limit."""

    up_per_s: int = 0
    down_per_s: int = 0
    quota_bytes: int = 0
    share: bool = False
    """Whether encrypted packages that were bought here are given to others, and others asked for theirs."""

    def changed(self, **values: Any) -> BlobLimits:
        """With those that are not None.

        Raises:
            Refused: a limit that lets nothing through.
        """
        new = replace(self, **{name: value for name, value in values.items() if value is not None})
        for per_s in (new.up_per_s, new.down_per_s):
            if 0 < per_s < LEAST_PER_S:
                raise Refused(
                    "limit_too_low",
                    f"At less than {LEAST_PER_S // KIB} KiB a second no file ever arrives.",
                    "Choose more, or 0 for no limit.",
                )
        if 0 < new.quota_bytes < MIB:
            raise Refused(
                "limit_too_low", "Less than 1 MiB holds no file.", "Choose more, or 0 for no limit."
            )
        return new

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the local API and of the settings."""
        return asdict(self)


def load(settings: Settings) -> BlobLimits:
    """As they were saved, or none. Blocking."""
    return BlobLimits(**settings.get(_NAME, {}))


def save(settings: Settings, limits: BlobLimits) -> None:
    """On the disk when this returns. Blocking."""
    settings.set(_NAME, limits.as_dict())
