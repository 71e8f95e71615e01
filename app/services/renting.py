"""The provider's offer: what this machine rents out, at what price, while the switch is on."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.cards import Cards
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.house import House
from openstall.app.services.offer_terms import OfferTerms, check_caps, warm_stock
from openstall.app.services.rigs.link import RigLink
from openstall.app.services.rigs.machines import Machines, needs_of
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.specs import Inventory
from openstall.compute_agent.wire import WarmStock
from openstall.market.errors import Conflict, NotFound, Refused, SandboxError
from openstall.market.fields import body_as_dict
from openstall.market.house import read_rules
from openstall.market.job_kinds import FOREIGN_CODE
from openstall.market.orders.documents import ComputeTerms
from openstall.market.records import Gpu, Offer
from openstall.market.text import clean
from openstall.store.price_changes import PriceChange, PriceChanges
from openstall.store.settings import Settings

OFFER_KEY = "this-machine"
_SETTING = "renting"
_RETRY_S = 10.0
_RENEW_PART = 3
"""The offer is renewed when a third of its life is left."""

log = get_logger("openstall.renting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The machine that an offer describes."""

    cpu: str
    gpus: tuple[Gpu, ...]


@dataclass(slots=True, kw_only=True)
class Renting:
    """The switch of the Sell compute page, and the gate through which jobs come in."""

    catalogue: Catalogue
    settings: Settings
    workers: Workers
    agent: AgentClient
    machines: Machines
    cards: Cards
    open_jobs: Callable[[], Awaitable[int]]
    house: House
    wallet: str
    chain_id: int
    channel: str
    clock: Clock
    warm_folder: Path
    _changed: trio.Event = field(default_factory=trio.Event)
    _announcing: trio.Lock = field(default_factory=trio.Lock)
    _renew_at: float = -math.inf
    _on: bool = False

    @property
    def on(self) -> bool:
        """Whether the switch is on."""
        return self._on

    async def rules(self) -> OfferTerms | None:
        """The house rules while the switch is on, else None."""
        kept = await self.workers.store(lambda: self.settings.get(_SETTING))
        self._on = kept is not None
        return None if kept is None else OfferTerms(**{**kept, "kinds": tuple(kept["kinds"])})

    async def start(self, rules: OfferTerms) -> str:
        """Switch on: check that a machine is fit for it, then announce the offer; returns its cid.

        Raises:
            SandboxError: no sandbox passes its self-test on any machine, so no jobs.
            Refused: the rules give away more than any machine has.
        """
        await self.house.suggest_rules()
        try:
            shown = await self._check_this(rules)
        except (SandboxError, Refused):
            rig = self.machines.rig_for(rules.largest)
            if rig is None:
                raise
            shown = _shown_of(rig)
        async with self._announcing:
            cid = await self._announce(rules, shown)
            await self._keep(rules)
        self._on = True
        self._wake()
        return cid

    async def _check_this(self, rules: OfferTerms) -> Shown:
        """This machine, if it is fit for the largest job of the offer, checked with real jobs."""
        if not self.machines.own:
            raise SandboxError(
                "no_machine",
                "This machine runs no jobs itself, and no other machine of yours that is connected can take "
                "jobs as large as this offer's.",
                "Look at `openstall compute machines`; start the node without --no-agent, or offer less.",
            )
        house = await self.house.rules()
        check_caps(rules, house)
        machine = await self.agent.probe()
        if rules.threads > machine.cores_logical or rules.memory_bytes > machine.memory_bytes:
            raise Refused(
                "more_than_machine",
                f"This machine has {machine.cores_logical} threads and {machine.memory_bytes // 2**20} MiB.",
                "Offer at most that.",
            )
        checks = await self.agent.doctor()
        failed = [check for check in checks if check.severity == "error" and not check.ok]
        if failed:
            raise SandboxError(
                "sandbox_unavailable", f"No jobs can run safely here: {failed[0].cause}", failed[0].fix
            )
        if FOREIGN_CODE & set(rules.kinds) and self.agent.tier != "full":
            raise SandboxError(
                "sandbox_too_weak",
                "Programs of buyers run in the strongest sandbox only, and this machine does not have it.",
                "Leave that kind of job out, or run `openstall doctor`: it names the cause and the fix.",
            )
        shown = await self._shown(machine, rules)
        if rules.gpus:
            await self.cards.require(shown.gpus, machine.gpu_note, checks)
        return shown

    async def stop(self) -> None:
        """Switch off: take the offer back. Running jobs go on to their end."""
        if await self.rules() is None:
            raise Conflict("not_selling", "This machine is not on offer.")
        async with self._announcing:
            await self.workers.store(self.settings.remove, _SETTING)
            self._on = False
            self._wake()
            with suppress(NotFound):  # an offer that has expired needs no withdrawal
                await self.catalogue.withdraw("offer", OFFER_KEY)

    async def reprice(self, change: PriceChange, changes: PriceChanges) -> bool:
        """Ask another price from now on; False where the owner was quicker, or the switch is off.

        The offer in the catalogue follows from the terms, after a crash too: see `keep_alive`.
        """
        made = await self.workers.store(changes.make, change, setting=_SETTING, field="price_per_s_micro")
        if made:
            self._wake()
        return made

    async def keep_alive(self) -> None:
        """Renew the offer before it expires, for as long as the switch is on; after a restart if due.

        Meanwhile finished sandboxes wait for jobs.
        """
        warm: WarmStock | None = None
        told: OfferTerms | None = None
        while True:
            changed = self._changed
            rules = await self.rules()
            stock = None if rules is None else warm_stock(rules, self.warm_folder)
            if stock != warm:
                await self._keep_warm(stock)
                warm = stock
            if rules is None:
                await changed.wait()
                continue
            with trio.move_on_at(self._renew_at if rules == told else -math.inf) as due:
                await changed.wait()
            if not due.cancelled_caught:
                continue
            try:
                shown = await self._largest(rules)
                async with self._announcing:
                    if await self.rules() != rules:
                        continue  # the owner was quicker
                    if not await self._stands(rules, shown):
                        await self._announce(rules, shown)
                told = rules
            except SandboxError as error:
                log.warning("offer not renewed", code=error.code)
                self._renew_at = trio.current_time() + _RETRY_S

    async def _largest(self, rules: OfferTerms) -> Shown:
        """The machine that the offer describes now."""
        rig = self.machines.rig_for(rules.largest)
        if rig is not None and not await self.machines.own_holds(rules.largest):
            return _shown_of(rig)
        return await self._shown(await self.agent.probe(), rules)

    async def _shown(self, machine: Inventory, rules: OfferTerms) -> Shown:
        """This machine, with the graphics cards that are rented out."""
        gpus = await self.cards.shown(rules.gpu_memory_bytes) if rules.gpus else ()
        return Shown(cpu=machine.cpu_name or machine.machine, gpus=gpus)

    async def places(self) -> int:
        """How many jobs may run at once on this machine now: none while the house rules forbid it.

        One where the switch is off and paid jobs are still to be done.
        """
        if not await self.house.may_start():
            return 0
        rules = await self.rules()
        return 1 if rules is None else rules.jobs_at_once

    async def gpus(self) -> tuple[str, ...]:
        """The graphics cards for jobs, by the driver's ids; also for paid ones, once the switch is off."""
        rules = await self.rules()
        return () if rules is not None and not rules.gpus else await self.cards.ids()

    async def threads(self) -> int:
        """The threads of a job of the offer."""
        rules = await self.rules()
        return 1 if rules is None else rules.threads

    async def set_house_rules(self, value: Any) -> None:
        """Replace the house rules.

        Raises:
            Refused: they make no sense, or the present offer gives away more than they allow.
        """
        offered = await self.rules()
        if offered is not None and self.machines.rig_for(offered.largest) is None:
            check_caps(offered, read_rules(value))
        before = await self.house.rules()
        after = await self.house.set_rules(value)
        if offered is not None and before.devices_off != after.devices_off:
            self._renew_at = -math.inf  # the offer names the devices that may be rented
            self._wake()

    async def admit(self, terms: ComputeTerms) -> None:
        """Let a job in, or say why not.

        Raises:
            Refused: the switch is off, all places are taken, or no machine may run it now.
        """
        rules = await self.rules()
        if rules is None:
            raise Refused("not_selling", "This machine is no longer on offer.", "Choose another offer.")
        here = rules.jobs_at_once if self.machines.own else 0
        if await self.open_jobs() >= here + self.machines.rig_places + rules.queue:
            raise Refused(
                "machine_busy",
                "This machine is busy with other jobs.",
                "Try again later, or choose another offer.",
            )
        if terms.limits.gpus and terms.job_kind in FOREIGN_CODE and not rules.gpu_scripts:
            raise Refused(
                "no_gpu_scripts",
                "This provider does not let programs of buyers use its graphics cards.",
                "Send it without one, or choose another offer.",
            )
        await self.machines.admit(needs_of(terms))

    async def _stands(self, rules: OfferTerms, shown: Shown) -> bool:
        """Whether the offer of an earlier run still says the same for long enough.

        A new one would take its place, and decline whoever is just proposing an order of it.
        """
        try:
            live = await self.catalogue.own("offer", OFFER_KEY)
        except NotFound:
            return False
        left_s = live["expires"] - self.clock.now()
        wanted = body_as_dict(self._offer(rules, shown))
        if live["body"] != wanted or left_s <= rules.ttl_s / _RENEW_PART:
            return False
        self._renew_at = trio.current_time() + left_s - rules.ttl_s / _RENEW_PART
        return True

    def _offer(self, rules: OfferTerms, shown: Shown) -> Offer:
        threads = "thread" if rules.threads == 1 else "threads"
        return Offer(
            title=f"{shown.cpu[:100]}, {rules.threads} {threads}",
            kinds=list(rules.kinds),
            cpu=shown.cpu[:120],
            threads=rules.threads,
            memory_bytes=rules.memory_bytes,
            disk_bytes=rules.disk_bytes,
            gpus=list(shown.gpus),
            price_per_s_micro=rules.price_per_s_micro,
            max_s=rules.max_job_s,
            withdraw_delay_s=rules.withdraw_delay_s,
            wallet=self.wallet,
            chain_id=self.chain_id,
            channel=self.channel,
        )

    async def _announce(self, rules: OfferTerms, shown: Shown) -> str:
        offer = self._offer(rules, shown)
        signed = await self.catalogue.publish("offer", OFFER_KEY, body_as_dict(offer), life_s=rules.ttl_s)
        self._renew_at = trio.current_time() + rules.ttl_s * (1 - 1 / _RENEW_PART)
        return signed.cid

    async def _keep_warm(self, stock: WarmStock | None) -> None:
        """Have finished sandboxes wait for jobs while the switch is on; without them jobs start slower."""
        try:
            await self.agent.keep_warm(stock)
        except SandboxError as error:
            log.warning("no warm sandboxes", code=error.code)

    async def _keep(self, rules: OfferTerms) -> None:
        kept: dict[str, Any] = {name: getattr(rules, name) for name in OfferTerms.__slots__}
        await self.workers.store(lambda: self.settings.set(_SETTING, kept | {"kinds": list(rules.kinds)}))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _shown_of(rig: RigLink) -> Shown:
    state = rig.state
    if state is None:
        raise ValueError("a rig that has not told its state cannot be shown")
    return Shown(
        cpu=clean(state.cpu) or "another machine",
        gpus=(),  # rigs lend none
    )
