"""A model made to order is recovered in every state, by every party and judge whose books have lost it.

One order is walked through its states; in each of them one node after the other loses the order, and has it
again from what the others hold and the chain shows. Then it goes on, and ends as if nothing had been lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from custom_lab import CustomLab, Maker, custom_lab
from ledger_lab import CREDIT
from recovery_lab import lose, recovery_of

from openstall.app.services.orders.recovery import Recovery
from openstall.market.orders.papers import read_papers

PRICE = 30 * CREDIT


class Losses:
    """Loses orders, and has them recovered."""

    def __init__(self, lab: CustomLab) -> None:
        self.lab = lab
        self.recovery: dict[str, Recovery] = {
            side.folder.name: recovery_of(side, side.custom) for side in lab.everybody
        }
        self.seen: list[str] = []

    async def by(self, order_id: str, state: str, *sides: Maker) -> dict[str, Any]:
        """Each of these loses the order in a state, and has it again; what the last was told."""
        buyer, ada = self.lab.buyer, self.lab.ada
        told: dict[str, Any] = {}
        for side in sides or (buyer, ada, self.lab.evaluators[0], self.lab.arbiter):
            assert await side.state(order_id) == state, side.folder.name
            before = await side.desk.load(order_id)
            await lose(side, order_id)
            assert await side.desk.find(order_id) is None
            other = ada if side is buyer else buyer
            told = await self.recovery[side.folder.name].recover(order_id, [other.host.peer_id])
            after = await side.desk.load(order_id)
            assert after.state == state, (side.folder.name, told)
            assert after.contract == before.contract
            assert after.seller_signature == before.seller_signature
            assert told["found"][0]["what"] == "contract"
        self.seen.append(state)
        return told


async def verdicts_in_papers(lab: CustomLab, order_id: str, role: str, reader: Maker) -> int:
    """How many verdicts the buyer's papers hold for a reader."""
    line = recovery_of(lab.buyer, lab.buyer.custom).line
    raw = await line.papers.of(await lab.order(order_id), role, reader.wallet.address.lower())
    return len(read_papers(raw)[0].verdicts)


async def test_from_the_proposal_to_the_ruling(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        losses, judge = Losses(lab), lab.evaluators[0]
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT, ben=PRICE)
        await losses.by(order_id, "proposed", lab.buyer)
        await lab.buyer.negotiation.propose(await lab.order(order_id))
        await losses.by(order_id, "agreed", lab.buyer, lab.ada)
        await lab.buyer.step(order_id)
        for side in (lab.ada, *lab.watching(await lab.order(order_id))):
            await side.step(order_id)
        await losses.by(order_id, "funded")
        await lab.submit(order_id, 35)
        await lab.buyer.step(order_id)
        await lab.measured(order_id, judge)
        measured = judge.sandbox.measured
        await losses.by(order_id, "submitted")
        assert await verdicts_in_papers(lab, order_id, "evaluator", lab.evaluators[1]) == 0
        assert await verdicts_in_papers(lab, order_id, "evaluator", judge) == 1
        assert await verdicts_in_papers(lab, order_id, "seller", lab.ada) == 1
        await judge.step(order_id)
        assert judge.sandbox.measured == measured  # it has its own verdict again, and signs no other
        await lab.judged(order_id)
        await losses.by(order_id, "failed")
        await lab.submit(order_id, 40)
        await lab.judged(order_id)
        await lab.buyer.step(order_id)
        await losses.by(order_id, "passed")
        await lab.ada.step(order_id)  # with the key that it had lost
        await lab.see(order_id)
        await lab.buyer.step(order_id)
        assert (await lab.order(order_id)).data["verified"]
        await losses.by(order_id, "delivered")
        await lab.buyer.made_to_order.dispute(await lab.order(order_id), "Not what was asked for.")
        await lab.see(order_id)
        await lab.buyer.step(order_id)
        await losses.by(order_id, "disputed")
        await lose(lab.buyer, order_id)  # and nobody named but the arbiter
        told = await losses.recovery["buyer"].recover(order_id, [lab.arbiter.host.peer_id])
        assert {one["what"] for one in told["found"] if one["source"] == "named"} >= {"transcript"}
        assert (await lab.order(order_id)).data["dispute_reason"] == "Not what was asked for."
        held = await lab.arbiter.desk.load(order_id)
        assert held.data["dispute_reason"] == "Not what was asked for."
        await lab.arbiter.made_to_order.rule(held, 10_000)
        await lab.see(order_id)
        await losses.by(order_id, "ruled")
        assert losses.seen == [
            "proposed",
            "agreed",
            "funded",
            "submitted",
            "failed",
            "passed",
            "delivered",
            "disputed",
            "ruled",
        ]
        assert lab.buyer.gain == -PRICE * 200 // 10_000
        lab.check_conserved()


async def test_an_order_that_is_completed_or_refunded(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        losses = Losses(lab)
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await lab.ada.step(order_id)
        await lab.buyer.step(order_id)
        await lab.buyer.made_to_order.do(await lab.order(order_id), "complete")
        await lab.see(order_id)
        told = await losses.by(order_id, "completed")
        assert told["what_next"] == "Nothing: the order is over."
        again = await lab.funded()
        await lab.ada.made_to_order.do(await lab.ada.desk.load(again), "cancel")
        await lab.see(again)
        await losses.by(again, "refunded")
        assert lab.buyer.gain == -PRICE
        lab.check_conserved()
