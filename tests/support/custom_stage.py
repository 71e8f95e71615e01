"""Models made to order between real nodes: what each person types, and what is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stage import CREDIT, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for
from openstall.market.errors import OpenstallError

BUDGET, DEPOSIT = 40 * CREDIT, 2 * CREDIT
STAGE_S = 60
"""The shortest time for bids, for their opening and for a review that the contracts know."""


@dataclass(slots=True, kw_only=True)
class Commission:
    """Requests of a market's buyer. The provider hosts the chain, and is the arbiter."""

    market: Market
    evaluators: list[DemoPeer]
    others: list[DemoPeer]
    """Nodes beside the three of the market."""

    def __post_init__(self) -> None:
        for one in self.evaluators:
            one.post("/v1/evaluator", on=True)

    @property
    def peers(self) -> list[DemoPeer]:
        """Everybody; the chain's host first."""
        return [*self.market.peers, *self.others]

    def money(self) -> int:
        """All credits in all wallets."""
        return sum(peer.balance_micro() for peer in self.peers)

    def ask(self, title: str, threshold: str, **terms: Any) -> str:
        """A request on the rows that were held back; its cid, once every node can bid for it."""
        asked: dict[str, Any] = {
            "path": str(self.market.holdout),
            "target": LABEL,
            "metric": "accuracy",
            "threshold": threshold,
            "terms": {
                "title": title,
                "summary": "Tells benign from malignant.",
                "licence": "MIT",
                "budget_micro": BUDGET,
                "deposit_micro": DEPOSIT,
                "bid_s": STAGE_S,
                "reveal_s": STAGE_S,
                "deliver_s": 3600,
                "evaluate_s": 600,
                "review_s": STAGE_S,
                "tries": 1,
                "arbiter": self.market.provider.wallet,
                "evaluators": [one.wallet for one in self.evaluators],
            }
            | terms,
        }
        seen = self.market.buyer.operate("/v1/requests/preview", **asked)["file_sha256"]
        cid: str = self.market.buyer.operate("/v1/requests", **asked, file_sha256=seen)["cid"]
        return cid

    def bid(self, developer: DemoPeer, cid: str, amount_micro: int) -> None:
        """A sealed bid, once the request and its money are seen."""
        self.market.seen_by(developer, cid)
        developer.post(f"/v1/requests/{cid}/bid", amount_micro=amount_micro)

    def order_of(self, cid: str) -> str:
        """The id of the order that follows from an auction, once it is over."""

        def look() -> str | None:
            found: str | None = self.market.buyer.get(f"/v1/requests/{cid}/auction")["order_id"]
            return found

        order_id: str = wait_for(look, 4 * STAGE_S, "the end of an auction")
        return order_id

    def hand_in(self, developer: DemoPeer, order_id: str, model: Path) -> None:
        """The developer hands a model in, once the price is in escrow."""
        self.until([developer], order_id, "funded")  # what the buyer signed may still be on its way
        developer.operate(f"/v1/orders/{order_id}/hand-in", path=str(model))

    def until(
        self, peers: list[DemoPeer], order_id: str, *states: str, within_s: int = 180
    ) -> dict[str, Any]:
        """The order once all of these have it in one of the states; as the last shows it."""
        found: dict[str, Any] = {}
        for peer in peers:
            found = wait_for(partial(_in, peer, order_id, states), within_s, f"{peer.name} sees {states[0]}")
        return found


def _in(peer: DemoPeer, order_id: str, states: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        order: dict[str, Any] = peer.get(f"/v1/orders/{order_id}")
    except OpenstallError as error:
        if error.code != "no_such_order":  # its copy may be on the way
            raise
        return None
    if order["final"] and order["state"] not in states:
        raise OpenstallError("order_ended", f"{peer.name}'s order ended as “{order['state']}”.")
    return order if order["state"] in states else None
