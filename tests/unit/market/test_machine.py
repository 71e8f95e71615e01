"""Both state machines, explored as a whole: every order of moves, every party silent at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

import pytest

from openstall.market.errors import Conflict
from openstall.market.orders.documents import Contract
from openstall.market.orders.machine import (
    COMPUTE,
    CUSTOM,
    MACHINES,
    SALE,
    Machine,
    Party,
    Source,
    When,
    deadline,
)

PARTIES: dict[str, tuple[Party, ...]] = {
    "sale": ("buyer", "seller", "arbiter"),
    "compute": ("buyer", "seller"),
    "custom": ("buyer", "seller", "evaluator", "arbiter"),
}
TRIES = 2
UNPAID = {"declined", "lapsed"}
PAYS = {
    # who is paid by a step of the contract that empties it; together always the whole amount
    "complete": {"seller"},
    "claim": {"seller"},
    "refund": {"buyer"},
    "cancel": {"buyer"},
    "rule": {"buyer", "seller", "arbiter"},
    "settle_silent": {"buyer", "seller"},
    "close": {"buyer", "seller"},
    "withdraw": {"buyer"},
    "expire": {"buyer"},
}
every = pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An order in a state, with the parties that have fallen silent for good."""

    state: str
    overdue: bool
    silent: frozenset[Party]
    attempt: int = 0
    """How many models were handed in, where models are made to order."""


def moves(machine: Machine, at: Moment, parties: tuple[Party, ...]) -> Iterator[Moment]:
    """What may happen next: a party acts within the rules, falls silent, or time passes."""
    if at.state in machine.final:
        return
    for party in (*parties, "anyone"):
        if party in at.silent:
            continue
        for event in machine.open_to(at.state, party, overdue=at.overdue):
            attempt = at.attempt + (event == "submit")
            if attempt <= TRIES:
                target = machine.target(at.state, event)
                yield Moment(state=target, overdue=False, silent=at.silent, attempt=attempt)
    if not at.overdue:
        yield replace(at, overdue=True)
    for party in parties:
        if party not in at.silent:
            yield replace(at, silent=at.silent | {party})


def explored(machine: Machine) -> set[Moment]:
    first = Moment(state=machine.first, overdue=False, silent=frozenset())
    found, fresh = {first}, [first]
    while fresh:
        for moment in moves(machine, fresh.pop(), PARTIES[machine.kind]):
            if moment not in found:
                found.add(moment)
                fresh.append(moment)
    return found


def reaches_an_end(machine: Machine, at: Moment, alone: Party) -> bool:
    """Whether one party and the clock are enough to end the order."""
    if at.state in machine.final:
        return True
    others = frozenset(PARTIES[machine.kind]) - {alone}
    after = moves(machine, replace(at, silent=others), (alone,))
    return any(reaches_an_end(machine, moment, alone) for moment in after if alone not in moment.silent)


@every
def test_every_moment_has_a_way_out_for_a_party_that_is_left_alone(machine: Machine) -> None:
    found = explored(machine)
    waiting = 0
    for at in found:
        for party in ("buyer", "seller"):
            if party not in at.silent:
                waiting += 1
                assert reaches_an_end(machine, at, party), (at, party)
    states = {at.state for at in found}
    assert states == {step.state for step in machine.steps} | machine.final
    assert {
        at.state for at in found if len(at.silent) == len(PARTIES[machine.kind])
    } >= states - machine.final
    counts = f"{len(states)} states, {len(machine.steps)} steps, {len(found)} moments, {waiting} ways out"
    print(f"\n{machine.kind}: {counts}")  # shown by -s: how much was explored


@every
def test_what_ends_when_all_parties_are_silent(machine: Machine) -> None:
    """A bystander can end any sale; the money of a job can leave only by its buyer or its seller."""
    everybody = frozenset(PARTIES[machine.kind])
    stuck = {
        at.state
        for at in explored(machine)
        if at.silent == everybody
        and at.state not in machine.final
        and not reaches_an_end(machine, at, "anyone")
    }
    assert stuck == ({"funded", "running", "ended"} if machine is COMPUTE else set())


@every
def test_every_state_has_a_deadline_and_an_exit_or_is_final(
    machine: Machine, contract: Callable[..., Contract]
) -> None:
    order = contract(machine.kind)
    entered = order.order.created + 50
    for state in {step.state for step in machine.steps}:
        due = deadline(order, state, entered)
        assert due is not None
        assert due > entered
        way_out = machine.exits[state]
        steps = [step for step in machine.steps if (step.state, step.event) == (state, way_out.event)]
        assert [step.by for step in steps] == [way_out.by]
        assert steps[0].when != "before"
        assert way_out.by in ("anyone", "buyer")
    assert set(machine.exits) == {step.state for step in machine.steps}
    for state in machine.final:
        assert deadline(order, state, entered) is None
        assert not machine.events(state, "buyer")


