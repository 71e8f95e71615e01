"""Nodes are killed in every state of an order, and started again: nothing is lost, nobody's money is stuck.

So that the kill hits the state for certain, the party whose turn it is runs a node that does nothing more
once its order is there. The books on the disk of each killed node are read before it starts again.

Where the disk has lost the order, or holds an older copy of it, `openstall order recover` brings both sides
to one state: `python3 dev.py test -m slow tests/integration/trade/test_kills.py` tries that in every state of
sales and jobs, with each party. In one process, with all kinds: `tests/unit/app/test_recovery.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from damage import Copy, copy_at, set_back_at
from kill_table import OPEN, OVER, states_killed_by
from stage import (
    CREDIT,
    PRICE_MICRO,
    START_MICRO,
    Market,
    open_market,
    restart,
    state_in_books,
    trick,
    typed,
)

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, wait_for
from openstall.market.errors import OpenstallError

SHORT = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
CAP_MICRO = 2 * CREDIT
WAITS_FOR = {
    ("sale", "proposed"): ("seller", "seller"),
    ("sale", "agreed"): ("buyer", "buyer"),
    ("sale", "funded"): ("seller", "seller"),
    ("compute", "proposed"): ("provider", "seller"),
    ("compute", "agreed"): ("seller", "buyer"),
    ("compute", "funded"): ("provider", "seller"),
    ("compute", "ended"): ("provider", "seller"),
    ("compute", "withdrawing"): ("provider", "seller"),
}
"""Whose turn it is in a state that would not last: the peer, and its role in the order."""
ALWAYS = (("compute", "funded"), ("compute", "running"))
"""Jobs in these states are tried in every run of the tests, in the others with `-m slow`."""
NODES = {"sale": ("buyer", "provider", "seller"), "compute": ("seller", "provider")}
"""Who is killed. The seller of models buys the jobs; the provider is arbiter too, and hosts the chain."""


def peer_of(market: Market, name: str) -> DemoPeer:
    found: DemoPeer = getattr(market, name)
    return found


@pytest.fixture(scope="module")
def listing(market: Market) -> str:
    """A model on sale; it need not be a good one."""
    return put_on_sale(market)


def put_on_sale(market: Market) -> str:
    order_id = market.rent(market.offer(), params=SHORT, cap_micro=CAP_MICRO)
    market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(market.folder / "weak"))
    return market.publish(market.folder / "weak" / "model.onnx", deliver_s=3600, review_s=3600)


def buy_until(market: Market, listing: str, state: str) -> str:
    """An order of the model that the buyer sees in a state; its id."""
    order_id: str = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    if state == "disputed":
        market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
        market.buyer.post(f"/v1/orders/{order_id}/dispute", reason="Not what the card says.")
    market.buyer.order_until(order_id, lambda o: o["state"] == state, 60)
    return order_id


def rent_until(market: Market, offer: str, state: str) -> str:
    """A job that its buyer sees in a state; its order id."""
    long = state in ("running", "withdrawing")
    if long:
        order_id = market.rent_long(offer, cap_micro=CAP_MICRO)
    else:
        order_id = market.rent(offer, params=SHORT, cap_micro=CAP_MICRO)
    if long:
        market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 1, 90)
    if state == "withdrawing":
        market.seller.post(f"/v1/orders/{order_id}/refund")
    market.seller.order_until(order_id, lambda o: o["state"] == state, 60)
    return order_id


def kill_in(peer: DemoPeer, order_id: str, state: str) -> None:
    """Kill a node once its own books have the order in the state, and make sure that they still have."""

    def there() -> bool | None:
        try:
            return peer.get(f"/v1/orders/{order_id}")["state"] == state or None
        except OpenstallError as error:
            if error.code != "no_such_order":  # the other side may not have proposed it yet
                raise
            return None

    wait_for(there, 60, f"{peer.name} has the order in {state}")
    peer.kill()
    assert state_in_books(peer, order_id) == state, peer.name


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        one if one in ALWAYS or one[0] == "sale" else pytest.param(*one, marks=pytest.mark.slow)
        for one in states_killed_by(OPEN)
    ],
)
def test_an_open_order_survives_the_kill_of_each_party(
    market: Market, listing: str, kind: str, state: str
) -> None:
    """Each node of the order in turn, the one whose turn it is last; then the order goes on to its end."""
    before = market.buyer.balance_micro() if kind == "sale" else market.seller.balance_micro()
    offer = market.offer(withdraw_delay_s=3600) if kind == "compute" else ""
    waited_for, role = WAITS_FOR.get((kind, state), ("", ""))
    if waited_for:
        restart(peer_of(market, waited_for), trick(f"stay_in:{role}:{state}"))
    order_id = buy_until(market, listing, state) if kind == "sale" else rent_until(market, offer, state)
    for name in sorted(NODES[kind], key=lambda name: name == waited_for):
        peer = peer_of(market, name)
        if kind == "sale" and name == "provider" and state in ("proposed", "agreed"):
            peer.kill()  # no arbiter's copy yet, or on its way
        else:
            kill_in(peer, order_id, state)
        peer.program = PROGRAM
        peer.start_again()
    if kind == "sale":
        end_sale(market, order_id, before)
    else:
        end_job(market, order_id, before)
    assert market.money() == 3 * START_MICRO


def end_sale(market: Market, order_id: str, before: int) -> None:
    """The buyer confirms what was delivered, or the arbiter rules; both see the same end."""
    order = market.buyer.order_until(
        order_id, lambda o: o["state"] == "disputed" or (o["state"] == "delivered" and o["verified"]), 90
    )
    disputed = order["state"] == "disputed"
    if disputed:
        market.provider.order_until(order_id, lambda o: "rule" in o["actions"], 60)
        market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=10_000)
    else:
        market.buyer.post(f"/v1/orders/{order_id}/complete")
    end = "ruled" if disputed else "completed"
    for peer in (market.buyer, market.seller):
        order = peer.order_until(order_id, lambda o: o["state"] == end, 60)
    assert order["paid_micro"] == (PRICE_MICRO * 200 // 10_000 if disputed else PRICE_MICRO)
    assert market.buyer.balance_micro() == before - order["paid_micro"]


def end_job(market: Market, order_id: str, before: int, *, told: bool = True) -> None:
    """The provider settles, once; the buyer has paid what both books say, and was `told` how it ended."""
    order = market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and (o["job"]["result"] is not None or not told), 150
    )
    theirs = market.provider.order_until(order_id, lambda o: o["state"] == "settled", 60)
    assert order["paid_micro"] == theirs["paid_micro"] <= CAP_MICRO
    assert market.seller.balance_micro() == before - order["paid_micro"]


def test_money_that_is_taken_back_from_a_silent_provider_survives_a_kill(market: Market) -> None:
    """Nobody settles: after the withdrawal delay the clock alone brings the money back."""
    before = market.seller.balance_micro()
    offer = market.offer(withdraw_delay_s=60)
    restart(market.provider, trick("stay_in:seller:withdrawing"))
    order_id = rent_until(market, offer, "withdrawing")
    kill_in(market.seller, order_id, "withdrawing")
    market.seller.start_again()
    order = market.seller.order_until(order_id, lambda o: o["state"] == "settled", 150)
    assert order["paid_micro"] == 0
    assert market.seller.balance_micro() == before
    restart(market.provider)
    theirs = market.provider.order_until(order_id, lambda o: o["state"] == "settled", 60)
    assert theirs["paid_micro"] == 0
    assert market.money() == 3 * START_MICRO


PARTIES = {"sale": ("buyer", "seller"), "compute": ("seller", "provider")}
"""The nodes of the buyer and of the seller of each kind."""


def recover(peer: DemoPeer, order_id: str, *more: str) -> dict[str, Any]:
    """What a person types, and is answered."""
    done = typed(peer, "--json", "order", "recover", order_id, *more)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def damage(peer: DemoPeer, order_id: str, copy: Copy | None = None) -> None:
    """A power cut, after which the store has lost the order, or holds an older copy of it."""
    peer.kill()
    set_back_at(peer.home, order_id, copy)
    peer.program = PROGRAM
    peer.start_again()


def knows(peer: DemoPeer, order_id: str) -> bool | None:
    try:
        peer.get(f"/v1/orders/{order_id}")
    except OpenstallError as error:
        if error.code != "no_such_order":  # it is on its way
            raise
        return None
    return True


def test_a_seller_whose_books_lost_a_paid_order_delivers_it(market: Market, listing: str) -> None:
    """Without it the buyer's money would come back after an hour, and the seller never know why."""
    before = market.buyer.balance_micro()
    restart(market.seller, trick("stay_in:seller:funded"))
    order_id = buy_until(market, listing, "funded")
    damage(market.seller, order_id)
    assert not knows(market.seller, order_id)
    words = typed(market.seller, "order", "recover", order_id, status=1).stderr
    assert "Name the peer with whom you made it" in words
    done = recover(market.seller, order_id, "--from", market.buyer.peer_id)
    assert (done["before"], done["state"]) == ("", "funded")
    assert done["found"][0]["what"] == "contract"
    end_sale(market, order_id, before)


