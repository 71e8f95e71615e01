"""What a check of an evaluator's report ends with, in words."""

from __future__ import annotations

from typing import Final

DOUBTS: Final = frozenset({"differs", "unlikely", "not_committed", "not_shown"})
"""Ends that speak against the evaluator."""
_FOUND: Final = {
    "as_reported": "answers as reported",
    "rows_only": "rows as committed to, model not tried",
    "differs": "answers otherwise than reported",
    "unlikely": "the count cannot be true",
    "not_committed": "the rows prove nothing",
    "not_shown": "no rows are shown",
    "no_answer": "not checked",
    "nothing_to_open": "nothing to check",
}


def replay_words(outcome: str) -> str:
    """An end in a few words."""
    return _FOUND.get(outcome, "not known")
