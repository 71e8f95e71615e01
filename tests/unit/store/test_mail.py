"""Letters kept for others, and what waits to be sent: quotas, expiry, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openstall.market.errors import Refused
from openstall.store.database import Store
from openstall.store.mailbox import KeptLetter, MailboxBooks, Quotas
from openstall.store.outbox import ANSWERED, MOST_ANSWERS, WAITING, Outbox, OutboxRow

NOW = 1_790_000_000
SMALL = Quotas(
    letters=6,
    size=6_000,
    letters_of_sender=4,
    size_of_sender=3_000,
    letters_for_recipient=5,
    size_for_recipient=5_000,
    letters_between=3,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def letter(n: int, sender: str = "ann", recipient: str = "bob", **changes: Any) -> KeptLetter:
    fields: dict[str, Any] = {
        "id": f"{n:064x}",
        "sender": sender,
        "recipient": recipient,
        "expires": NOW + 100,
        "letter": b"x" * 100,
    }
    return KeptLetter(**{**fields, **changes})


def row(n: int, **changes: Any) -> OutboxRow:
    fields: dict[str, Any] = {
        "id": f"{n:032x}",
        "key": f"key {n}",
        "recipient": "bob",
        "protocol": "/openstall/talk/1",
        "what": "Message",
        "order_id": "ab",
        "body": b"{}",
        "answers": "",
        "state": WAITING,
        "written": NOW,
        "expires": NOW + 100,
        "changed_at": NOW,
    }
    return OutboxRow(**{**fields, **changes})


def test_letters_come_out_in_order_and_go_when_their_recipient_says_so(store: Store) -> None:
    books = MailboxBooks(store)
    for n in (3, 1, 2):
        assert books.keep(letter(n), now=NOW)
    assert not books.keep(letter(1), now=NOW)
    assert books.keep(letter(9, recipient="eve"), now=NOW)
    found, more = books.waiting("bob", now=NOW, most_bytes=250)
    assert ([int(one.id, 16) for one in found], more) == ([3, 1], True)
    books.remove("eve", [one.id for one in found])  # others' letters are not hers to remove
    assert len(books.waiting("bob", now=NOW, most_bytes=10**6)[0]) == 3
    books.remove("bob", [one.id for one in found])
    assert [int(one.id, 16) for one in books.waiting("bob", now=NOW, most_bytes=1)[0]] == [2]
    assert books.totals() == (2, 200, 2)
    assert books.waiting("bob", now=NOW + 100, most_bytes=10**6) == ([], False)
    assert books.purge(now=NOW + 100) == 2


@pytest.mark.parametrize(
    ("code", "before", "new"),
    [
        ("too_many_letters", [letter(n) for n in range(3)], letter(9)),
        ("too_many_letters", [letter(n, recipient=f"r{n}") for n in range(4)], letter(9)),
        ("too_many_letters", [letter(1, letter=b"x" * 2_950)], letter(9, recipient="r")),
        ("mailbox_full", [letter(n, sender=f"s{n}") for n in range(5)], letter(9)),
        ("mailbox_full", [letter(n, sender=f"s{n}", letter=b"x" * 2_460) for n in range(2)], letter(9)),
        ("mailbox_full", [letter(n, sender=f"s{n}", recipient=f"r{n}") for n in range(6)], letter(9)),
    ],
)
def test_quotas(store: Store, code: str, before: list[KeptLetter], new: KeptLetter) -> None:
    books = MailboxBooks(store, SMALL)
    for one in before:
        assert books.keep(one, now=NOW)
    with pytest.raises(Refused) as caught:
        books.keep(new, now=NOW)
    assert caught.value.code == code
    assert books.keep(new, now=NOW + 101) is True, "what has expired makes room"


def test_one_request_is_one_row_until_it_is_answered(store: Store) -> None:
    outbox = Outbox(store)
    first = outbox.add(row(1))
    assert outbox.add(row(2, key="key 1")).id == first.id
    outbox.posted(first.id, "box", at=NOW + 1)
    assert outbox.to_send(posted_before=NOW) == []
    assert [one.id for one in outbox.to_send(posted_before=NOW + 2)] == [first.id], "it may be lost"
    assert outbox.by_key("key 1") == outbox.by_id(first.id)
    assert outbox.answered(first.id, b"\0{}", at=NOW + 2)
    assert not outbox.answered(first.id, b"\1other", at=NOW + 3), "the first answer counts"
    outbox.posted(first.id, "box", at=NOW + 3)
    found = outbox.by_id(first.id)
    assert found is not None
    assert (found.state, found.answer) == (ANSWERED, b"\0{}")
    assert outbox.unanswered("bob") == []
    assert outbox.purge(now=NOW + 100) == 1


def test_an_answer_is_kept_with_its_letter_and_forgotten_once_it_is_posted(store: Store) -> None:
    outbox = Outbox(store)
    reply = row(5, answers="cd" * 16, recipient="ann")
    for _again in range(2):
        outbox.take("ann", "cd" * 16, protocol="p", answer=b"\0", until=NOW + 50, reply=reply)
    assert outbox.seen("ann", "cd" * 16) == ("p", b"\0")
    assert outbox.seen("eve", "cd" * 16) is None
    outbox.posted(reply.id, "box", at=NOW)
    assert outbox.all() == []
    outbox.purge(now=NOW + 51)
    assert outbox.seen("ann", "cd" * 16) is None


def test_a_strangers_letters_do_not_fill_the_disk_with_answers(store: Store) -> None:
    outbox = Outbox(store)
    for n in range(MOST_ANSWERS + 5):
        reply = row(n, answers=f"{n:032x}", recipient="eve")
        outbox.take("eve", f"{n:032x}", protocol="p", answer=b"", until=NOW, reply=reply)
    assert len(outbox.all()) == MOST_ANSWERS


def test_a_record_is_due_until_somebody_has_it(store: Store) -> None:
    outbox = Outbox(store)
    outbox.record_due("cid1", "listing", "k", at=NOW)
    outbox.record_due("cid2", "listing", "k", at=NOW + 1)
    assert outbox.records_due() == [("cid2", "listing", NOW + 1)]
    outbox.record_told("cid2")
    assert outbox.records_due() == []
