from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market import text
from openstall.market.errors import InvalidRecord
from openstall.market.records import SignedRecord

HIDDEN = [
    "\x00", "\t", "\r", "\x1b", "\x7f", "\x85", "\u00ad", "\u200b", "\u202e", "\u2066", "\u2028", "\u2060",
    "\ufeff", "\ufffb", "\U000e0041",
]  # fmt: skip


@pytest.mark.parametrize("sign", HIDDEN, ids=lambda sign: f"U+{ord(sign):04X}")
@pytest.mark.parametrize("field", ["title", "summary", "licence"])
def test_hidden_characters_are_refused(signed: Callable[..., SignedRecord], sign: str, field: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        signed("listing", {field: f"Tumour{sign}classifier"})
    assert caught.value.code == "bad_text"
    assert f"U+{ord(sign):04X}" in caught.value.message
    assert field in caught.value.message
    assert sign not in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        {"title": "two\nlines"},
        {"licence": "MIT\n"},
        {"title": "   "},
        {"title": "\u2800\u3164\u200d"},
        {"licence": "\u200e"},
        {"files": [{"name": "model.onnx", "size": 1, "sha256": "ab" * 32}], "summary": "\n\n"},
        {"card": {"intended_use": "a", "training_data": "b", "limits": "\u202e", "metrics": []}},
        {
            "card": {
                "intended_use": "a",
                "training_data": "b",
                "limits": "c",
                "metrics": [{"name": "acc\nuracy", "value": "1", "data": ""}],
            }
        },
    ],
)
def test_texts_that_show_nothing_or_break_the_line(
    signed: Callable[..., SignedRecord], body: dict[str, object]
) -> None:
    with pytest.raises(InvalidRecord) as caught:
        signed("listing", body)
    assert caught.value.code == "bad_text"


@pytest.mark.parametrize(
    "title",
    [
        "Größe & Mitte",
        "مدل تشخیص",
        "می‌خواهم",
        "סיווג",
        "分類器",
        "👩‍🔬 model",
        "e\u0301tude",
        "it's <b>plain</b>",
    ],
)
def test_the_scripts_of_the_world_are_welcome(signed: Callable[..., SignedRecord], title: str) -> None:
    assert signed("listing", {"title": title, "summary": f"{title}\n{title}"}).record.body["title"] == title


def test_an_address_of_a_peer_may_not_hide_anything(signed: Callable[..., SignedRecord]) -> None:
    with pytest.raises(InvalidRecord) as caught:
        signed("peer", {"addrs": ["/ip4/127.0.0.1/tcp/4001", "/dns4/\u202egro.elpmaxe/tcp/1"]})
    assert caught.value.code == "bad_text"


@given(st.text(max_size=60), st.booleans())
def test_what_was_cleaned_holds_nothing_hidden(words: str, lines: bool) -> None:
    cleaned = text.clean(words, lines=lines)
    assert not any(sign in cleaned for sign in HIDDEN)
    assert lines or "\n" not in cleaned
    assert text.clean(cleaned, lines=lines) == cleaned
    assert len(cleaned) <= len(words)


def test_cleaning_keeps_the_lines_of_a_text() -> None:
    assert text.clean("one\r\ntwo\rthree\tfour\x1b[0m", lines=True) == "one\ntwo\nthree four [0m"
    assert text.clean("one\ntwo") == "one two"
    assert text.clean("\u2800\u3164") == ""
