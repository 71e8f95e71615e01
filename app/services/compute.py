"""The compute agent as a part of the node: kept alive, asked what the machine has and whether it is safe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.operations import Progress
from openstall.app.paths import Home
from openstall.app.services.checking import Tell
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.runtime import default_runtime_folder, install_runtime, runtime_state
from openstall.compute_agent.sandbox.untried import trial
from openstall.compute_agent.specs import Check, InstallProgress, Inventory, RuntimeState
from openstall.market.errors import Conflict, SandboxError
from openstall.p2p.nurseries import single_errors

_LOCKS = Path(__file__).parents[2] / "requirements"

DOCTOR_WORDS = "Checking the sandbox with real jobs"

log = get_logger("openstall.compute")


class ComputeService:
    """Owns the agent. Call from the trio thread."""

    def __init__(self, *, home: Home, enabled: bool, bus: EventBus, agent: AgentClient | None = None) -> None:
        """`agent` where it is another than that of this machine."""
        self.agent = agent or AgentClient(log_path=home.log.parent / "agent.log")
        self._enabled = enabled
        self._bus = bus
        self._state = "starting" if enabled else "off"
        self._reason: str | None = None
        self._fix: str | None = None
        self._checks: list[Check] | None = None
        self._inventory: Inventory | None = None
        self._runtime: RuntimeState | None = None
        self._installing = False

    async def run(self, ready: Callable[[], None]) -> None:
        """The node's part `agent`: off where it was switched off."""
        if not self._enabled:
            return
        async with trio.open_nursery() as nursery:
            await self.agent.start(nursery)
            await self.examine()
            ready()
            await trio.sleep_forever()

    async def examine(self, *, fresh: bool = False) -> list[Check]:
        """Run the doctor and remember what it said; a failed check is a state, not an error."""
        checks = await self.agent.doctor(fresh=fresh)
        self._inventory = await self.agent.probe()
        self._runtime = await self.agent.runtime()
        self._checks = checks
        failed = _failed(checks)
        self._state = "refused" if failed else "ready"
        self._reason = failed[0].cause if failed else None
        self._fix = failed[0].fix if failed else None
        log.info("agent examined", state=self._state, failed=[check.name for check in failed])
        self._bus.publish("status", {"part": "agent", "state": self._state})
        return checks

    async def doctor(self, progress: Progress) -> dict[str, Any]:
        """The doctor as a long action."""
        self._need_agent()
        progress(DOCTOR_WORDS)
        return _findings(await self.examine(fresh=True), self.agent)

    async def install(self, progress: Progress, *, gpu: bool = False) -> dict[str, Any]:
        """Download and check the workload runtime; cancelling leaves an earlier one as it was.

        `gpu`: the one for graphics cards, which is used before the other from then on.
        """
        if self._installing:
            raise Conflict("installing", "The runtime is being installed already.")
        self._installing = True
        try:
            await _install(progress, gpu=gpu)
        finally:
            self._installing = False
        if self.agent.running:
            await self.examine(fresh=True)
        return msgspec.to_builtins(self._runtime) if self._runtime else {}

    def brief(self) -> dict[str, Any]:
        """The agent as the status shows it."""
        return {"state": self._state, "reason": self._reason, "fix": self._fix}

    async def inventory(self) -> Inventory | None:
        """What the machine has and how busy it is, read now; as it was last known while the agent is away."""
        if self.agent.running and self._checks is not None:
            self._inventory = await self.agent.probe()
        return self._inventory

    async def as_dict(self) -> dict[str, Any]:
        """Inventory, doctor and runtime for the local API; null what is not known yet."""
        return {
            "agent": self.brief(),
            "inventory": msgspec.to_builtins(await self.inventory()),
            "doctor": msgspec.to_builtins(self._checks or []),
            "tier": self.agent.tier,
            "runtime": msgspec.to_builtins(self._runtime),
        }

    def _need_agent(self) -> None:
        if not self.agent.running:
            raise SandboxError(
                "agent_off",
                "The compute agent is not running.",
                "Start the node without --no-agent, or look at its log.",
            )


async def examine_without_node() -> dict[str, Any]:
    """The doctor's findings where no node runs, by an agent that lives as long as it takes.

    Raises:
        SandboxError: the agent does not start.
    """
    agent = AgentClient()
    with single_errors():
        async with trio.open_nursery() as nursery:
            await agent.start(nursery)
            try:
                return _findings(await agent.doctor(fresh=True), agent)
            finally:
                with trio.CancelScope(shield=True):
                    await agent.aclose()


def try_untried() -> dict[str, Any]:
    """What this system's sandbox that nobody has run does and does not hold; no job follows from it. Blocks.

    Raises:
        Conflict: there is none for this system. SandboxError: the attempts work nowhere here.
    """
    found = trial()
    return {
        "mechanism": found.mechanism,
        "tried": found.bare.tried,
        "open": None if found.inside is None else found.inside.open,
        "words": found.words,
        "tier": "none",
    }


async def install_without_node(progress: Tell, *, gpu: bool = False) -> dict[str, Any]:
    """The workload runtime where no node runs, as on the machine of a newcomer.

    Raises:
        SandboxError: it could not be downloaded, or does not work.
    """
    await _install(progress, gpu=gpu)
    found: dict[str, Any] = msgspec.to_builtins(await trio.to_thread.run_sync(runtime_state))
    return found


async def _install(progress: Tell, *, gpu: bool) -> None:
    lock = _LOCKS / ("runtime-gpu.lock" if gpu else "runtime.lock")
    if not lock.is_file():
        raise SandboxError(
            "no_lock", "This installation does not list the runtime's packages.", "Reinstall it."
        )

    def tell(step: InstallProgress) -> None:
        progress(f"{step.stage.capitalize()}: {step.words}", step.done, step.total, "steps")

    await install_runtime(default_runtime_folder(gpu=gpu), lock, tell)


def _findings(checks: list[Check], agent: AgentClient) -> dict[str, Any]:
    return {"checks": msgspec.to_builtins(checks), "tier": agent.tier, "ok": not _failed(checks)}


def _failed(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.severity == "error" and not check.ok]
