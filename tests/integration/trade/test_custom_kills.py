"""Nodes are killed in every state of a model made to order: the order reaches its end, no money is stuck.

One market holds an order in each state at once, because every auction takes two minutes. Until all were
killed once, its nodes do nothing more with an order that is in the state its title names. In between the
books of both parties lose all orders, one after the other, and `openstall order recover` brings them back.
Then honest ones take over the same homes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from custom_stage import BUDGET, Commission
from damage import set_back_at
from kill_table import CUSTOM_OPEN, CUSTOM_OVER, states_killed_by
from stage import START_MICRO, open_market, restart, state_in_books, trick, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, running_peer, wait_for
from openstall.market.errors import OpenstallError

pytestmark = pytest.mark.slow

SHORT = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
LONG_S = 3600
WILL_END = {
    "proposed": "completed",
    "agreed": "refunded",
    "funded": "refunded",
    "submitted": "completed",
    "failed": "refunded",
    "passed": "completed",
    "delivered": "completed",
    "disputed": "ruled",
}
"""How each order ends, by the state in which everybody is killed."""
NOT_HELD = ("funded", "disputed")
"""States that last by themselves, until a person does something."""
HANDED_IN = ("submitted", "failed", "passed", "delivered", "disputed")
ENDS_AS = {"completed": "passed", "refunded": "failed", "ruled": "disputed"}
GOES_TO = {"agreed": "funded", "failed": "refunded", "passed": "delivered"}
"""The order whose end is looked at again after one more kill."""


@dataclass(slots=True, kw_only=True)
class Held:
    """The market after the kills, with the order that was held in each state."""

    room: Commission
    orders: dict[str, str]
    told: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What `order recover` answered, by the state and the name of the node that had lost the order."""
    ended: set[str] = field(default_factory=set)

    def parties(self, state: str) -> list[DemoPeer]:
        """Who has the order in its books, in a state; the chain's host is the arbiter."""
        market = self.room.market
        first = [market.buyer] if state == "proposed" else [market.buyer, market.seller]
        return first if state in ("proposed", "agreed") else [*first, *self.room.evaluators, market.provider]

    def end(self, state: str) -> None:
        """Bring an order to its end, once; all parties see the same."""
        if state in self.ended:
            return
        market, order_id = self.room.market, self.orders[state]
        match state:
            case "agreed" | "funded":
                market.seller.order_until(order_id, lambda o: o["state"] == "funded", 120)
                market.seller.post(f"/v1/orders/{order_id}/cancel")
            case "disputed":
                market.provider.order_until(order_id, lambda o: "rule" in o["actions"], 60)
                market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=5_000)
            case "failed":
                pass  # the clock alone
            case _:
                if state == "proposed":
                    self.room.hand_in(market.seller, order_id, market.folder / "weak" / "model.onnx")
                market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 180)
                market.buyer.post(f"/v1/orders/{order_id}/complete")
        everybody = [market.buyer, market.seller, *self.room.evaluators, market.provider]
        order = self.room.until(everybody, order_id, WILL_END[state])
        assert order["paid_micro"] == paid(WILL_END[state])
        self.ended.add(state)


