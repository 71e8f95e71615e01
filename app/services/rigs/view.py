"""One view of all machines of the owner: this one and its rigs, connected or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openstall.app.services.compute import ComputeService
from openstall.app.services.house import House
from openstall.app.services.rigs.hub import Paired, RigHub
from openstall.app.services.rigs.link import RigLink
from openstall.app.services.rigs.machines import THIS, own_size
from openstall.compute_agent.specs import Inventory
from openstall.market.errors import Conflict, OpenstallError
from openstall.market.text import clean

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJob:
    """A job that runs, for the owner."""

    order_id: str
    title: str
    stage: str
    machine: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the local API."""
        return {"order_id": self.order_id, "title": self.title, "stage": self.stage}


@dataclass(slots=True, kw_only=True)
class MachinesView:
    """What `openstall compute machines` and the machines panel show and do."""

    compute: ComputeService
    house: House
    hub: RigHub
    own: bool
    jobs: Callable[[], Awaitable[list[ShownJob]]]
    own_places: Callable[[], Awaitable[int]]

    async def as_dict(self, troubles: Mapping[str, OpenstallError] | None = None) -> dict[str, Any]:
        """Every machine; `troubles` by machine are what an action met."""
        jobs = await self.jobs()
        items = [
            await self._this(),
            *(_rig(rig, self.hub.link(rig.peer_id)) for rig in self.hub.paired),
        ]
        for item in items:
            item["jobs"] = [job.as_dict() for job in jobs if job.machine == item["key"]]
        met = [{"machine": self._name(key), **error.as_dict()} for key, error in (troubles or {}).items()]
        return {"items": items, "total": len(items), "troubles": met}

    async def act(self, action: str, machine: str) -> dict[str, Any]:
        """Pause or resume one machine, or all; what one of all refuses does not keep the others.

        Raises:
            NotFound, PeerError, Conflict, SandboxError: the one machine cannot.
        """
        if machine != ALL:
            key = machine if machine == THIS else self.hub.find(machine)
            await self._do(action, key)
            return await self.as_dict()
        troubles: dict[str, OpenstallError] = {}
        for key in [THIS, *(rig.peer_id for rig in self.hub.paired)]:
            try:
                await self._do(action, key)
            except Conflict:
                continue  # it is as it should be already
            except OpenstallError as error:
                if error.code not in ("paused", "not_paused"):
                    troubles[key] = error
        return await self.as_dict(troubles)

    async def unpair(self, machine: str) -> dict[str, Any]:
        """End the pairing with one rig.

        Raises:
            NotFound: there is no such rig.
        """
        peer_id = self.hub.find(machine)
        name = self.hub.name(peer_id)
        await self.hub.unpair(peer_id)
        return {"key": peer_id, "name": name}

    async def _do(self, action: str, key: str) -> None:
        if key == THIS:
            await (self.house.pause() if action == "pause" else self.house.resume())
        elif action == "pause":
            await self.hub.pause(key)
        else:
            await self.hub.resume(key)

    def _name(self, key: str) -> str:
        return "this machine" if key == THIS else self.hub.name(key)

    async def _this(self) -> dict[str, Any]:
        found = (await self.compute.inventory()) if self.own else None
        brief = self.compute.brief()
        words, next_words = await self.house.words()
        state = self.house.state
        if not self.own:
            state, words, next_words = "off", "This machine runs no jobs itself: its agent is off.", ""
        elif brief["state"] != "ready":
            state = brief["state"]
            words = brief["reason"] or "The compute agent is starting."
            next_words = brief["fix"] or ""
        places = await self.own_places() if self.own else 0
        size = own_size(found, await self.house.rules(), self.compute.agent.tier) if found else None
        return {
            "key": THIS,
            "name": "this machine",
            "this": True,
            "connected": self.own,
            "state": state,
            "words": words,
            "next_words": next_words,
            "tier": self.compute.agent.tier,
            "places": places,
            "paired_at": None,
            "seen_at": None,
            "most_threads": size.threads if size else 0,
            "most_memory_bytes": size.memory_bytes if size else 0,
            **_figures(found),
        }


def _rig(rig: Paired, link: RigLink | None) -> dict[str, Any]:
    state = link.state if link is not None else None
    item: dict[str, Any] = {
        "key": rig.peer_id,
        "name": rig.name,
        "this": False,
        "connected": state is not None,
        "state": "away",
        "words": "Not connected.",
        "next_words": "It comes back by itself when it is switched on and `openstall rig run` runs there.",
        "tier": "none",
        "places": 0,
        "paired_at": rig.paired_at,
        "seen_at": rig.seen_at or None,
        "most_threads": state.job_threads if state is not None else 0,
        "most_memory_bytes": state.job_memory_bytes if state is not None else 0,
        **_figures(None),
    }
    if state is None:
        return item
    ready = state.tier != "none"
    return item | {
        "state": state.house if ready else "refused",
        "words": clean(state.words),
        "next_words": clean(state.next_words),
        "tier": state.tier,
        "places": state.places,
        "cpu": clean(state.cpu),
        "threads": state.cores,
        "load_percent": state.load_percent,
        "memory_bytes": state.memory_total_bytes,
        "memory_free_bytes": state.memory_free_bytes,
        "disk_free_bytes": state.disk_free_bytes,
        "gpus": [clean(gpu.name) for gpu in state.gpus],
    }


def _figures(found: Inventory | None) -> dict[str, Any]:
    if found is None:
        return {
            "cpu": "",
            "threads": 0,
            "load_percent": 0,
            "memory_bytes": 0,
            "memory_free_bytes": 0,
            "disk_free_bytes": 0,
            "gpus": [],
        }
    return {
        "cpu": found.cpu_name,
        "threads": found.cores_logical,
        "load_percent": found.load_percent,
        "memory_bytes": found.memory_bytes,
        "memory_free_bytes": found.memory_free_bytes,
        "disk_free_bytes": found.disk_free_bytes,
        "gpus": [gpu.name for gpu in found.gpus],
    }
