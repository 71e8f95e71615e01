"""Random openings: an evaluator shows a few rows that nobody could foresee, and anybody replays them.

Which rows they are follows from the statement and from the hash of a block that was made after it. Who
made up a tenth of the answers is found out by thirty openings in 96 of 100 cases, and each opening shows
the row as the requester committed to it and the answer as the evaluator did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated

import msgspec
from msgspec import Meta

from openstall.learning.grid import most_hits
from openstall.learning.sampling import so_few, so_many
from openstall.market import canonical, merkle
from openstall.market.errors import InvalidRecord
from openstall.market.fields import Body, Network, Sha256
from openstall.market.requests.assessment import Statement, statement_hash
from openstall.market.requests.demands import MOST_OPENED, MOST_ROWS, grid_of
from openstall.market.schema import fit

OPENED = 30
DEVELOPERS_PART = 10
"""A developer is shown one row in so many at most, over the statements of all evaluators together."""
MAX_OPENINGS = 1024 * 1024
MOST_CELLS = 10_000
MOST_PROOF = 24
"""Ten million rows have trees of 24 levels."""
TOLERANCE = 2e-4
"""How far scores or values of one model may lie apart on two kinds of processors, as a part of their size."""

Salt = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Proof = Annotated[list[Sha256], Meta(max_length=MOST_PROOF)]
Cells = Annotated[list[Annotated[str, Meta(max_length=1000)]], Meta(min_length=1, max_length=MOST_CELLS)]


class Sealed(Body, frozen=True, kw_only=True):
    """One entry of a sealed tree, shown: its cells, its salt, and the proof that it is in the tree."""

    cells: Cells
    salt: Salt
    proof: Proof


class OpenedRow(Body, frozen=True, kw_only=True):
    """A row of the requester, and what the evaluator says the model answered."""

    index: Annotated[int, Meta(ge=0, lt=MOST_ROWS)]
    row: Sealed
    output: Sealed


class Openings(Body, frozen=True, kw_only=True):
    """The evaluator's answer: the rows that had to be opened, ascending."""

    network: Network
    statement: Sha256
    block_hash: Sha256
    opened: Annotated[list[OpenedRow], Meta(min_length=1, max_length=MOST_OPENED)]


def rows_to_open(statement_sha256: str, block_hash: str, rows: int, count: int = OPENED) -> list[int]:
    """Which rows must be opened, ascending, none twice; all of them where there are no more than `count`.

    Drawn without bias from SHA-256(statement hash ‖ block hash): both as 32 bytes.
    """
    if rows <= count:
        return list(range(rows))
    root = hashlib.sha256(bytes.fromhex(statement_sha256) + bytes.fromhex(block_hash)).digest()
    fair = 2**64 - 2**64 % rows
    found: set[int] = set()
    draw = 0
    while len(found) < count:
        number = int.from_bytes(hashlib.sha256(root + draw.to_bytes(4, "big")).digest()[:8], "big")
        if number < fair:
            found.add(number % rows)
        draw += 1
    return sorted(found)


