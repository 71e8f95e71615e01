"""What a provider lets itself be bound to: published beside its offer, and held against each order.

A bond is pledged once: what open orders may cost together is never more than what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from openstall.app.services.capacity.bonds import Bonds, as_dict
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.placing import Party
from openstall.app.services.renting import OFFER_KEY
from openstall.app.threads import Workers
from openstall.ledger.bond import BondOnChain
from openstall.market.errors import Conflict, NotFound, Refused
from openstall.market.fields import body_as_dict
from openstall.market.money import format_amount
from openstall.market.orders.agree import SETTLE_AFTER_S, START_WITHIN_S
from openstall.market.orders.documents import MOST_TIMES_CAP, Contract
from openstall.market.records import Service, ServiceLevel
from openstall.market.service_levels import check_place, within
from openstall.market.sightings import JUDGE_S
from openstall.store.orders import Orders
from openstall.store.settings import Settings

TYPE = "service"
LIFE_S = 30 * 86_400
_SETTING = "service.promise"
_SLACK_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A service level as a person asks for it; None where the provider's own word is taken."""

    start_s: int | None = None
    uptime_bps: int | None = None
    steps_per_1000s: int | None = None
    penalty_micro: int | None = None


@dataclass(slots=True, kw_only=True)
class Promises:
    """This node's promise, and those of others."""

    me: Party
    catalogue: Catalogue
    bonds: Bonds
    desk: OrderDesk
    orders: Orders
    settings: Settings
    workers: Workers
    now: Callable[[], int]
    _until: dict[str, int] = field(default_factory=dict)
    """Until when each order may cost something; 0 for those without a service level."""

    async def own(self) -> ServiceLevel | None:
        """What this node lets itself be bound to; None where it promises nothing."""
        kept = await self.workers.store(self.settings.get, _SETTING)
        return None if kept is None else msgspec.convert(kept, ServiceLevel)

    async def promise(self, wanted: Wanted) -> ServiceLevel:
        """Publish a promise beside the offer; orders that are open keep the one that they name.

        Raises:
            Conflict: there is no bond to pay from.
            Refused: it holds less than the penalty of one order, or no oracle would watch one.
        """
        bond = await self.bonds.own()
        if bond is None or bond.state != "posted":
            raise Conflict(
                "no_bond", "A promise without a bond behind it is worth nothing.", "Post a bond first."
            )
        level = ServiceLevel(
            start_s=wanted.start_s or 0,
            uptime_bps=wanted.uptime_bps or 0,
            steps_per_1000s=wanted.steps_per_1000s or 0,
            bond=bond.bond_id.hex(),
            penalty_micro=wanted.penalty_micro or bond.left_micro,
        )
        if level.penalty_micro > bond.left_micro:
            raise Refused(
                "above_bond",
                f"Your bond holds {format_amount(bond.left_micro)} credits, and cannot pay more.",
                "Promise a smaller penalty.",
            )
        check_place(level.penalty_micro, left_micro=bond.left_micro)
        if not (level.start_s or level.uptime_bps or level.steps_per_1000s):
            raise Refused("empty_service", "Nothing is promised.", "Give a start time, or an uptime.")
        await self._publish(level)
        await self.workers.store(self.settings.set, _SETTING, body_as_dict(level))
        return level

    async def publish_again(self) -> None:
        """Before the record expires; without a promise nothing happens."""
        level = await self.own()
        if level is not None and (await self.bonds.read(level.bond)).state in ("posted", "leaving"):
            await self._publish(level)

    async def take_back(self) -> None:
        """Promise nothing from now on.

        Raises:
            Conflict: nothing was promised.
        """
        if await self.own() is None:
            raise Conflict("no_service", "This machine promises nothing.")
        await self.workers.store(self.settings.remove, _SETTING)
        try:
            await self.catalogue.withdraw(TYPE, OFFER_KEY)
        except NotFound:
            return  # it has expired

    async def pledged(self) -> int:
        """What open orders may still cost this node's bonds together, in micro-credits."""
        return sum(await self._pledges())

    async def _pledges(self) -> list[int]:
        """What each of the open orders may still cost."""
        ids = await self.workers.store(lambda: self.orders.list_ids(role="seller", kind="compute"))
        now, found = self.now(), []
        for order_id in ids:
            if self._until.get(order_id, now) < now:
                continue  # a contract does not change: it is not read again
            order = await self.desk.load(order_id)
            level = order.contract.compute.service
            self._until[order_id] = order.contract.compute.settle_by + JUDGE_S if level is not None else 0
            if pledge := _pledge(order, now):
                found.append(pledge)
        return found

    async def admit(self, contract: Contract) -> None:
        """Whether this node may sign an order with a service level.

        Raises:
            Refused: it asks for more than is promised, than the bond can pay beside other orders, or than
                oracles watch.
        """
        asked = contract.compute.service
        if asked is None:
            return
        offered = await self.own()
        if offered is None:
            raise Refused("no_service", "This provider promises no service level.", "Order without one.")
        if more := within(asked, offered):
            raise Refused(
                "more_than_promised",
                f"The order asks for more than is promised: {', '.join(more)}.",
                "Open the page again to see the present promise.",
            )
        bond = await self.bonds.read(asked.bond)
        self._check_bond(bond, asked.penalty_micro, until=contract.compute.settle_by + JUDGE_S)
        if contract.order.buyer_wallet.lower() in bond.oracles:
            raise Refused("not_a_buyer", "An oracle of the bond cannot be paid by it.")
        pledges = await self._pledges()
        check_place(
            asked.penalty_micro, left_micro=bond.left_micro, pledged_micro=sum(pledges), orders=len(pledges)
        )

    async def of(self, peer_id: str) -> dict[str, Any]:
        """What a provider promises now, with the bond behind it as the chain has it."""
        level = await self._live(peer_id)
        bond = await self._behind(peer_id, level) if level is not None else None
        return {
            "level": body_as_dict(level) if level is not None else None,
            "bond": as_dict(bond) if bond is not None else None,
        }

    async def choose(self, provider: str, wanted: Wanted, *, cap_micro: int, max_s: int) -> ServiceLevel:
        """The service level to order: the provider's own where nothing else is asked for.

        Raises:
            Refused: the provider does not promise that, no bond stands behind it, or no oracle would watch.
        """
        offered = await self._live(provider)
        if offered is None:
            raise Refused("no_service", "This provider promises no service level.", "Order without one.")
        asked = msgspec.structs.replace(
            offered,
            **{
                name: value
                for name in ("start_s", "uptime_bps", "steps_per_1000s", "penalty_micro")
                if (value := getattr(wanted, name)) is not None
            },
        )
        most = min(offered.penalty_micro, MOST_TIMES_CAP * cap_micro)
        if wanted.penalty_micro is None:
            asked = msgspec.structs.replace(asked, penalty_micro=most)
        if asked.penalty_micro > most:
            raise Refused(
                "penalty_too_high",
                f"The penalty is at most {format_amount(most)} credits: what the provider pledges for one "
                f"order, and {MOST_TIMES_CAP} times your cap.",
            )
        if more := within(asked, offered):
            raise Refused(
                "more_than_promised",
                f"The provider does not promise that: {', '.join(more)}.",
                "Ask for what it promises, or for less.",
            )
        bond = await self._behind(provider, offered)
        if bond is None:
            raise Refused(
                "no_bond", "No bond of this provider stands behind its promise.", "Order without one."
            )
        until = self.now() + START_WITHIN_S + max_s + SETTLE_AFTER_S + JUDGE_S + _SLACK_S
        self._check_bond(bond, asked.penalty_micro, until=until)
        check_place(asked.penalty_micro, left_micro=bond.left_micro)
        if self.me.wallet.lower() in bond.oracles:
            raise Refused("not_a_buyer", "You are an oracle of this bond: it cannot pay you.")
        return asked

    def _check_bond(self, bond: BondOnChain, penalty_micro: int, *, until: int) -> None:
        """Raises Refused where the bond is too small, or may be gone before the last complaint."""
        leaves_at = bond.unlock_at or self.now() + bond.unlock_delay_s
        if bond.state not in ("posted", "leaving") or leaves_at < until:
            raise Refused("bond_leaves", "The provider's bond may be gone before the order is over.")
        if bond.left_micro < penalty_micro:
            raise Refused("bond_too_small", "The provider's bond holds less than the penalty.")

    async def _live(self, peer_id: str) -> ServiceLevel | None:
        record = await self.catalogue.live_of(peer_id, TYPE, OFFER_KEY)
        if record is None or not isinstance(record.body, Service):
            return None
        return record.body.level if record.body.chain_id == self.me.chain_id else None

    async def _behind(self, peer_id: str, level: ServiceLevel) -> BondOnChain | None:
        """The bond, if it was posted in the group's money from the wallet that is bound to that peer."""
        bond = await self.bonds.read(level.bond)
        same = bond.provider == await self.bonds.wallet_of(peer_id)
        in_credits = bond.token == self.bonds.chain.params.credit.lower()
        return bond if bond.state in ("posted", "leaving") and same and in_credits else None

    async def _publish(self, level: ServiceLevel) -> None:
        body = Service(level=level, chain_id=self.me.chain_id)
        await self.catalogue.publish(TYPE, OFFER_KEY, body_as_dict(body), life_s=LIFE_S)


def _pledge(order: OpenOrder, now: int) -> int:
    """What an order may still cost: until nobody may complain of it any more."""
    level = order.contract.compute.service
    if level is None or order.state in ("proposed", "declined", "lapsed"):
        return 0
    if now > order.contract.compute.settle_by + JUDGE_S:
        return 0
    return level.penalty_micro
