"""Full-text search: ranking, filters, pages, and queries that try to be operators."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.store import search as search_module
from openstall.store.database import Store
from openstall.store.records import NewRecord, Records
from openstall.store.search import Search, match_expression

NOW = 1_800_000_000


def add(
    store: Store, number: int, title: str, words: str, *, type_: str = "listing", author: str = "ann"
) -> None:
    found = NewRecord(
        cid=f"b{number:059d}",
        network="n",
        type=type_,
        author=author,
        key=f"k{number}",
        seq=number,
        issued=NOW + number,
        expires=NOW + 10_000,
        raw=b"{}",
        title=title,
        words=words,
        target=None,
    )
    Records(store).add(found, now=NOW)


@pytest.fixture
def filled(store: Store) -> Search:
    add(store, 1, "Breast cancer classifier", "tabular onnx")
    add(store, 2, "Digits", "recognises handwritten digits; trained for cancer research too")
    add(store, 3, "Größe und Gewicht", "Schätzung")
    add(store, 4, "Fast machine", "cpu train infer", type_="offer", author="bob")
    return Search(store)


def titles(search: Search, query: str = "", **options: object) -> list[str]:
    return [row.title for row in search.find("n", now=NOW, query=query, **options).items]  # type: ignore[arg-type]


def test_title_counts_more_than_text(filled: Search) -> None:
    assert titles(filled, "cancer") == ["Breast cancer classifier", "Digits"]


def test_all_words_must_occur_and_the_last_may_be_unfinished(filled: Search) -> None:
    assert titles(filled, "breast cancer") == ["Breast cancer classifier"]
    assert titles(filled, "breast canc") == ["Breast cancer classifier"]
    assert titles(filled, "breast canc ") == []
    assert titles(filled, "breast digits") == []


def test_accents_and_case_do_not_matter(filled: Search) -> None:
    assert titles(filled, "GROSSE") == []
    assert titles(filled, "große") == ["Größe und Gewicht"]
    assert titles(filled, "schatzung") == ["Größe und Gewicht"]


def test_without_words_the_newest_come_first(filled: Search) -> None:
    assert titles(filled)[0] == "Fast machine"
    assert titles(filled, types=("listing",)) == ["Größe und Gewicht", "Digits", "Breast cancer classifier"]


def test_filters_and_pages(filled: Search) -> None:
    page = filled.find("n", now=NOW, types=("listing",), limit=1, offset=1)
    assert (page.total, page.exact, [row.title for row in page.items]) == (3, True, ["Digits"])
    assert titles(filled, author="bob") == ["Fast machine"]
    assert titles(filled, "cancer", types=("offer",)) == []
    assert filled.find("other", now=NOW).total == 0


def test_expired_superseded_and_withdrawn_are_not_found(store: Store, filled: Search) -> None:
    assert filled.find("n", now=NOW + 20_000, query="cancer").total == 0
    add(store, 9, "Breast screening", "replaces the first")
    Records(store).add(
        NewRecord(
            cid="b" + "9" * 59,
            network="n",
            type="listing",
            author="ann",
            key="k1",
            seq=50,
            issued=NOW,
            expires=NOW + 9,
            raw=b"{}",
            title="Second edition",
            words="new",
        ),
        now=NOW,
    )
    assert titles(filled, "classifier") == []
    assert titles(filled, "edition") == ["Second edition"]
    Records(store).add(
        NewRecord(
            cid="b" + "8" * 59,
            network="n",
            type="tombstone",
            author="ann",
            key="t",
            seq=60,
            issued=NOW,
            expires=NOW + 9,
            raw=b"{}",
            title="",
            words="",
            target=("listing", "k1"),
        ),
        now=NOW,
    )
    assert titles(filled, "edition") == []
    store.check()


def test_common_words_rank_only_the_latest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_RANKED", 10)
    for number in range(1, 31):
        add(store, number, f"Model {number}", "common")
    page = Search(store).find("n", now=NOW, query="common", limit=5)
    assert (page.total, page.exact) == (10, False)
    assert {row.title for row in page.items} <= {f"Model {number}" for number in range(20, 31)}


HOSTILE = [
    '"',
    "a OR b",
    "title: x",
    "NEAR(a b)",
    "a* -b",
    "'; DROP TABLE records; --",
    "*",
    "^x",
    "(",
    "\0",
    "a\0b",
]


@pytest.mark.parametrize("query", HOSTILE)
def test_operators_are_only_words(filled: Search, query: str) -> None:
    filled.find("n", now=NOW, query=query)
    assert titles(filled, "cancer")


@given(st.text(max_size=300))
def test_no_query_breaks_the_grammar(query: str) -> None:
    expression = match_expression(query)
    assert len(expression) <= 400
    assert expression.count('"') % 2 == 0


def test_anything_can_be_asked(filled: Search) -> None:
    @given(st.text(max_size=300), st.integers(-10, 10**9), st.integers(-10, 10**9))
    def ask(query: str, limit: int, offset: int) -> None:
        assert len(filled.find("n", now=NOW, query=query, limit=limit, offset=offset).items) <= 4

    ask()


def test_a_crowd_that_is_called_like_a_wallet_does_not_hide_its_peer(store: Store) -> None:
    wallet = "0x" + "aB" * 20
    add(store, 1, "Ada", f"{wallet} ada", type_="peer", author="ada")
    for number in range(2, 60):
        add(store, number, wallet, f"0x{number:040x} x{number}", type_="peer", author=f"x{number}")
    search = Search(store)
    assert search.peer_bound_to("n", wallet.lower(), now=NOW) == "ada"
    assert search.peer_bound_to("n", "0x" + "00" * 20, now=NOW) is None
    assert search.peer_bound_to("other", wallet, now=NOW) is None
    assert search.peer_bound_to("n", wallet, now=NOW + 20_000) is None
