"""What leads outside is found in texts of strangers, and what only looks so is not."""

# ruff: noqa: RUF001 - full-width letters among them

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import contacts
from openstall.market.contacts import Contact, outside_contacts


def kinds(text: str) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in outside_contacts(text)]


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Write to bob@example.com, please", "e-mail address", "bob@example.com"),
        ("bob (at) example (dot) com", "e-mail address", "bob (at) example (dot) com"),
        ("ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "e-mail address", "bob@example.com"),
        ("see https://a.example/b?c=1", "web address", "https://a.example/b?c=1"),
        ("see www.evil.com now", "web address", "www.evil.com"),
        ("bit.ly/x", "web address", "bit.ly/x"),
        ("evil.md/offer", "web address", "evil.md/offer"),
        ("t.me/bob", "messenger", "t.me/bob"),
        ("t\u2024me/bob", "messenger", "t.me/bob"),  # a dot that is none
        ("https://wa.me/4915112345678", "messenger", "https://wa.me/4915112345678"),
        ("Telegram: bob99", "messenger", "Telegram: bob99"),
        ("WhatsApp me: bob", "messenger", "WhatsApp me: bob"),
        ("+49 151 12345678", "telephone number", "+49 151 12345678"),
        ("call me 0151-12345678", "telephone number", "0151-12345678"),
        ("phone: 0151/12345678", "telephone number", "0151/12345678"),
        ("I am @bob_sells there", "account name", "@bob_sells"),
    ],
)
def test_ways_out(text: str, kind: str, found: str) -> None:
    assert (kind, found) in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "Trained with scikit-learn 1.4 on 12.500.000 rows; accuracy 0.97, mAP@0.5, R@5 0.9.",
        "README.md, main.py, model.onnx, weights.safetensors",
        "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB and 0x" + "a1" * 20,
        "bagaaierauxy5kgk4rlinxou4scm2x4bjnjl7uykj6btqqii6sx5lklqja5yq",
        "Signal: processing of an ECG. Phone a friend? Called 3 times.",
        "Ages 18-65, 2026-11-28 19:30, 1:1,000.",
        "",
    ],
)
def test_plain_texts_are_left_alone(text: str) -> None:
    assert kinds(text) == []


def test_each_is_named_once_and_not_without_end() -> None:
    assert kinds("bob@example.com bob@example.com") == [("e-mail address", "bob@example.com")]
    many = " ".join(f"bob{number}@example.com" for number in range(200))
    assert len(outside_contacts(many)) == contacts.MOST
    assert len(contacts.contacts_in([many, many])) == contacts.MOST


def test_all_texts_of_a_record_are_looked_through() -> None:
    body = {
        "title": "A model",
        "card": {"limits": "ask t.me/bob", "metrics": [{"data": "at a.example.com/x"}]},
        "price": 3,
    }
    found = contacts.contacts_in(contacts.texts_of(body))
    assert Contact(kind="messenger", text="t.me/bob") in found
    assert len(found) == 2


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    for one in outside_contacts(text):
        assert one.text


@pytest.mark.parametrize(
    "piece",
    ["@", "a.", "+1 ", "(at)", "a (at) ", "http://", "a@b.", "call ", "telegram: ", "1", ". ", "[at] a"],
)
def test_a_long_hostile_text_is_read_in_one_go(piece: str) -> None:
    assert len(outside_contacts(piece * (40_000 // len(piece)))) <= contacts.MOST