def test_a_job_whose_provider_went_back_to_older_books_is_paid_for_once(market: Market) -> None:
    """The provider's store is from before most of the job: it knows neither its ticks nor the vouchers."""
    before = market.seller.balance_micro()
    order_id = rent_until(market, market.offer(), "running")
    older = copy_at(market.provider.home, order_id)
    order = market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 4, 90)
    damage(market.provider, order_id, older)
    for peer in (market.provider, market.seller):
        assert recover(peer, order_id)["asked"][0]["answered"]
    end_job(market, order_id, before)
    assert market.seller.get(f"/v1/orders/{order_id}")["paid_micro"] >= order["paid_micro"]


def test_papers_go_from_hand_to_hand_where_nobody_can_be_asked(
    market: Market, listing: str, tmp_path: Path
) -> None:
    before = market.buyer.balance_micro()
    order_id = buy_until(market, listing, "delivered")
    file = tmp_path / "papers.json"
    typed(market.seller, "order", "papers", order_id, "--to", str(file))
    damage(market.buyer, order_id)
    done = recover(market.buyer, order_id, "--file", str(file))
    assert (done["before"], done["state"], done["asked"]) == ("", "delivered", [])
    end_sale(market, order_id, before)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1], ids=["buyer", "seller"])
@pytest.mark.parametrize(("kind", "state"), states_killed_by(OPEN))
def test_an_order_that_one_party_has_lost_in_any_state_is_recovered(
    market: Market, listing: str, kind: str, state: str, at: int
) -> None:
    before = market.buyer.balance_micro() if kind == "sale" else market.seller.balance_micro()
    offer = market.offer(withdraw_delay_s=3600) if kind == "compute" else ""
    waited_for, role = WAITS_FOR.get((kind, state), ("", ""))
    if waited_for:
        restart(peer_of(market, waited_for), trick(f"stay_in:{role}:{state}"))
    order_id = buy_until(market, listing, state) if kind == "sale" else rent_until(market, offer, state)
    mine, other = (peer_of(market, PARTIES[kind][side]) for side in (at, 1 - at))
    for peer in (mine, other):
        wait_for(lambda peer=peer: knows(peer, order_id), 60, f"{peer.name} has the order")
    damage(mine, order_id)
    if (state, at) != ("proposed", 1):  # there nobody has the seller's signature: it is asked again
        done = recover(mine, order_id, "--from", other.peer_id)
        assert done["found"][0]["what"] == "contract", done
    restart(other)
    if kind == "sale":
        end_sale(market, order_id, before)
    else:
        # the report that a provider lost before its buyer heard it is in nobody's papers
        end_job(market, order_id, before, told=(state, at) != ("withdrawing", 1))
    assert market.money() == 3 * START_MICRO


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An order that is over, as both parties' nodes show it."""

    order_id: str
    parties: tuple[DemoPeer, DemoPeer]
    views: tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Ended]]:
    """One order in each final state, after every node was killed and started again."""
    with open_market(tmp_path_factory.mktemp("ended")) as market:
        over = one_of_each_end(market)
        balances = [peer.balance_micro() for peer in market.peers]
        for peer in market.peers:
            peer.kill()
        for peer in market.peers:  # the chain's host first
            peer.program = PROGRAM
            peer.start_again()
        assert [peer.balance_micro() for peer in market.peers] == balances
        assert market.money() == 3 * START_MICRO
        yield over


