from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from openstall.market import canonical
from openstall.market.errors import InvalidOrder
from openstall.market.exchange import (
    MAX_FILE,
    MOST_OBJECTS,
    PREFIX,
    AcceptanceItem,
    LetterItem,
    MessageItem,
    OrderItem,
    PapersItem,
    RecordItem,
    read_file,
    read_text,
    record_item,
    write_file,
    write_text,
)
from openstall.market.orders.papers import MAX_PAPERS
from openstall.market.records import SignedRecord

NETWORK = "openstall-test-1"
SIGNATURE = "A" * 86
ACCEPTANCE = AcceptanceItem(network=NETWORK, order_id="ab" * 32, signature=SIGNATURE)
ITEMS: list[Any] = [
    ACCEPTANCE,
    OrderItem(order={"a": 1}, buyer_signature=SIGNATURE, seller_signature=""),
    MessageItem(message={"text": "Ünder\n1"}, signature=SIGNATURE),
    LetterItem(to="12D3KooW", expires=7, letter="YQ=="),
    PapersItem(papers={"messages": []}),
]
HEAD = {"format": "openstall-exchange-1", "network": NETWORK, "objects": 1}


def code_of(raw: bytes) -> str:
    with pytest.raises(InvalidOrder) as caught:
        read_file(raw, network=NETWORK)
    return caught.value.code


def file_of(*lines: Any, head: Any = None) -> bytes:
    named = {**HEAD, "objects": len(lines)} if head is None else head
    rows = [one if isinstance(one, bytes) else canonical.encode(one) for one in (named, *lines)]
    return b"".join(row + b"\n" for row in rows)


def test_a_file_is_read_as_it_was_written(signed: Callable[..., SignedRecord]) -> None:
    items = [*ITEMS, record_item(signed("listing").raw)]
    raw = write_file(NETWORK, items)
    assert read_file(raw, network=NETWORK) == items
    assert isinstance(items[-1], RecordItem)
    assert items[-1].raw == signed("listing").raw


def test_one_bad_object_does_not_spoil_the_others() -> None:
    good = canonical.encode(
        {"kind": "acceptance", "network": NETWORK, "order_id": "ab" * 32, "signature": SIGNATURE}
    )
    bad: list[Any] = [
        b"{",
        b"[]",
        b"7",
        b'{"kind":"acceptance"}',
        {"kind": "virus"},
        {"kind": ["acceptance"]},
        {"kind": "acceptance", "network": NETWORK, "order_id": "ab" * 32, "signature": SIGNATURE, "more": 1},
        {"kind": "letter", "to": "x" * 65, "expires": 1, "letter": ""},
        {"kind": "letter", "to": "x", "expires": -1, "letter": ""},
        {"kind": "order", "order": [], "buyer_signature": SIGNATURE, "seller_signature": ""},
        {"kind": "record", "record": {}, "sig": "short"},
        b'{"kind": "acceptance"}',  # not canonical
        b'{"kind":"letter","kind":"letter"}',
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        {"kind": "message", "message": {"text": "x" * 300_000}, "signature": SIGNATURE},
        {"kind": "papers", "papers": []},
        {"kind": "papers", "papers": {}, "more": 1},
        {"kind": "papers", "papers": {"text": "x" * MAX_PAPERS}},
        b'{"kind":"papers","papers":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_001,
    ]
    found = read_file(file_of(good, *bad, good), network=NETWORK)
    assert found[0] == found[-1] == ACCEPTANCE
    assert [type(one) for one in found[1:-1]] == [InvalidOrder] * len(bad)


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("not_an_exchange", b""),
        ("not_an_exchange", b"\x89PNG\r\n\x1a\n"),
        ("not_an_exchange", b"x" * 2_000_000),
        ("not_an_exchange", file_of({}, head={**HEAD, "format": "openstall-exchange-2"})),
        ("not_an_exchange", file_of({}, head={**HEAD, "objects": 0})),
        ("not_an_exchange", file_of({}, head={**HEAD, "objects": MOST_OBJECTS + 1})),
        ("other_network", file_of({}, head={**HEAD, "network": "openstall-test-2"})),
        ("cut", file_of({}, head={**HEAD, "objects": 2})),
        ("cut", file_of({}, {}, head=HEAD)),
        ("cut", file_of({})[:-1]),
        ("cut", file_of({}) + b"more"),
        ("cut", file_of(*[b""] * 10_000, head=HEAD)),
        ("too_large", b"x" * (MAX_FILE + 1)),
    ],
)
def test_what_is_no_such_file(code: str, raw: bytes) -> None:
    assert code_of(raw) == code


def test_papers_may_be_as_large_as_over_the_network_and_nothing_else_may() -> None:
    papers = PapersItem(papers={"text": "x" * (MAX_PAPERS - len(b'{"text":""}'))})
    assert read_file(file_of({"kind": "papers", "papers": papers.papers}), network=NETWORK) == [papers]
    for more in (
        {"kind": "message", "papers": {"text": "x" * 300_000}},
        {"kind": "papers", "papers": {"text": "x" * MAX_PAPERS}},
    ):
        (found,) = read_file(file_of(more), network=NETWORK)
        assert isinstance(found, InvalidOrder)
        assert found.code == "too_large"


def test_nothing_and_too_much_are_not_written() -> None:
    for items in ([], [ACCEPTANCE] * (MOST_OBJECTS + 1), [ITEMS[2], *[big()] * 100]):
        with pytest.raises(InvalidOrder):
            write_file(NETWORK, items)


def big() -> MessageItem:
    return MessageItem(message={"text": "x" * 250_000}, signature=SIGNATURE)


def test_an_acceptance_fits_into_a_text_that_a_picture_can_hold() -> None:
    text = write_text(ACCEPTANCE)
    assert len(text) < 500
    assert read_text(f" {text[:30]}\n{text[30:]} ") == ACCEPTANCE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openstall:group:abc",
        PREFIX,
        PREFIX + "!!!",
        PREFIX + "e30",
        PREFIX + "A" * 10_000,
        write_text(ACCEPTANCE)[:-4],
        write_text(ACCEPTANCE) + "A",
        PREFIX + base64.urlsafe_b64encode(b'{"kind":"acceptance"}').decode(),
    ],
)
def test_a_text_that_holds_nothing(text: str) -> None:
    with pytest.raises(InvalidOrder):
        read_text(text)
