"""Whether this node measures models for others: anybody can name any wallet as an evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openstall.app.threads import Workers
from openstall.market.errors import Refused
from openstall.store.settings import Settings

SETTING = "evaluates"
"""Under which name the switch is kept."""


@dataclass(slots=True, kw_only=True)
class Willingness:
    """A switch of the owner's, off until it is set; own requests are measured in any case."""

    settings: Settings
    workers: Workers

    async def set(self, *, on: bool) -> dict[str, Any]:
        """Measure for whoever names this wallet, or take on nothing new from now on."""
        await self.workers.store(self.settings.set, SETTING, on)
        return {"on": on}

    async def get(self) -> dict[str, Any]:
        """How the switch stands."""
        return {"on": bool(await self.workers.store(self.settings.get, SETTING))}

    async def check(self) -> None:
        """Raises Refused `evaluates_not` where the owner has not agreed."""
        if not (await self.get())["on"]:
            raise Refused(
                "evaluates_not",
                "The user of this node has not agreed to measure models for others.",
                "Ask for it: there, `openstall evaluator on`.",
            )
