"""Transactions that are signed once, vouchers that never go down, logs that cannot flood, the library."""

from __future__ import annotations

from typing import Any

import pytest

from openstall.market.errors import Conflict, NotFound
from openstall.store.database import Store
from openstall.store.job_log import CUT_WORDS, JobLog
from openstall.store.library import Library
from openstall.store.transactions import FAILED, FINAL, REPLACED, Intent, Transactions
from openstall.store.vouchers import Vouchers


def sign(book: Transactions, **changes: Any) -> Intent:
    fields: dict[str, Any] = {
        "network": "n",
        "sender": "0xme",
        "order_id": "o",
        "purpose": "fund",
        "nonce": 0,
        "tx_hash": "0x1",
        "raw": b"bytes",
        "at": 1,
    }
    return book.add(**{**fields, **changes})


def test_a_purpose_is_signed_once(store: Store) -> None:
    book = Transactions(store)
    first = sign(book)
    with pytest.raises(Conflict) as caught:
        sign(book, nonce=1, tx_hash="0x2")
    assert caught.value.code == "already_sent"
    assert book.alive("n", "o", "fund") == first
    assert book.alive("other", "o", "fund") is None


def test_a_number_is_used_once(store: Store) -> None:
    book = Transactions(store)
    sign(book)
    with pytest.raises(Conflict) as caught:
        sign(book, purpose="deliver", tx_hash="0x2")
    assert caught.value.code == "nonce_taken"
    assert [intent.nonce for intent in book.pending("n", "0xme")] == [0]


def test_a_failed_purpose_may_be_signed_again_and_a_final_one_not(store: Store) -> None:
    book = Transactions(store)
    sign(book)
    assert book.settle("0x1", FAILED, receipt={"ok": False}, at=2)
    sign(book, nonce=1, tx_hash="0x2")
    assert book.settle("0x2", FINAL, receipt={"ok": True}, at=3)
    assert not book.settle("0x2", FAILED, receipt={}, at=4)
    with pytest.raises(Conflict):
        sign(book, nonce=2, tx_hash="0x3")
    alive = book.alive("n", "o", "fund")
    assert alive is not None
    assert alive.receipt == {"ok": True}


def test_a_replaced_one_frees_its_number(store: Store) -> None:
    book = Transactions(store)
    sign(book)
    book.settle("0x1", REPLACED, receipt={}, at=2)
    again = sign(book, tx_hash="0x2")
    assert book.pending("n", "0xme") == [again]
    assert set(book.by_hash("n")) == {"0x2"}


def test_vouchers_only_rise(store: Store) -> None:
    book = Vouchers(store)
    assert book.highest("c") is None
    book.keep(channel_id="c", order_id="o", amount_micro=5, signature=b"five", at=1)
    book.keep(channel_id="c", order_id="o", amount_micro=9, signature=b"nine", at=2)
    again = book.keep(channel_id="c", order_id="o", amount_micro=9, signature=b"nine", at=3)
    assert (again.amount_micro, again.count) == (9, 2)
    for amount, signature in ((8, b"eight"), (9, b"other"), (5, b"five")):
        with pytest.raises(Conflict):
            book.keep(channel_id="c", order_id="o", amount_micro=amount, signature=signature, at=4)
    highest = book.highest("c")
    assert highest is not None
    assert (highest.amount_micro, highest.signature) == (9, b"nine")


def test_log_is_numbered_without_gaps_and_resumes(store: Store) -> None:
    book = JobLog(store)
    assert book.append("o", "a", "b", at=1) == 2
    assert JobLog(store).append("o", "c", at=2) == 3
    assert [(line.seq, line.text) for line in book.read("o", start=1)] == [(1, "b"), (2, "c")]
    assert book.next_seq("o") == 3
    assert book.read("other") == []


def test_a_flood_is_cut_once_and_for_all(store: Store) -> None:
    book = JobLog(store, max_bytes=1_000)
    for _ in range(50):
        book.append("o", "x" * 100, "", at=1)
    lines = book.read("o")
    assert lines[-1].text == CUT_WORDS
    assert sum(line.text == CUT_WORDS for line in lines) == 1
    assert len(lines) < 20


def test_lines_of_any_bytes_are_kept_as_text(store: Store) -> None:
    book = JobLog(store)
    book.append("o", "\udcff\0 nul", "y" * 10_000, at=1)
    first, second = book.read("o")
    assert "\0" not in first.text
    assert len(second.text) == 4_000


def test_library(store: Store) -> None:
    library = Library(store)
    library.add(package_id="p", title="T", path="/a", files=[{"name": "m.onnx", "size": 1}])
    library.add(package_id="p", title="T2", path="/b", files=[])
    assert [package.title for package in library.items()] == ["T2"]
    assert library.find("q") is None
    with pytest.raises(NotFound):
        library.get("q")
