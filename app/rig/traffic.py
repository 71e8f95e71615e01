"""What jobs brought to a rig and took from it today, against its owner's cap on the network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from openstall.app.clock import Clock
from openstall.app.threads import Workers
from openstall.market.errors import Refused
from openstall.market.house import HouseRules
from openstall.store.settings import Settings

_SETTING = "rig.traffic"


@dataclass(slots=True, kw_only=True)
class DayTraffic:
    """Counts since midnight on the owner's clock; the count outlives the process."""

    settings: Settings
    rules: Callable[[], Awaitable[HouseRules]]
    workers: Workers
    clock: Clock

    async def admit(self, coming_bytes: int) -> None:
        """Let a job's inputs in.

        Raises:
            Refused: with them, the day's traffic would be above the owner's cap.
        """
        cap = (await self.rules()).network_bytes_day_cap
        if cap is not None and await self._today() + coming_bytes > cap:
            raise Refused(
                "network_cap",
                "This machine has no room for the job's data today.",
                "Try again tomorrow, or choose another offer.",
            )

    async def count(self, moved_bytes: int) -> None:
        """So much has come or gone."""
        value = {"day": self._day(), "bytes": await self._today() + moved_bytes}
        await self.workers.store(self.settings.set, _SETTING, value)

    async def _today(self) -> int:
        kept = await self.workers.store(self.settings.get, _SETTING)
        return int(kept["bytes"]) if kept and kept["day"] == self._day() else 0

    def _day(self) -> str:
        return datetime.fromtimestamp(self.clock.now(), tz=UTC).astimezone().date().isoformat()