def shown_to_developer(rows: int, evaluators: int) -> int:
    """How many rows of each statement a developer is shown of those drawn: few, because they are secret.

    Of the statements of all evaluators together it is a tenth of the rows, but of each one at least.
    """
    return max(1, min(OPENED, rows // (DEVELOPERS_PART * evaluators)))


def seal(cells: Sequence[Sequence[str]], seed: bytes) -> list[bytes]:
    """The leaves of a sealed tree over these rows, with the salts of one seed."""
    return [merkle.sealed_leaf(merkle.salt_of(seed, at), row) for at, row in enumerate(cells)]


def show(leaves: Sequence[bytes], seed: bytes, index: int, cells: Sequence[str]) -> Sealed:
    """One entry of such a tree, shown."""
    return Sealed(
        cells=list(cells),
        salt=merkle.salt_of(seed, index).hex(),
        proof=[part.hex() for part in merkle.inclusion_proof(leaves, index)],
    )


def write_openings(openings: Openings) -> bytes:
    """The canonical bytes.

    Raises:
        InvalidRecord: they are too large to be sent.
    """
    raw = canonical.encode(msgspec.to_builtins(openings))
    if len(raw) > MAX_OPENINGS:
        raise InvalidRecord("too_large", "The opened rows are too large to be sent.", "Open fewer rows.")
    return raw


def read_openings(raw: bytes) -> Openings:
    """Openings from anybody, in form; `check_openings` says whether they are right.

    The cells are data and may hold any character: whoever shows one cleans it first (`text.clean`).

    Raises:
        InvalidRecord: with the check that failed.
    """
    return fit(canonical.decode(raw, max_bytes=MAX_OPENINGS), Openings, "openings")


def check_opening(opened: OpenedRow, *, rows_root: str, outputs_root: str, rows: int) -> None:
    """Whether this row and this answer were committed to, at the same place.

    Raises:
        InvalidRecord: `bad_opening`.
    """
    for entry, root, name in (
        (opened.row, rows_root, "row"),
        (opened.output, outputs_root, "answer"),
    ):
        if not merkle.is_included(
            root=bytes.fromhex(root),
            size=rows,
            index=opened.index,
            leaf=merkle.sealed_leaf(bytes.fromhex(entry.salt), entry.cells),
            proof=[bytes.fromhex(part) for part in entry.proof],
        ):
            raise _bad(f"the {name} {opened.index + 1} is not the one that was committed to")


def check_openings(
    openings: Openings, raw_statement: bytes, statement: Statement, count: int = OPENED
) -> None:
    """Whether exactly the drawn rows were opened, and each as committed. Replaying them is the next step.

    `raw_statement` and `statement` are one statement, read by `read_statement`; the caller looks the block
    up on the chain and sees that it was made after the statement was signed.

    Raises:
        InvalidRecord: `bad_opening`.
    """
    found = statement.predicate
    digest = statement_hash(raw_statement)
    if openings.statement != digest or openings.network != found.network:
        raise _bad("they belong to another assessment")
    if not found.outputs_root:
        raise _bad("the model could not be measured, so there is nothing to open")
    wanted = rows_to_open(digest, openings.block_hash, found.rows, count)
    if [opened.index for opened in openings.opened] != wanted:
        raise _bad("other rows were opened than the draw asks for")
    for opened in openings.opened:
        check_opening(opened, rows_root=found.rows_root, outputs_root=found.outputs_root, rows=found.rows)


def right_answers(opened: Sequence[OpenedRow], target: int) -> int:
    """How many of these labels are right; `target` is the place of the right one among the cells of a row."""
    return sum(_equal(entry.row.cells[target], entry.output.cells[0]) for entry in opened)


def plausible(opened: Sequence[OpenedRow], statement: Statement, target: int) -> Fraction:
    """The chance to see so few right answers as these, if the assessment counted honestly.

    Where it says that the model missed, the chance to see so many. Near zero, the count was made up though
    the answers were not; 1 where the metric is no count. For `target` see `right_answers`.
    """
    found = statement.predicate
    if not found.figures or found.figures[0].name != "accuracy" or found.figures[0].hits is None:
        return Fraction(1)
    told, seen = found.figures[0], right_answers(opened, target)
    if found.passed:
        return so_few(rows=told.rows, hits=found.figures[0].hits, opened=len(opened), seen=seen)
    grid = grid_of(told.name, found.threshold)
    most = most_hits(grid, grid.units(told.value), told.rows)
    return so_many(rows=told.rows, hits=most, opened=len(opened), seen=seen)


def _equal(right: str, said: str) -> bool:
    """Whether two labels mean the same: as texts without spaces around them, or as numbers."""
    if right.strip() == said.strip():
        return True
    try:
        return float(right) == float(said)
    except ValueError:
        return False


def differing(claimed: Sequence[Sequence[str]], replayed: Sequence[Sequence[str]]) -> list[int]:
    """The places at which a claimed answer is not the one that the replay gave.

    Figures may differ as two kinds of processors do; a label must be the same, unless the scores behind it
    are as near to one another.
    """
    if len(claimed) != len(replayed):
        raise _bad("the replay answered another number of rows")
    pairs = enumerate(zip(claimed, replayed, strict=True))
    return [at for at, (one, other) in pairs if not _same(one, other)]


def _same(one: Sequence[str], other: Sequence[str]) -> bool:
    """`[value]`, `[label]` or `[label, score, …]`."""
    if list(one) == list(other):
        return True
    if len(one) != len(other):
        return False
    if len(one) == 1:
        return _near(one[0], other[0])
    if not all(_near(a, b) for a, b in zip(one[1:], other[1:], strict=True)):
        return False
    return one[0] == other[0] or _is_tie(other[1:])


def _near(one: str, other: str) -> bool:
    a, b = _number(one), _number(other)
    return a is not None and b is not None and abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b))


def _is_tie(scores: Sequence[str]) -> bool:
    best = sorted((_number(score) or 0.0 for score in scores), reverse=True)
    return len(best) > 1 and best[0] - best[1] <= 2 * TOLERANCE * max(1.0, abs(best[0]))


def _number(text_: str) -> float | None:
    try:
        return float(msgspec.convert(text_, _Number))
    except msgspec.ValidationError:
        return None


_Number = Annotated[str, Meta(pattern=r"^-?[0-9]{1,40}\.[0-9]{6}\Z")]


def _bad(words: str) -> InvalidRecord:
    return InvalidRecord(
        "bad_opening",
        f"The opened rows prove nothing: {words}.",
        "Take the statement as not given; its author can be held to account.",
    )
