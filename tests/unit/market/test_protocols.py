"""The tables of messages fit the machines, and what is not in them is refused in words."""

from __future__ import annotations

import pytest

from openstall.market.errors import NotFound
from openstall.market.orders.machine import MACHINES
from openstall.market.orders.protocols import EVERYBODY, NEW, PROTOCOLS, Row, Unexpected, expect
from openstall.market.orders.transcript import AUTHORS

ROWS = [(name, row) for name, rows in PROTOCOLS.items() for row in rows]


def named(kind: str) -> set[str]:
    machine = MACHINES[kind]
    return {NEW, *machine.final} | {step.state for step in machine.steps}


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name}-{row.message}" for name, row in ROWS])
def test_a_row_says_only_what_the_machines_know(name: str, row: Row) -> None:
    known = set().union(*(named(kind) for kind in row.kinds))
    assert set(row.states) <= known
    assert len(set(row.states)) == len(row.states)
    assert set(row.senders) | set(row.receivers) <= set(EVERYBODY)
    for kind in row.kinds:
        machine = MACHINES[kind]
        if row.causes:
            steps = [step for step in machine.steps if step.event == row.causes and step.source == "message"]
            assert steps, (name, row.message)
            assert {step.by for step in steps} <= {*row.senders, *row.receivers}
            assert {step.state for step in steps} <= set(row.states)
        if row.passed:
            assert row.clock
            exits = {way.event for way in machine.exits.values()}
            assert row.passed in exits | {"end"}, (kind, row.message)


def test_whatever_a_machine_learns_by_message_has_a_row() -> None:
    caused = {(kind, row.causes) for _name, row in ROWS for kind in row.kinds if row.causes}
    caused |= {(kind, "decline") for kind in ("sale", "compute")}  # the other answer to a proposal
    learnt = {
        (kind, step.event)
        for kind, machine in MACHINES.items()
        for step in machine.steps
        if step.source == "message"
    }
    assert learnt <= caused


def test_whatever_is_said_in_a_transcript_has_a_row() -> None:
    said = {row.message: row for _name, row in ROWS}
    for kind, authors in AUTHORS.items():
        if kind != "decline":  # an answer
            assert set(said[kind].senders) <= set(authors)


def test_what_is_not_due_is_refused_with_what_is() -> None:
    with pytest.raises(Unexpected) as caught:
        expect("job", "start", kind="compute", sender="seller", receiver="buyer", state="agreed")
    assert caught.value.code == "unexpected_message"
    assert caught.value.message == (
        "“start” is not expected while the order is “agreed”; expected now: nothing (job)."
    )
    with pytest.raises(Unexpected) as caught:
        expect("delivery", "rows", kind="custom", sender="evaluator", receiver="buyer", state="completed")
    assert caught.value.due == ()
    with pytest.raises(Unexpected) as caught:
        expect("job", "cancel", kind="compute", sender="buyer", receiver="seller", state="agreed")
    assert caught.value.due == ("follow", "voucher")


@pytest.mark.parametrize(
    ("message", "sender", "receiver"),
    [
        ("start", "buyer", "seller"),
        ("cancel", "arbiter", "seller"),
        ("tick", "seller", "arbiter"),
        ("pay", "buyer", "seller"),
    ],
)
def test_who_has_no_such_word_learns_nothing_of_the_order(message: str, sender: str, receiver: str) -> None:
    with pytest.raises(NotFound) as caught:
        expect("job", message, kind="compute", sender=sender, receiver=receiver, state="funded")
    assert caught.value.code == "no_such_order"
