"""Orders and auctions explored as products: books, chain, crashes, lost messages, hostility, the clock."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import auction_product
import pytest
from message_product import Messages
from order_product import SIDES, UNPAID, Explorer

from openstall.market.orders.machine import COMPUTE, MACHINES, Machine
from openstall.market.orders.protocols import PROTOCOLS

PAGE = Path(__file__).parents[3] / "docs" / "orders.md"
every = pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.kind)


def same_as_the_page(row: str) -> None:
    sys.stdout.write(f"\n{row}\n")
    assert row in PAGE.read_text("utf-8")


@every
def test_no_product_state_strands_money_or_contradicts_the_chain(machine: Machine) -> None:
    explorer = Explorer(machine)
    found = explorer.explored()
    exits, stuck = 0, set[str]()
    for at in found:
        assert at.payouts == (at.chain in machine.final), at
        for side in SIDES:
            assert explorer.follows(at.book(side), at.chain), (at, side)
            if explorer.holds(at):
                assert explorer.gets_out(at, side), (at, side)
                exits += 1
        if explorer.holds(at) and not explorer.gets_out(at, None):
            stuck.add(at.chain)
    assert stuck == ({"funded"} if machine is COMPUTE else set())
    seen = {at.chain for at in found}
    assert seen == {explorer.shown(s) for s in {step.state for step in machine.steps} | machine.final}
    assert {at.buyer for at in found} >= (machine.final - UNPAID)
    states = len({step.state for step in machine.steps} | machine.final)
    same_as_the_page(f"| {machine.kind} | {states} | {len(machine.steps)} | {len(found)} | {exits} |")


def test_an_auction_strands_no_deposit_and_pays_nobody_twice() -> None:
    found = auction_product.explored()
    exits = 0
    for at in found:
        came_in = auction_product.BUDGET + auction_product.DEPOSIT * sum(bid != 0 for bid in at.bids)
        assert at.held >= 0
        assert at.held + at.requester + at.escrow + sum(at.bidders) == came_in, at
        assert at.requester + at.escrow == (auction_product.BUDGET if at.state in auction_product.OVER else 0)
        if at.held:
            assert auction_product.empties(at), at
            exits += 1
    assert {at.state for at in found} == {"open", "settled"} | auction_product.OVER
    steps = {(at.state, to.state) for at in found for to in auction_product.moves(at)}
    changes = sum(before != after for before, after in steps)
    same_as_the_page(f"| auction | 5 | {changes} | {len(found)} | {exits} |")


@every
def test_the_page_draws_each_arrow_of_the_table_and_no_other(machine: Machine) -> None:
    text = PAGE.read_text("utf-8")
    drawn = re.search(rf"## [^\n]*`{machine.kind}`.*?```mermaid\n(.*?)```", text, re.DOTALL)
    assert drawn
    arrows = re.findall(r"^ +(\w+) --> (\w+): (\w+) \((\w+)\)$", drawn[1], re.MULTILINE)
    assert sorted(arrows) == sorted((s.state, s.target, s.event, s.by) for s in machine.steps)


@every
def test_no_loss_of_messages_or_books_leaves_parties_that_recovery_does_not_bring_together(
    machine: Machine,
) -> None:
    """Whoever asks first, and whichever of the messages came, late, twice, or never."""
    course = Messages(machine)
    found = course.explored()
    apart = 0
    for at in found:
        apart += not course.together(at)
        for first, then in (SIDES, SIDES[::-1]):
            after = at
            for side in (first, then, first, then):
                after = course.recovered(after, side)
            assert course.together(after), (at, after)
            assert after.chain == at.chain
    rows = [row for table in PROTOCOLS.values() for row in table if machine.kind in row.kinds]
    same_as_the_page(f"| {machine.kind} | {len(rows)} | {len(found)} | {apart} |")
