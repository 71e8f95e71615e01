"""The owner's house: looks at the machine, says whether jobs may run, and has their answer carried out.

While jobs run it looks twice a second, so that whoever comes back has the machine within a moment. A
sensor that does not answer in time counts as one that cannot tell: then the rule that needs it holds jobs.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.house_guests import Guests, NoGuests
from openstall.app.services.house_words import buyers_words, owners_words
from openstall.app.threads import Workers
from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.wire import Watch
from openstall.market.earnings import floor_price_micro
from openstall.market.errors import Conflict, Refused, SandboxError
from openstall.market.house import (
    Decision,
    Facts,
    HouseRules,
    Reason,
    decide,
    is_too_hot,
    read_rules,
    suggested,
)
from openstall.store.settings import Settings

BUSY_S = 0.5
"""Between two looks while a job runs."""
CALM_S = 5.0
SENSE_S = 2.0
"""A sensor that is silent for longer cannot tell."""
RULES, PAUSED = "house.rules", "house.paused"
"""Names in the settings; another process of the owner may write there, see `heed`."""
_RETURNS = "house.returns"
_ALL = Watch(input=True, battery=True, network=True, load=True, heat=True, power=True, devices=True)

log = get_logger("openstall.house")


@dataclass(slots=True, kw_only=True)
class House:
    """The rules and their keeper. Call from the trio thread."""

    settings: Settings
    workers: Workers
    agent: AgentClient
    bus: EventBus
    clock: Clock
    guests: Guests = field(default_factory=NoGuests)
    _rules: HouseRules | None = None
    _facts: Facts = field(default_factory=Facts)
    _decision: Decision = field(default_factory=lambda: Decision(may_take=True, may_go_on=True))
    _since: int = 0
    _paused_at: int = 0
    _known: bool = False
    _stored: tuple[Any, ...] = ()
    """Rules and pause as they were last read from the store."""
    _looking: trio.Lock = field(default_factory=trio.Lock)
    _changed: trio.Event = field(default_factory=trio.Event)
    _fine_at: float | None = None
    _looked_at: float | None = None
    _returns: dict[str, int] = field(default_factory=dict)

    async def load(self) -> None:
        """Read what the store keeps; once."""
        if self._known:
            return
        returns = await self.workers.store(self.settings.get, _RETURNS)
        await self._read()
        self._returns, self._known = dict(returns or {}), True

    async def heed(self) -> None:
        """Take over what another process of the owner has written since: rules, a pause; it holds at once."""
        await self.load()
        before = self._rules or HouseRules()
        if await self._read():
            await self._announce(before, self._rules or HouseRules())
            await self.look()
            self.wake()

    async def _read(self) -> bool:
        found = await self.workers.store(lambda: tuple(self.settings.get(name) for name in (RULES, PAUSED)))
        if found == self._stored:
            return False  # what is being written here just now is newer
        self._stored = found
        kept, paused = found
        self._rules = None if kept is None else read_rules(kept)
        self._paused_at = int(paused or 0)
        return True

    async def rules(self) -> HouseRules:
        """The rules; none where the owner has set none."""
        await self.load()
        return self._rules or HouseRules()

    async def set_rules(self, value: Any) -> HouseRules:
        """Replace the rules; they hold at once, also for running jobs, whose buyers hear of maintenance.

        Raises:
            Refused: they make no sense.
        """
        rules, before = read_rules(value), await self.rules()
        await self.workers.store(self.settings.set, RULES, msgspec.to_builtins(rules))
        self._rules = rules
        await self._announce(before, rules)
        await self.look()
        return rules

    async def _announce(self, before: HouseRules, rules: HouseRules) -> None:
        for window in rules.maintenance:
            if window not in before.maintenance:
                starts, ends = _utc(window.starts), _utc(window.ends)
                await self.guests.tell(f"[The provider announces maintenance from {starts} to {ends}.]")

    async def suggest_rules(self) -> None:
        """Give an owner who has set no rules those that this machine can watch."""
        await self.load()
        if self._rules is None:
            await self.set_rules(msgspec.to_builtins(suggested(await self._sense(_ALL))))

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        await self.load()
        while True:
            changed = self._changed
            await self.look()
            with trio.move_on_after(BUSY_S if self.guests.running else CALM_S):
                await changed.wait()

    def wake(self) -> None:
        """A job has begun: look now, and more often."""
        self._changed.set()
        self._changed = trio.Event()

    async def look(self, *, whole: bool = False) -> Decision:
        """Look at the machine now, with every sensor if `whole`, and hold or release jobs."""
        async with self._looking:
            rules = await self.rules()
            watch = _watch(rules, power=self.guests.running > 0)
            self._facts = await self._sense(
                msgspec.structs.replace(_ALL, apps=watch.apps) if whole else watch
            )
            self._count_energy()
            before = self._decision
            self._decision = self._decide(rules)
            if self._decision.may_go_on:
                self._fine_at = trio.current_time()
                if self.guests.waiting:
                    await self.guests.let_go()
            else:
                await self._hold(rules)
            if [one.rule for one in before.reasons] != [one.rule for one in self._decision.reasons]:
                self._since = self.clock.now()
                log.info("house", reasons=[one.rule for one in self._decision.reasons])
                self.bus.publish("status", {"part": "house", "state": self.state})
            return self._decision

    async def admit(self, max_s: int) -> None:
        """Let a job of at most so many seconds in, or say why not, without saying what the owner does.

        Raises:
            Refused: the rules forbid it now, or will before it could end.
        """
        decision = await self.look()
        if not decision.may_take:
            raise Refused("house_closed", buyers_words(decision, self._now()), "Choose another offer.")
        if decision.closes_at is not None:
            left_s = int((decision.closes_at - self._now()).total_seconds())
            if max_s > left_s:
                raise Refused(
                    "house_closes",
                    f"This machine is for rent for another {left_s} s only; your job may take {max_s} s.",
                    "Send a shorter job, or choose another offer.",
                )

    async def may_start(self) -> bool:
        """Whether a job that is paid may begin now."""
        return (await self.look()).may_take

    async def pause(self) -> int:
        """The owner wants the machine, now; milliseconds until no job used the processor any more."""
        await self.load()
        if self._paused_at:
            raise Conflict("paused", "This machine is paused already.")
        began = trio.current_time()
        self._paused_at = self.clock.now()
        await self.workers.store(self.settings.set, PAUSED, self._paused_at)
        self._fine_at = began
        await self.look()
        return round((trio.current_time() - began) * 1000)

    async def resume(self) -> None:
        """Take back a pause; the rules hold as before."""
        await self.load()
        if not self._paused_at:
            raise Conflict("not_paused", "This machine is not paused by hand.")
        self._paused_at = 0
        await self.workers.store(self.settings.remove, PAUSED)
        await self.look()
        self.wake()

    @property
    def held_back(self) -> str:
        """What keeps jobs away now, in the owner's words; empty if nothing does."""
        if self._decision.may_take and not self._paused_at:
            return ""
        return " and ".join(one.words for one in self._decision.reasons) + "."

    @property
    def state(self) -> str:
        """`open`, `full` (no room for another job), `closed` by a rule, or `paused` by hand."""
        if self._paused_at:
            return "paused"
        if not self._decision.may_go_on:
            return "closed"
        return "open" if self._decision.may_take else "full"

    @property
    def closes_at(self) -> int | None:
        """When the rules will stop jobs, in Unix seconds; None where nothing says so."""
        return _unix(self._decision.closes_at)

    async def words(self) -> tuple[str, str]:
        """What was so and why at the last look, and what happens next."""
        rules = await self.rules()
        return owners_words(
            self._decision,
            since=self._since,
            now=self._now(),
            waiting=self.guests.waiting,
            wait_s=rules.wait_s,
        )

    async def as_dict(self) -> dict[str, Any]:
        """The house as the local API shows it, with fresh readings of every sensor."""
        rules = await self.rules()
        await self.look(whole=True)
        decision = self._decision
        words, next_words = await self.words()
        return {
            "state": self.state,
            "since": self._since,
            "words": words,
            "next_words": next_words,
            "reasons": msgspec.to_builtins(decision.reasons),
            "opens_at": _unix(decision.opens_at),
            "closes_at": self.closes_at,
            "set": self._rules is not None,
            "rules": msgspec.to_builtins(rules),
            "sensors": msgspec.to_builtins(self._facts),
            "jobs_running": self.guests.running - self.guests.waiting,
            "jobs_waiting": self.guests.waiting,
            "returned": self._returns or None,
            "floor_price_micro": self.floor_price_micro(rules),
        }

    def floor_price_micro(self, rules: HouseRules) -> int | None:
        """The least price per second that pays for the electricity; None where power or tariff is unknown."""
        power_mw = self._facts.power_mw or (rules.stated_w or 0) * 1000
        if not power_mw or not rules.tariff_micro_per_kwh:
            return None
        return floor_price_micro(power_mw, rules.tariff_micro_per_kwh)

    async def _hold(self, rules: HouseRules) -> None:
        held = await self.guests.hold(_for_the_job(rules.wait_s))
        if held and self._fine_at is not None:
            took_ms = round((trio.current_time() - self._fine_at) * 1000)
            self._returns = {
                "count": self._returns.get("count", 0) + 1,
                "last_ms": took_ms,
                "worst_ms": max(took_ms, self._returns.get("worst_ms", 0)),
                "at": self.clock.now(),
            }
            log.info("machine returned", took_ms=took_ms, jobs=held)
            await self.workers.store(self.settings.set, _RETURNS, self._returns)
        why = "too_hot" if is_too_hot(self._decision) else "house_rules"
        await self.guests.end_overdue(rules.wait_s, why)

    def _decide(self, rules: HouseRules) -> Decision:
        held = self.guests.waiting > 0 or not self._decision.may_go_on
        found = decide(rules, self._facts, self._now(), held=held)
        if not self._paused_at:
            return found
        by_hand = Reason(rule="paused", words="you paused it", ends="when you resume it")
        return msgspec.structs.replace(
            found, may_take=False, may_go_on=False, reasons=(by_hand, *found.reasons)
        )

    def _count_energy(self) -> None:
        now, last = trio.current_time(), self._looked_at
        self._looked_at = now
        if last is None or self._facts.power_mw is None or now - last > CALM_S:
            return
        passed_ms = round((now - last) * 1000)
        self.guests.note_energy(self._facts.power_mw * passed_ms // 1000, passed_ms)

    async def _sense(self, watch: Watch) -> Facts:
        facts = Facts()
        if self.agent.running:
            with trio.move_on_after(SENSE_S), suppress(SandboxError):
                facts = await self.agent.sense(watch)
        return facts

    def _now(self) -> datetime:
        """The owner's clock."""
        return datetime.fromtimestamp(self.clock.now(), tz=UTC).astimezone().replace(tzinfo=None)


def _watch(rules: HouseRules, *, power: bool) -> Watch:
    """The sensors that these rules need, and no others: looking costs the owner's processor."""
    heat = rules.temperature_c_max or rules.fan_rpm_max or rules.noise_percent_max
    return Watch(
        input=rules.idle_s is not None,
        battery=rules.mains_only,
        network=rules.unmetered_only,
        load=rules.others_percent_max is not None,
        heat=heat is not None,
        power=power or rules.power_w_max is not None,
        devices=power or heat is not None or rules.power_w_max is not None,
        apps=rules.exclusive_apps,
    )


def _for_the_job(wait_s: int) -> str:
    wait = f"It waits for at most {wait_s} s, then it is ended." if wait_s else "It is ended."
    return f"[Paused: the owner of the machine needs it. The job costs nothing meanwhile. {wait}]"


def _utc(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.astimezone().timestamp())
