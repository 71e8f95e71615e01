"""What parties tell each other: signed over all that was said before, said once, sent as a whole chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from openstall.market import canonical, ids
from openstall.market.errors import Conflict, InvalidOrder
from openstall.market.orders.documents import Contract
from openstall.market.orders.transcript import (
    AUTHORS,
    CONTEXT,
    Entry,
    Kind,
    SignedEntry,
    news,
    next_entry,
    of_author,
    read_chain,
    read_entry,
)

SEEDS = {"seller": bytes([1]) * 32, "buyer": bytes([2]) * 32}
"""Those of the fixtures."""


@pytest.fixture(name="sale")
def _sale(contract: Callable[..., Contract]) -> Contract:
    return contract("sale")


def say(contract: Contract, held: list[SignedEntry], party: str, kind: Kind, at: int = 5) -> SignedEntry:
    author = getattr(contract.order, party)
    return next_entry(contract, held, kind, author=author, seed=SEEDS[party], at=at, words="So it is.")


def test_each_entry_is_signed_over_what_was_said_before(sale: Contract) -> None:
    contract = sale
    start = say(contract, [], "seller", "start")
    cancel = say(contract, [start], "buyer", "cancel")
    reason = say(contract, [start, cancel], "buyer", "reason")
    assert (start.entry.previous, start.entry.seen) == (contract.order_id, contract.order_id)
    assert (cancel.entry.previous, cancel.entry.seen) == (contract.order_id, start.hash)
    assert (reason.entry.seq, reason.entry.previous, reason.entry.seen) == (2, cancel.hash, start.hash)
    chain = of_author([reason, start, cancel], contract.order.buyer)
    assert read_chain([one.as_dict() for one in chain], contract, contract.order.buyer) == chain


def test_what_was_said_is_not_said_again(sale: Contract) -> None:
    contract = sale
    first = say(contract, [], "buyer", "cancel")
    assert say(contract, [first], "buyer", "cancel", at=99) is first


def test_a_chain_that_comes_again_late_or_cut_short_brings_nothing(sale: Contract) -> None:
    contract = sale
    first = say(contract, [], "buyer", "cancel")
    second = say(contract, [first], "buyer", "reason")
    assert news([], [first, second]) == [first, second]
    assert news([first], [first, second]) == [second]
    assert news([first, second], [first]) == []
    assert news([first, second], [first, second]) == []


def test_two_entries_in_one_place_are_found(sale: Contract) -> None:
    contract = sale
    first, other = say(contract, [], "buyer", "cancel"), say(contract, [], "buyer", "withdraw")
    with pytest.raises(Conflict) as caught:
        news([first], [other])
    assert caught.value.code == "two_chains"


def signed(contract: Contract, seed: bytes, **changes: Any) -> dict[str, Any]:
    """An entry with good signature, whatever is in it."""
    plain = msgspec.to_builtins(say(contract, [], "buyer", "cancel").entry) | changes
    return {
        "entry": plain,
        "signature": ids.sign(seed, CONTEXT, contract.order.network, canonical.encode(plain)),
    }


@pytest.mark.parametrize("field", Entry.__struct_fields__)
def test_no_field_can_be_changed(sale: Contract, field: str) -> None:
    contract = sale
    value = say(contract, [], "buyer", "cancel").as_dict()
    before = value["entry"][field]
    value["entry"][field] = before + 1 if isinstance(before, int) else "reason"
    with pytest.raises(InvalidOrder):
        read_entry(value, contract)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("bad_schema", {"more": 1}),
        ("bad_schema", {"seq": 0}),
        ("bad_schema", {"kind": "pay"}),
        ("bad_schema", {"words": "x" * 2001}),
        ("bad_text", {"words": "a\x1b[2Jb"}),
        ("other_order", {"order_id": hashlib.sha256(b"x").hexdigest()}),
        ("not_the_author", {"kind": "start"}),
        ("not_the_author", {"kind": "decline"}),
    ],
)
def test_an_entry_of_a_modified_client_is_refused(sale: Contract, code: str, changes: dict[str, Any]) -> None:
    contract = sale
    with pytest.raises(InvalidOrder) as caught:
        read_entry(signed(contract, SEEDS["buyer"], **changes), contract)
    assert caught.value.code == code


def test_a_chain_with_a_gap_or_of_two_authors_is_refused(sale: Contract) -> None:
    contract = sale
    first = say(contract, [], "buyer", "cancel")
    second = say(contract, [first], "buyer", "reason")
    theirs = say(contract, [], "seller", "start")
    for chain in ([second], [first, first], [second, first], [first, theirs]):
        with pytest.raises(InvalidOrder) as caught:
            read_chain([one.as_dict() for one in chain], contract, contract.order.buyer)
        assert caught.value.code == "broken_chain"


def test_every_kind_has_its_authors() -> None:
    assert set(AUTHORS) == set(get_args(Kind))
