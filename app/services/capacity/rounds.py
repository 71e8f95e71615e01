"""An oracle that makes rounds: now and then it challenges a provider whose bond names it, unasked.

Off until its owner switches it on: whoever posts a bond can name any wallet, and a round costs some
seconds of the processor. One provider a round, however many name this oracle.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.capacity.bonds import Bonds
from openstall.app.services.capacity.claims import Claims, claim_of
from openstall.app.services.capacity.testbench import silent
from openstall.app.services.checking import Tell
from openstall.app.threads import Workers
from openstall.market.errors import OpenstallError
from openstall.store.settings import Settings

MEAN_S = 3600
"""Between two rounds; each pause is drawn anew from nothing to twice as much."""
TRY_AGAIN_S = 60
MOST_CLAIMS = 200
_SETTING = "capacity.rounds"

log = get_logger("openstall.capacity")


@dataclass(slots=True, kw_only=True)
class Rounds:
    """Keeps when the next round is, over restarts."""

    claims: Claims
    bonds: Bonds
    settings: Settings
    workers: Workers
    clock: Clock
    challenge: Callable[[str, Tell], Awaitable[dict[str, Any]]]
    _changed: trio.Event = field(default_factory=trio.Event)

    async def switch(self, *, on: bool) -> None:
        """Begin or end making rounds."""
        await self._plan(on=on)
        self._changed.set()
        self._changed = trio.Event()

    async def next_at(self) -> int | None:
        """When the next round is (Unix seconds); None where the oracle makes none."""
        kept: int | None = await self.workers.store(self.settings.get, _SETTING)
        return kept

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            changed = self._changed
            at = await self.next_at()
            if at is None:
                await changed.wait()
                continue
            with trio.move_on_after(max(0, at - self.clock.now())) as due:
                await changed.wait()
            if due.cancelled_caught:
                try:
                    await self.one_round()
                    await self._plan(on=True)
                except OpenstallError as error:
                    log.info("no round", code=error.code)
                    await self.workers.store(self.settings.set, _SETTING, self.clock.now() + TRY_AGAIN_S)

    async def one_round(self) -> str | None:
        """Challenge one provider that names this oracle; its peer id, or None where there is none.

        Raises:
            OpenstallError: the chain is away, or this node cannot check an answer.
        """
        mine = self.bonds.wallet.address.lower()
        page = await self.claims.catalogue.find(types=("capacity",), limit=MOST_CLAIMS)
        authors = [item["author"] for item in page["items"] if item["body"]["bond"] and not item["mine"]]
        while authors:
            author: str = authors.pop(secrets.randbelow(len(authors)))
            record = await self.claims.live(author)
            bond = await self.bonds.behind(claim_of(record), author) if record is not None else None
            if bond is not None and mine in bond.oracles:
                found = await self.challenge(author, silent)
                log.info("round made", provider=author, outcome=found["outcome"])
                return author
        return None

    async def _plan(self, *, on: bool) -> None:
        if on:
            at = self.clock.now() + secrets.randbelow(2 * MEAN_S)
            await self.workers.store(self.settings.set, _SETTING, at)
        else:
            await self.workers.store(self.settings.remove, _SETTING)
