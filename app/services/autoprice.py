"""Follows the market with this machine's price, once its owner has switched that on; see `auto_price`.

A change is noted with its working and made in the terms of the offer in one transaction; the offer in the
catalogue follows from the terms, also after a crash in between. So there is one valid offer at any moment.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.renting import OFFER_KEY, Renting
from openstall.app.services.rivals import Rivals
from openstall.app.threads import Workers
from openstall.market.errors import ChainError, NotFound, Refused
from openstall.market.mechanisms.auto_price import PriceRules, Step, next_step, read_price_rules, step_words
from openstall.market.mechanisms.compute_prices import Sold, suggest
from openstall.market.records import Offer
from openstall.store.price_changes import PriceChange, PriceChanges
from openstall.store.settings import Settings

_SETTING = "autoprice"
LOOK_S = 300.0
SHOWN = 100

log = get_logger("openstall.autoprice")


@dataclass(slots=True, kw_only=True)
class Autoprice:
    """The owner's rules of the price, and who keeps them. Call from the trio thread."""

    renting: Renting
    catalogue: Catalogue
    rivals: Rivals
    changes: PriceChanges
    settings: Settings
    workers: Workers
    clock: Clock
    cost_per_s_micro: Callable[[], Awaitable[int]]
    sold: Callable[[], Awaitable[Sequence[Sold]]]
    _woken: trio.Event = field(default_factory=trio.Event)
    _began: float = math.inf
    _moved: float = -math.inf
    """When, by this process's own clock, which nobody can set."""

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        self._began = trio.current_time()
        while True:
            woken = self._woken
            try:
                await self.look()
            except ChainError as error:
                log.info("chain away", code=error.code)
            with trio.move_on_after(LOOK_S):
                await woken.wait()

    async def switch(self, *, on: bool, rules: Any = None) -> None:
        """Switch on or off; rules that are not given stay as they were.

        Raises:
            Refused: the rules make no sense, or there are none yet.
        """
        kept = await self._kept()
        chosen = read_price_rules(rules) if rules is not None else kept[1]
        if on and chosen is None:
            raise Refused(
                "no_price_rules",
                "There are no limits yet within which the price may move.",
                "Give a floor and a ceiling.",
            )
        plain = None if chosen is None else msgspec.to_builtins(chosen)
        await self.workers.store(self.settings.set, _SETTING, {"on": on, "rules": plain})
        self._woken.set()
        self._woken = trio.Event()

    async def look(self) -> Step | None:
        """Make the step that is due, if any; None where nothing may be done.

        Raises:
            ChainError: the chain is away: without it no rival can be believed.
        """
        on, rules = await self._kept()
        own = await self._own()
        if not on or rules is None or own is None:
            return None
        step = await self._step(rules, own)
        if step.moves:
            change = PriceChange(
                at=self.clock.now(),
                old_micro=step.old_micro,
                new_micro=step.new_micro,
                working=_working(step),
            )
            if await self.renting.reprice(change, self.changes):
                self._moved = trio.current_time()
                log.info("price moved", why=step.why, old=step.old_micro, new=step.new_micro)
        return step

    async def as_dict(self) -> dict[str, Any]:
        """The rules, what would follow from them now, and every change that was made, the newest first."""
        on, rules = await self._kept()
        own = await self._own()
        step, chain_away = None, False
        if rules is not None and own is not None:
            try:
                step = _working(await self._step(rules, own))
            except ChainError:
                chain_away = True
        items = await self.workers.store(self.changes.newest, SHOWN)
        return {
            "on": on,
            "rules": None if rules is None else msgspec.to_builtins(rules),
            "price_micro": own.price_per_s_micro if own is not None else None,
            "electricity_micro": await self.cost_per_s_micro(),
            "next_at": await self._next_at(rules) if rules is not None else None,
            "step": step,
            "chain_away": chain_away,
            "changes": {"items": [asdict(item) for item in items], "total": len(items)},
        }

    async def _step(self, rules: PriceRules, own: Offer) -> Step:
        electricity = await self.cost_per_s_micro()
        return next_step(
            rules,
            own,
            voices=await self.rivals.voices(own),
            suggestion=suggest(electricity, await self.sold()),
            electricity_micro=electricity,
            may_move=await self._may_move(rules),
        )

    async def _kept(self) -> tuple[bool, PriceRules | None]:
        kept = await self.workers.store(self.settings.get, _SETTING)
        if kept is None:
            return False, None
        return bool(kept["on"]), None if kept["rules"] is None else read_price_rules(kept["rules"])

    async def _own(self) -> Offer | None:
        """This machine's offer at the price of its terms; None while it is not on offer."""
        terms = await self.renting.rules()
        try:
            live = await self.catalogue.own("offer", OFFER_KEY)
        except NotFound:
            return None
        if terms is None:
            return None
        offer = msgspec.convert(live["body"], Offer)
        return msgspec.structs.replace(offer, price_per_s_micro=terms.price_per_s_micro)

    async def _next_at(self, rules: PriceRules) -> int:
        """When the next step may be made at the earliest (Unix seconds); now where nothing holds it."""
        last, now = await self.workers.store(self.changes.newest, 1), self.clock.now()
        wait_s = max(0.0, rules.pace_s - (trio.current_time() - self._moved))
        if last and last[0].at > now:
            # The clock was set back: its word is no good, so the pace is counted from the start of the node.
            wait_s = max(wait_s, rules.pace_s - max(0.0, trio.current_time() - self._began))
        elif last:
            wait_s = max(wait_s, rules.pace_s - (now - last[0].at))
        return now + math.ceil(wait_s)

    async def _may_move(self, rules: PriceRules) -> bool:
        return await self._next_at(rules) <= self.clock.now()


def _working(step: Step) -> dict[str, Any]:
    return {**asdict(step), "words": step_words(step)}
