"""Sealed rows: one root for all of them, one proof for each, and no row that was not there before."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest

from openstall.market import merkle
from openstall.market.errors import InvalidRecord
from openstall.market.requests.rows import Commitment, check_rows, check_shown, commit, prove

SEED = bytes(range(32))
ROWS = [[f"{n}.5", str(n % 3), "barolo" if n % 2 else "Ğ, “ş”\n"] for n in range(37)]


def test_the_leaf_is_as_the_protocol_page_says() -> None:
    salt = hmac.new(SEED, (5).to_bytes(8, "big"), hashlib.sha256).digest()[:16]
    cells = json.dumps(ROWS[5], ensure_ascii=False, separators=(",", ":")).encode()
    leaf = hashlib.sha256(b"\0" + salt + cells).digest()
    (shown,) = prove(ROWS, SEED, [5])
    assert merkle.is_included(
        root=bytes.fromhex(commit(ROWS, SEED).root),
        size=37,
        index=5,
        leaf=leaf,
        proof=[bytes.fromhex(part) for part in shown.proof],
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8, 37])
def test_every_row_has_a_proof(count: int) -> None:
    rows = ROWS[:count]
    commitment = commit(rows, SEED)
    for index, shown in enumerate(prove(rows, SEED, range(count))):
        check_shown(shown, index=index, commitment=commitment)
        assert shown.cells == rows[index]
    check_rows(rows, SEED, commitment)


def test_equal_rows_do_not_show_that_they_are_equal() -> None:
    one, other = prove([["1", "a"], ["1", "a"]], SEED, [0, 1])
    assert one.salt != other.salt
    assert one.proof != other.proof


def refused(action: object, *args: object, **named: object) -> str:
    with pytest.raises(InvalidRecord) as caught:
        action(*args, **named)  # type: ignore[operator]
    return caught.value.code


def test_rows_that_changed_after_the_commitment_are_refused() -> None:
    commitment = commit(ROWS, SEED)
    changed = [*ROWS[:-1], ["9", "9", "barolo"]]
    assert refused(check_rows, changed, SEED, commitment) == "other_rows"
    assert refused(check_rows, ROWS[::-1], SEED, commitment) == "other_rows"
    assert refused(check_rows, ROWS[:-1], SEED, commitment) == "other_rows"
    assert refused(check_rows, ROWS, bytes(32), commitment) == "other_rows"
    assert refused(check_rows, ROWS, b"short", commitment) == "other_rows"
    assert refused(check_rows, ROWS, SEED, Commitment(root=commitment.root, rows=36)) == "other_rows"


def test_a_shown_row_cannot_be_altered_or_moved() -> None:
    commitment = commit(ROWS, SEED)
    (shown,) = prove(ROWS, SEED, [5])

    def code(index: int = 5, **changes: object) -> str:
        altered = msgspec.structs.replace(shown, **changes)
        return refused(check_shown, altered, index=index, commitment=commitment)

    assert code(cells=[*shown.cells[:-1], "grignolino"]) == "other_rows"
    assert code(salt="00" * 16) == "other_rows"
    assert code(index=6) == "other_rows"
    assert code(index=-1) == "other_rows"
    assert code(index=37) == "other_rows"
    assert code(proof=shown.proof[:-1]) == "other_rows"
    assert code(proof=[*shown.proof, "ab" * 32]) == "other_rows"
    assert code(proof=["ab"] * 3) == "bad_schema"
    assert code(proof=["ab" * 32] * 25) == "bad_schema"
    assert code(salt="zz") == "bad_schema"
    assert code(cells=["x" * 1_001]) == "bad_schema"
    assert code(cells=[]) == "bad_schema"
