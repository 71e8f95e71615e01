"""The graphics cards of this machine: which of them jobs may use, and whether they may at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openstall.app.services.house import House
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import GPU_CHECK, Check
from openstall.compute_agent.specs import Gpu as Installed
from openstall.market.errors import SandboxError
from openstall.market.records import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """Asks the agent; what the owner's house rules switch off is not counted."""

    agent: AgentClient
    house: House

    async def ids(self) -> tuple[str, ...]:
        """Those that jobs may use, by the driver's ids."""
        return tuple(gpu.id for gpu in await self._allowed() if gpu.passed is not False)

    async def shown(self, memory_bytes: int) -> tuple[Gpu, ...]:
        """Those that passed, as an offer names them, with at most `memory_bytes` of each; 0 is all of it.

        The doctor is asked first if one was not looked at since the agent started.
        """
        cards = await self._allowed()
        if any(card.passed is None for card in cards):
            await self.agent.doctor()
            cards = await self._allowed()
        return tuple(
            Gpu(name=card.name[:120], memory_bytes=min(card.memory_bytes, memory_bytes or card.memory_bytes))
            for card in cards
            if card.passed
        )

    async def require(self, shown: Sequence[Gpu], note: str, checks: list[Check]) -> None:
        """Refuse an offer of graphics cards without one.

        Raises:
            SandboxError: `no_gpu`, with what does not hold.
        """
        if shown:
            return
        check = next((one for one in checks if one.name == GPU_CHECK), None)
        if check is None:
            raise SandboxError(
                "no_gpu",
                f"There is no graphics card for jobs here. {note}",
                "Start selling without graphics cards.",
            )
        if any(card.passed for card in (await self.agent.probe()).gpus):  # and is not shown
            raise SandboxError(
                "no_gpu",
                "The house rules switch off every graphics card that could be rented out.",
                "Switch one on in the house rules, or start selling without graphics cards.",
            )
        raise SandboxError("no_gpu", check.cause, check.fix)

    async def _allowed(self) -> tuple[Installed, ...]:
        off = (await self.house.rules()).devices_off
        return tuple(gpu for gpu in (await self.agent.probe()).gpus if gpu.id not in off)