@every
def test_money_goes_in_by_one_step_and_comes_out_by_a_payment(machine: Machine) -> None:
    for step in machine.steps:
        held, then = step.state in machine.money_held, step.target in machine.money_held
        if not held and then:
            assert (step.event, step.by, step.source) == ("fund", "buyer", "chain")
        elif held and not then:
            assert step.source == "chain"
            assert step.target in machine.final - UNPAID
            assert PAYS[step.event]
        elif not held:
            assert step.target in UNPAID or step.target not in machine.final
        if step.target in UNPAID:
            assert step.state not in machine.money_held
    assert not machine.money_held & machine.final


@pytest.mark.parametrize(("machine", "steps"), [(SALE, 5), (COMPUTE, 6)], ids=["sale", "compute"])
def test_an_order_never_comes_back_to_a_state(machine: Machine, steps: int) -> None:
    def longest(state: str, before: tuple[str, ...]) -> int:
        assert state not in before
        after = {step.target for step in machine.steps if step.state == state}
        return max((1 + longest(target, (*before, state)) for target in after), default=0)

    assert longest(machine.first, ()) == steps


@every
def test_the_table_has_no_two_meanings(machine: Machine) -> None:
    pairs = [(step.state, step.event) for step in machine.steps]
    assert len(set(pairs)) == len(pairs)
    for step in machine.steps:
        assert step.by in get_args(Party)
        assert step.source in get_args(Source)
        assert step.when in get_args(When)
        assert machine.allows(step.state, step.event)
        assert machine.target(step.state, step.event) == step.target
        assert step.event in machine.events(step.state, step.by)


def test_how_long_money_can_be_held_at_worst(contract: Callable[..., Contract]) -> None:
    """The other side does everything at the last moment; the waiting side takes each exit when it opens."""

    def worst(machine: Machine, order: Contract, state: str, at: int) -> int:
        if state in machine.final:
            return at
        due = deadline(order, state, at)
        assert due is not None
        latest = max(at, due)
        return max(
            worst(machine, order, step.target, latest)
            for step in machine.steps
            if step.state == state and not (step.event == "submit" and state == "failed")
        )

    sale, job, made = contract("sale"), contract("compute"), contract("custom")
    longest = sale.sale.deliver_by + sale.sale.review_s + sale.sale.arbiter_s
    assert worst(SALE, sale, "funded", sale.sale.fund_by) == longest
    assert (
        worst(COMPUTE, job, "funded", job.compute.fund_by)
        == job.compute.settle_by + job.compute.withdraw_delay_s
    )
    terms = made.custom
    longest = terms.deliver_by + terms.evaluate_s + terms.review_s + 2 * terms.review_s + terms.arbiter_s
    assert worst(CUSTOM, made, "funded", made.order.created) == longest


@pytest.mark.parametrize("kind", MACHINES)
def test_events_that_are_not_in_the_table(kind: str) -> None:
    machine = MACHINES[kind]
    known = {(step.state, step.event) for step in machine.steps}
    for state in {step.state for step in machine.steps} | machine.final | {"nowhere"}:
        for event in {step.event for step in machine.steps} | {"explode"}:
            if (state, event) not in known:
                assert not machine.allows(state, event)
                with pytest.raises(Conflict) as caught:
                    machine.target(state, event)
                assert caught.value.code == "wrong_state"


def test_what_is_open_follows_the_clock_and_the_arbiter() -> None:
    assert SALE.open_to("delivered", "buyer", overdue=False) == ("complete", "dispute")
    assert SALE.open_to("delivered", "buyer", overdue=True) == ("complete", "claim")
    assert SALE.open_to("delivered", "buyer", overdue=False, arbiter=False) == ("complete",)
    assert SALE.open_to("funded", "seller", overdue=False) == ("deliver", "cancel")
    assert SALE.open_to("funded", "seller", overdue=True) == ("cancel", "refund")
    assert SALE.open_to("disputed", "arbiter", overdue=True) == ("settle_silent",)
    assert COMPUTE.open_to("withdrawing", "buyer", overdue=False) == ()
    assert COMPUTE.open_to("withdrawing", "buyer", overdue=True) == ("withdraw",)
    assert CUSTOM.open_to("submitted", "seller", overdue=False) == ("call_seller", "cancel")
    assert CUSTOM.open_to("submitted", "seller", overdue=False, arbiter=False) == ("cancel",)
    assert CUSTOM.open_to("failed", "buyer", overdue=True) == ("refund",)


def test_as_many_models_may_be_handed_in_as_was_agreed(contract: Callable[..., Contract]) -> None:
    made, entered = contract("custom"), contract("custom").order.created + 100
    terms = made.custom
    assert deadline(made, "failed", entered, attempt=terms.tries - 1) == terms.deliver_by
    assert deadline(made, "failed", entered, attempt=terms.tries) == entered + terms.review_s
    late = terms.deliver_by + 5
    assert deadline(made, "failed", late, attempt=1) == late + terms.review_s
