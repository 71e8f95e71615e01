"""The graphics cards of this machine: which of them jobs may use, and whether they may at all."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.house import House
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import GPU_CHECK, Check, Inventory
from openstall.market.errors import SandboxError
from openstall.market.house import HouseRules
from openstall.market.records import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """Asks the agent; what the owner's house rules switch off is not counted."""

    agent: AgentClient
    house: House

    async def ids(self) -> tuple[str, ...]:
        """Those that jobs may use, by the driver's ids."""
        off = (await self.house.rules()).devices_off
        return tuple(gpu.id for gpu in (await self.agent.probe()).gpus if gpu.id not in off)

    def check(self, machine: Inventory, checks: list[Check]) -> None:
        """Whether the doctor found that every card keeps to itself what a job leaves.

        Raises:
            SandboxError: `no_gpu`, with what does not hold.
        """
        check = next((one for one in checks if one.name == GPU_CHECK), None)
        if check is None or not check.ok:
            raise SandboxError(
                "no_gpu",
                check.cause if check else f"There is no graphics card for jobs here. {machine.gpu_note}",
                check.fix if check else "Start selling without graphics cards.",
            )


def offered(machine: Inventory, house: HouseRules, memory_bytes: int) -> tuple[Gpu, ...]:
    """The cards as an offer names them, with at most `memory_bytes` of each; 0 is all of it."""
    return tuple(
        Gpu(name=gpu.name[:120], memory_bytes=min(gpu.memory_bytes, memory_bytes or gpu.memory_bytes))
        for gpu in machine.gpus
        if gpu.id not in house.devices_off
    )