def paid(end: str) -> int:
    """What the buyer has paid in the end; the arbiter's fee is two of a hundred."""
    fee = BUDGET * 200 // 10_000
    return {"completed": BUDGET, "refunded": 0, "ruled": BUDGET - (BUDGET - fee) // 2}[end]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """An order in each state that is not final; every node was killed while all of them were in theirs."""
    folder, still = tmp_path_factory.mktemp("held"), trick("stay_as_titled")
    with (
        open_market(folder, provider=still, seller=still, buyer=still) as market,
        running_peer("oracle", folder / "oracle", still) as oracle,
    ):
        oracle.operate("/v1/group/join", invitation=market.provider.get("/v1/group")["invitation"])
        oracle.operate("/v1/wallet/faucet")
        room = Commission(market=market, evaluators=[oracle], others=[oracle])
        requests = {state: ask(room, state) for state in WILL_END}
        for cid in requests.values():
            room.bid(market.seller, cid, BUDGET)
        train(room)
        found = Held(room=room, orders={state: room.order_of(cid) for state, cid in requests.items()})
        bring_about(found)
        for peer in room.peers:
            kill_in_all(found, peer)
        lose_all(found, market.buyer, market.seller)
        lose_all(found, market.seller, market.buyer)
        for peer in room.peers:
            restart(peer)
        yield found


def ask(room: Commission, state: str) -> str:
    """A request whose order will be held in a state; one is asked for more than any model has."""
    title = f"Goes on to {state}" if state in NOT_HELD else f"Held in {state}"
    review_s = 60 if state == "failed" else LONG_S
    threshold = "1" if state == "failed" else "0.01"
    return room.ask(title, threshold, bid_s=90, review_s=review_s, evaluate_s=LONG_S)


def train(room: Commission) -> None:
    market = room.market
    job = market.rent(market.offer(), params=SHORT)
    market.seller.order_until(
        job, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    market.seller.post(f"/v1/orders/{job}/save", folder=str(market.folder / "weak"))


def bring_about(found: Held) -> None:
    market = found.room.market
    for state in HANDED_IN:
        found.room.hand_in(market.seller, found.orders[state], market.folder / "weak" / "model.onnx")
    order_id = found.orders["disputed"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 120)
    market.buyer.post(f"/v1/orders/{order_id}/dispute", reason="Not what was asked for.")


def kill_in_all(found: Held, peer: DemoPeer) -> None:
    """Kill a node once its own books have every order in its state, make sure of that, start it again."""
    own = {state: order_id for state, order_id in found.orders.items() if peer in found.parties(state)}
    for state, order_id in own.items():
        wait_for(partial(is_in, peer, order_id, state), 90, f"{peer.name} has {state}")
    peer.kill()
    assert {state: state_in_books(peer, order_id) for state, order_id in own.items()} == {
        state: state for state in own
    }, peer.name
    peer.start_again()


def lose_all(found: Held, mine: DemoPeer, other: DemoPeer) -> None:
    """A power cut after which a store has lost every order; an honest node gets them from the other side."""
    shared = {
        state: order_id
        for state, order_id in found.orders.items()
        if mine in found.parties(state) and other in found.parties(state)
    }
    mine.kill()
    for order_id in shared.values():
        set_back_at(mine.home, order_id)
    mine.program = PROGRAM
    mine.start_again()
    for state, order_id in shared.items():
        done = typed(mine, "--json", "order", "recover", order_id, "--from", other.peer_id)
        found.told[state, mine.name] = json.loads(done.stdout)


def is_in(peer: DemoPeer, order_id: str, state: str) -> bool | None:
    try:
        return peer.get(f"/v1/orders/{order_id}")["state"] == state or None
    except OpenstallError as error:
        if error.code != "no_such_order":  # its copy may be on the way
            raise
        return None


@pytest.mark.parametrize(("kind", "state"), states_killed_by(CUSTOM_OPEN))
def test_a_model_made_to_order_survives_the_kill_of_each_party(held: Held, kind: str, state: str) -> None:
    """Buyer, developer, evaluator and the host of the chain were killed in this state; now it goes on."""
    assert kind == "custom"
    held.end(state)


@pytest.mark.parametrize("at", [0, 1], ids=["buyer", "developer"])
@pytest.mark.parametrize("state", [one for one in WILL_END if one != "proposed"])
def test_an_order_that_one_party_has_lost_is_recovered(held: Held, state: str, at: int) -> None:
    """In its state, or the next where the party can go on at once; the other tests see it go to its end."""
    told = held.told[state, held.parties(state)[at].name]
    assert told["before"] == ""
    assert told["state"] in (state, GOES_TO.get(state))
    assert told["found"][0]["what"] == "contract"


def test_after_the_kills_of_everybody_all_money_is_somewhere(held: Held) -> None:
    for state in WILL_END:
        held.end(state)
    assert held.room.money() == 4 * START_MICRO


@pytest.fixture(scope="module")
def over(held: Held) -> dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """What each party showed of an ended order, and shows after it was killed once more, by end and name."""
    market = held.room.market
    for state in ENDS_AS.values():
        held.end(state)
    pages = {end: held.orders[state] for end, state in ENDS_AS.items()}

    def views() -> dict[str, dict[str, dict[str, Any]]]:
        return {
            end: {peer.name: peer.get(f"/v1/orders/{order_id}") for peer in (market.buyer, market.seller)}
            for end, order_id in pages.items()
        }

    before = views()
    for peer in held.room.peers:
        peer.kill()
    for peer in held.room.peers:  # the chain's host first
        peer.start_again()
    after = views()
    return {end: {name: (before[end][name], after[end][name]) for name in before[end]} for end in pages}


@pytest.mark.parametrize(("kind", "state"), states_killed_by(CUSTOM_OVER))
def test_a_model_made_to_order_stays_as_it_ended(
    over: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]], kind: str, state: str
) -> None:
    assert kind == "custom"
    for before, after in over[state].values():
        assert after == before
        assert after["final"]
        assert after["actions"] == []
