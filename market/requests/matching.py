"""Who fits whom: a request against the cards of developers, and a developer's card against requests.

The score is relevance (BM25: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework", 2009)
times the lower end of what the reader's own evidence says of the other side (`mechanisms.reliability`), times
how much room there is. Who has shown nothing yet would score nothing for ever; so every fourth place goes to
a newcomer, drawn by Thompson sampling on a beta distribution (W. R. Thompson, 1933), and is marked so. The
draw follows from a seed that only the reader knows: the same question has the same answer, and nobody can
try names until one is lucky.

All of a card is its author's own word: relevance saturates with repetition, claimed room counts up to three.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from openstall.market.mechanisms.reliability import WHOLE

K1: Final = 1.2
B: Final = 0.75
NEWCOMER_EVERY: Final = 4
PLACES_THAT_COUNT: Final = 3
SHOWN_WORDS: Final = 6
MOST_CHARS: Final = 8_000
_WORD: Final = re.compile(r"\w{2,40}")

Lane = Literal["known", "newcomer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the reader has seen of the other side itself; `score` of 10,000, evidence in thousandths."""

    score: int
    good_milli: int
    bad_milli: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One side that may fit: its words, how much room there is (0: none), and its standing."""

    cid: str
    author: str
    words: str
    tasks: tuple[str, ...]
    places: int
    room_words: str
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A place in the ranking and every reason for it; figures are of 10,000."""

    cid: str
    lane: Lane
    score: int
    relevance: int
    standing: int
    capacity: int
    shared_words: tuple[str, ...]
    reasons: tuple[str, ...]


def words_in(text: str) -> list[str]:
    """The words of a text, in one spelling; no more of a text are looked at than anybody would read."""
    return _WORD.findall(text[:MOST_CHARS].casefold().replace("_", " "))


def bm25(query: str, documents: Sequence[str]) -> list[float]:
    """How much each document has to do with the query; 0 where they share no word."""
    counts = [Counter(words_in(document)) for document in documents]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths) if lengths and sum(lengths) else 1.0
    terms = sorted(set(words_in(query)))
    weights = {term: _idf(sum(term in count for count in counts), len(counts)) for term in terms}
    return [
        math.fsum(weights[term] * _saturated(count[term], length / mean) for term in terms if count[term])
        for count, length in zip(counts, lengths, strict=True)
    ]


def rank(wanted: str, task: Sequence[str], candidates: Sequence[Candidate], *, seed: str) -> list[Match]:
    """Candidates for whom the task is one of theirs and who have room, best first, with newcomers among them.

    Args:
        wanted: the words of the one who asks.
        task: its tasks; one in common is enough.
        seed: for the draws; nobody else should know it.
    """
    fit = [one for one in candidates if one.places > 0 and set(task) & set(one.tasks)]
    relevance = bm25(wanted, [one.words for one in fit])
    most = max(relevance, default=0.0) or 1.0
    known: list[tuple[float, Match]] = []
    new: list[tuple[float, Match]] = []
    for one, found in zip(fit, relevance, strict=True):
        share, room = found / most, room_of(one.places)
        believed = _draw(seed, one) if one.standing.is_new else one.standing.score / WHOLE
        match = _match(wanted, one, share=share, believed=believed, room=room)
        (new if one.standing.is_new else known).append((share * believed * room, match))
    return _merged(_sorted(known), _sorted(new))


def room_of(places: int) -> float:
    """A half for one place, three quarters for two, all for three and more."""
    return (min(places, PLACES_THAT_COUNT) + 1) / (PLACES_THAT_COUNT + 1) if places > 0 else 0.0


def _idf(having: int, all_of_them: int) -> float:
    return math.log(1 + (all_of_them - having + 0.5) / (having + 0.5))


def _saturated(count: int, length: float) -> float:
    return count * (K1 + 1) / (count + K1 * (1 - B + B * length))


def _draw(seed: str, one: Candidate) -> float:
    source = random.Random(f"{seed}\0{one.author}")  # noqa: S311 - a draw that anybody may repeat, no secret
    return source.betavariate(1 + one.standing.good_milli / 1000, 1 + one.standing.bad_milli / 1000)


def _sorted(scored: Sequence[tuple[float, Match]]) -> list[Match]:
    return [
        match for _, match in sorted(scored, key=lambda pair: (-pair[0], -pair[1].relevance, pair[1].cid))
    ]


def _merged(known: Sequence[Match], new: Sequence[Match]) -> list[Match]:
    """Every fourth place is a newcomer's, while there are any; the rest follow at the end."""
    merged: list[Match] = []
    waiting, others = list(new), list(known)
    while waiting and others:
        turn = len(merged) % NEWCOMER_EVERY == NEWCOMER_EVERY - 1
        merged.append((waiting if turn else others).pop(0))
    return [*merged, *others, *waiting]


def _match(wanted: str, one: Candidate, *, share: float, believed: float, room: float) -> Match:
    shared = _shared(wanted, one.words)
    lane: Lane = "newcomer" if one.standing.is_new else "known"
    return Match(
        cid=one.cid,
        lane=lane,
        score=round(share * believed * room * WHOLE),
        relevance=round(share * WHOLE),
        standing=one.standing.score,
        capacity=round(room * WHOLE),
        shared_words=shared,
        reasons=tuple(_reasons(one, shared)),
    )


def _shared(wanted: str, words: str) -> tuple[str, ...]:
    theirs: Mapping[str, int] = Counter(words_in(words))
    found = [word for word in dict.fromkeys(words_in(wanted)) if word in theirs and len(word) > 2]
    return tuple(sorted(found, key=lambda word: (-len(word), word))[:SHOWN_WORDS])


def _reasons(one: Candidate, shared: Sequence[str]) -> list[str]:
    evidence = one.standing.good_milli + one.standing.bad_milli
    seen = f"{evidence / 1000:.1f}"
    if one.standing.is_new:
        known = f" ({seen} orders seen)" if evidence else ""
        standing = f"A newcomer to you{known}: this place is drawn by lot, so that it gets a chance."
    else:
        standing = f"At least {one.standing.score / 100:.1f} % of its orders with you end well ({seen} seen)."
    common = f"In common: {', '.join(shared)}." if shared else "No word in common but the task."
    return [common, standing, one.room_words]
