"""Who fits whom: relevance as BM25 has it, believed evidence, room; and a chance for newcomers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from openstall.market.requests.matching import (
    K1,
    B,
    Candidate,
    Standing,
    bm25,
    rank,
    room_of,
    words_in,
)

NEW = Standing(score=0, good_milli=0, bad_milli=0, is_new=True)


def known(score: int = 8_000) -> Standing:
    return Standing(score=score, good_milli=20_000, bad_milli=0, is_new=False)


def someone(name: str, words: str = "wine", standing: Standing = NEW, **more: Any) -> Candidate:
    fields: dict[str, Any] = {
        "cid": name,
        "author": name,
        "words": words,
        "tasks": ("classification",),
        "places": 1,
        "room_words": "Takes one order.",
        "standing": standing,
    }
    return Candidate(**fields | more)


def order(wanted: str, *candidates: Candidate, seed: str = "s") -> list[str]:
    return [match.cid for match in rank(wanted, ("classification",), candidates, seed=seed)]


def test_bm25_by_hand() -> None:
    found = bm25("wine", ["wine wine chemistry", "digits", "weather digits"])
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    length = 3 / 2
    assert found[0] == pytest.approx(idf * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * length)))
    assert found[1:] == [0, 0]
    assert bm25("wine", []) == []
    assert bm25("", ["wine"]) == [0]
    assert bm25("wine", [""]) == [0]


def test_repeating_a_word_buys_little_and_length_costs() -> None:
    honest, stuffed = bm25("wine", ["wine of piedmont", "wine " * 500])
    assert stuffed < honest * (K1 + 1)
    short, long = bm25("wine", ["wine taster", "wine " + "other things " * 300])
    assert short > 2 * long


def test_words_have_one_spelling() -> None:
    assert words_in("Alcalinity_of_ash, WINE; straße") == ["alcalinity", "of", "ash", "wine", "strasse"]


def test_no_more_of_a_text_is_weighed_than_anybody_would_read() -> None:
    """A thousand requests of 64 KiB each would else take a developer's memory."""
    assert len(words_in("ab " * 1_000_000)) < 5_000


def test_more_relevant_more_reliable_more_room_comes_first() -> None:
    far = someone("far", "wine and many other things", known())
    near = someone("near", "wine barolo", known())
    assert order("wine barolo", far, near) == ["near", "far"]
    assert order("wine", someone("a", standing=known(4_000)), someone("b", standing=known())) == ["b", "a"]
    assert order("wine", someone("a", standing=known()), someone("b", standing=known(), places=2)) == [
        "b",
        "a",
    ]


def test_claimed_room_counts_up_to_three() -> None:
    assert [room_of(places) for places in (0, 1, 2, 3, 1_000)] == [0, 0.5, 0.75, 1, 1]


def test_without_room_or_the_task_there_is_no_match() -> None:
    full = someone("full", places=0)
    other = someone("other", tasks=("regression",))
    assert order("wine", full, other, someone("fits")) == ["fits"]


def test_every_fourth_place_is_a_newcomers() -> None:
    old = [someone(f"old{n}", standing=known()) for n in range(7)]
    new = [someone(f"new{n}") for n in range(3)]
    found = rank("wine", ("classification",), [*new, *old], seed="s")
    lanes = [match.lane for match in found]
    assert lanes == [*["known"] * 3, "newcomer", *["known"] * 3, "newcomer", "known", "newcomer"]


def test_the_draw_can_be_repeated_and_every_newcomer_has_its_turn() -> None:
    new = [someone(f"new{n}") for n in range(5)]
    assert order("wine", *new, seed="a") == order("wine", *reversed(new), seed="a")
    first = [order("wine", *new, seed=str(n))[0] for n in range(500)]
    assert all(70 < first.count(one.cid) < 130 for one in new), "equals are drawn equally often"


def test_what_little_is_known_of_a_newcomer_moves_the_draw() -> None:
    """The mean of Beta(1 + good, 1 + bad) is (1 + good) / (2 + good + bad)."""
    good = Standing(score=0, good_milli=4_000, bad_milli=0, is_new=True)
    bad = Standing(score=0, good_milli=0, bad_milli=4_000, is_new=True)
    ranks = [
        rank("wine", ("classification",), [someone("g", standing=good)], seed=str(n)) for n in range(400)
    ]
    assert sum(match.score for (match,) in ranks) / 400 / 10_000 == pytest.approx(5 / 6 * 0.5, abs=0.02)
    firsts = [
        order("wine", someone("g", standing=good), someone("b", standing=bad), seed=str(n))[0]
        for n in range(200)
    ]
    assert firsts.count("g") > 180


def test_nobody_gains_by_publishing_again_under_another_address() -> None:
    again = [someone("other cid", author="new0"), someone("new0")]
    scores = {match.score for match in rank("wine", ("classification",), again, seed="a")}
    assert len(scores) == 1


def test_every_match_says_why() -> None:
    found = rank("Barolo or not?", ("classification",), [someone("a", "barolo", known())], seed="s")
    assert found[0].shared_words == ("barolo",)
    assert found[0].reasons == (
        "In common: barolo.",
        "At least 80.0 % of its orders with you end well (20.0 seen).",
        "Takes one order.",
    )
    assert (found[0].relevance, found[0].standing, found[0].capacity) == (10_000, 8_000, 5_000)
    assert found[0].score == 4_000
    strange = rank("Barolo or not?", ("classification",), [someone("a", "weather")], seed="s")
    assert strange[0].reasons[0] == "No word in common but the task."
    assert "A newcomer to you" in strange[0].reasons[1]
    assert strange[0].score == 0
