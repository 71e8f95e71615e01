"""No sequence of calls on auctions, model orders and contests makes, loses or strands money."""

from __future__ import annotations

import sys
from dataclasses import replace

from ledger_lab import Lab
from request_world import World

from openstall.ledger import gateway

SEED, CALLS = 20_261_128, 2_500
NAMES = {
    *("open", "commit", "reveal", "settle", "award", "expire", "withdraw"),
    *("fund", "submit", "assess", "hand_over", "complete", "claim", "refund", "cancel", "dispute"),
    *("rule", "settle_silent", "open_contest", "enter", "judge", "take", "forfeit", "close", "leave"),
}


def test_no_sequence_of_calls_makes_loses_or_strands_money(lab: Lab) -> None:
    world = World(lab, SEED)
    world.run(CALLS)
    sys.stdout.write(f"{world.calls} calls, seed {SEED}\npassed {world.passed}\nrefused {world.refused}\n")
    # The chain's clock is a real one, so that a seed does not fix the run to the last call.
    assert len(NAMES & set(world.passed)) >= len(NAMES) - 2, "nearly every step was seen to pass"
    assert len(NAMES & set(world.refused)) >= len(NAMES) - 5, "and to be refused, but for the openings"


def test_a_chain_in_memory_keeps_room_for_large_steps(lab: Lab) -> None:
    """After as many blocks as the test above has made."""
    lab.do(lab.buyer, replace(lab.credit.transfer(lab.seller.address, 1), gas=gateway.MAX_TX_GAS))
