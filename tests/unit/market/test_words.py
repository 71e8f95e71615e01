from __future__ import annotations

import re

import msgspec
import pytest

from openstall.market.orders.machine import MACHINES
from openstall.market.orders.results import JobReport
from openstall.market.orders.words import (
    arbitration_words,
    deadline_words,
    declined_words,
    end_words,
    state_words,
    way_back,
)

ROLES = [
    ("sale", "buyer"),
    ("sale", "seller"),
    ("sale", "arbiter"),
    ("compute", "buyer"),
    ("compute", "seller"),
    ("custom", "buyer"),
    ("custom", "seller"),
    ("custom", "arbiter"),
    ("custom", "evaluator"),
]
STRANGE = re.compile(
    r"\b(contract|smart|blockchain|on-chain|transaction|tx|hash|nonce|token|coin|crypto\w*|gas|node|daemon|server|"
    r"client|customer|vendor|merchant|user|task|arbitrator|judge|verdict|decision|decides|channel|deposit|wallets|"
    r"set aside|null|event|machine state|settle_silent|bps|peer)\b|[a-z]_[a-z]",
    re.IGNORECASE,
)
"""Words for which the vocabulary has another one, or that a shop owner need not know."""


def states(kind: str) -> list[str]:
    machine = MACHINES[kind]
    return sorted({step.state for step in machine.steps} | machine.final)


def all_sentences() -> list[str]:
    found = [state_words(kind, role, state) for kind, role in ROLES for state in states(kind)]
    found += [state_words("sale", "buyer", state, arbiter=False) for state in states("sale")]
    found += [way_back(kind, role, state) for kind, role in ROLES for state in states(kind)]
    return [sentence for sentence in found if sentence]


@pytest.mark.parametrize(("kind", "role"), ROLES)
def test_every_state_has_words_for_every_role(kind: str, role: str) -> None:
    for state in states(kind):
        assert state_words(kind, role, state)
        waits = role in ("buyer", "seller") and state not in MACHINES[kind].final
        assert bool(way_back(kind, role, state)) == waits


def test_every_deadline_says_what_happens_then() -> None:
    for kind, machine in MACHINES.items():
        for state in states(kind):
            assert bool(deadline_words(kind, state)) == (state not in machine.final)
            assert deadline_words(kind, state).startswith("then ") or state in machine.final


def test_plain_sentences_in_the_words_of_the_market() -> None:
    for sentence in all_sentences():
        assert sentence.endswith("."), sentence
        assert sentence[0].isupper(), sentence
        assert len(sentence) <= 120, sentence
        assert not STRANGE.search(sentence), sentence
    for kind in MACHINES:
        for state in states(kind):
            assert not STRANGE.search(deadline_words(kind, state))


def test_each_side_reads_about_its_own_money() -> None:
    assert "you are paid" in state_words("sale", "seller", "completed")
    assert "you are paid" not in state_words("sale", "arbiter", "completed")
    assert "your money" in state_words("sale", "buyer", "refunded").lower()
    for role in ("seller", "arbiter"):
        for state in states("sale"):
            assert "your money" not in state_words("sale", role, state).lower()


def test_no_dispute_is_promised_without_an_arbiter() -> None:
    assert "dispute" in state_words("sale", "buyer", "delivered")
    assert "dispute" not in state_words("sale", "buyer", "delivered", arbiter=False)


def test_final_states_say_that_it_is_over() -> None:
    for kind, role in ROLES:
        for state in MACHINES[kind].final:
            words = state_words(kind, role, state)
            assert words.startswith("Finished: ") or words.endswith("No money moved.")


@pytest.mark.parametrize(("kind", "role"), [role for role in ROLES if role[0] == "compute"])
def test_a_job_that_did_not_end_well_is_not_called_finished(kind: str, role: str) -> None:
    for end in ("failed", "cancelled", "refused", "limit"):
        words = end_words(end, "It ran out of memory", state_words(kind, role, "settled"))
        assert words.startswith("The job ")
        assert ": It ran out of memory. " in words
        assert "Finished" not in words
        assert not STRANGE.search(words.replace("node", ""))
    done = state_words(kind, role, "settled")
    assert end_words("done", "Done.", done) == done


def test_every_end_of_a_job_has_words() -> None:
    pattern = next(
        field.type for field in msgspec.inspect.type_info(JobReport).fields if field.name == "state"
    ).pattern
    for end in pattern.removeprefix("^(").removesuffix(r")\Z").split("|"):
        assert end == "done" or end_words(end, "x", "Finished: y.") != "Finished: y.", end


def test_a_declined_order_says_why() -> None:
    assert declined_words("The stall is closed") == "Not agreed: The stall is closed. No money moved."


def test_the_terms_of_an_arbiter_are_exact() -> None:
    fee, silence = arbitration_words(25_000_001, fee_bps=250, silent_buyer_bps=5_000, answer_s=36 * 3600 + 1)
    assert fee == "2.5 % of the price: 0.625 credits, taken only if the arbiter rules."
    assert silence.startswith(
        "Without a ruling within 37 hours of the dispute, 12.50 credits return to the buyer"
    )
    _fee, silence = arbitration_words(10, fee_bps=200, silent_buyer_bps=10_000, answer_s=86_400)
    assert silence.startswith("Without a ruling within 1 day of the dispute, the whole price returns")