def one_of_each_end(market: Market) -> dict[tuple[str, str], Ended]:
    """Bring one order to each end."""
    ids: dict[tuple[str, str], str] = {}
    listing, offer = put_on_sale(market), market.offer()
    ids["compute", "settled"] = market.seller.get("/v1/orders")["items"][0]["order_id"]
    for end in ("completed", "refunded", "ruled"):
        order_id = buy_until(market, listing, "disputed" if end == "ruled" else "delivered")
        ids["sale", end] = order_id
        if end == "completed":
            market.buyer.order_until(order_id, lambda o: o["verified"], 60)
            market.buyer.post(f"/v1/orders/{order_id}/complete")
        elif end == "refunded":
            market.seller.order_until(order_id, lambda o: "cancel" in o["actions"], 60)
            market.seller.post(f"/v1/orders/{order_id}/cancel")
        else:
            market.provider.order_until(order_id, lambda o: "rule" in o["actions"], 60)
            market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=5_000)
    for end, program, pay_within_s in (
        ("declined", "decline", 900),
        ("lapsed", "stay_in:seller:proposed", 15),
    ):
        for peer in (market.provider, market.seller):
            restart(peer, trick(program))
        bought = market.buyer.post("/v1/orders/buy", listing_cid=listing, pay_within_s=pay_within_s)
        ids["sale", end] = bought["order_id"]
        ids["compute", end] = market.rent(offer, params=SHORT, pay_within_s=pay_within_s)
        for kind in ("sale", "compute"):
            buyer = market.buyer if kind == "sale" else market.seller
            buyer.order_until(ids[kind, end], lambda o, end=end: o["state"] == end, 60)
    return {case: seen_by_both(market, *case, order_id) for case, order_id in ids.items()}


def seen_by_both(market: Market, kind: str, state: str, order_id: str) -> Ended:
    """The order's page at both parties; one that never reached the seller is the buyer's alone."""
    parties = (market.buyer, market.seller) if kind == "sale" else (market.seller, market.provider)
    if state in ("declined", "lapsed"):
        parties = (parties[0], parties[0])
    first, second = (peer.order_until(order_id, lambda o: o["state"] == state, 60) for peer in parties)
    return Ended(order_id=order_id, parties=parties, views=(first, second))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "state"), states_killed_by(OVER))
def test_an_order_that_is_over_stays_as_it_ended(
    ended: dict[tuple[str, str], Ended], kind: str, state: str
) -> None:
    order = ended[kind, state]
    for peer, before in zip(order.parties, order.views, strict=True):
        after = peer.get(f"/v1/orders/{order.order_id}")
        assert after == before
        assert after["final"]
        assert after["actions"] == []
