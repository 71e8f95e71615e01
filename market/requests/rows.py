"""Sealed rows: committed to before anybody bids, each shown by itself later, with a proof.

All salts follow from one seed that stays with the requester, so that the rows need no second file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from openstall.market import merkle
from openstall.market.errors import InvalidRecord
from openstall.market.requests.openings import Sealed
from openstall.market.schema import fit

SEED_BYTES = 32
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What the request says of its rows: the root (hex) and their number."""

    root: str
    rows: int


def leaves_of(rows: Iterable[Sequence[str]], seed: bytes) -> Iterator[bytes]:
    """The hash of each row, in order."""
    if len(seed) != SEED_BYTES:
        raise ValueError("the seed of the salts has 32 bytes")
    return (merkle.sealed_leaf(merkle.salt_of(seed, index), cells) for index, cells in enumerate(rows))


def commit(rows: Iterable[Sequence[str]], seed: bytes) -> Commitment:
    """Commit to all rows, one after the other."""
    count = itertools.count()
    leaves = (leaf for leaf, _ in zip(leaves_of(rows, seed), count, strict=False))
    root = merkle.root_of(leaves)
    return Commitment(root=root.hex(), rows=next(count))


def prove(rows: Rows, seed: bytes, wanted: Sequence[int]) -> list[Sealed]:
    """The wanted rows, each with its salt and the proof that it is in the tree.

    Raises:
        IndexError: there is no such row.
    """
    leaves = list(leaves_of(rows, seed))
    return [
        Sealed(
            cells=list(rows[index]),
            salt=merkle.salt_of(seed, index).hex(),
            proof=[part.hex() for part in merkle.inclusion_proof(leaves, index)],
        )
        for index in wanted
    ]


def check_shown(shown: Sealed, *, index: int, commitment: Commitment) -> None:
    """Whether this is row `index` of those that were committed to.

    Raises:
        InvalidRecord: `bad_schema`, or `other_rows`: it is another row, at another place, or of another salt.
    """
    shown = fit(msgspec.to_builtins(shown), Sealed, "row")
    leaf = merkle.sealed_leaf(bytes.fromhex(shown.salt), shown.cells)
    proof = [bytes.fromhex(part) for part in shown.proof]
    root = bytes.fromhex(commitment.root)
    if not merkle.is_included(root=root, size=commitment.rows, index=index, leaf=leaf, proof=proof):
        raise _other_rows()


def check_rows(rows: Iterable[Sequence[str]], seed: bytes, commitment: Commitment) -> None:
    """Whether these are all the rows that were committed to, under this seed.

    Raises:
        InvalidRecord: `other_rows`.
    """
    if len(seed) != SEED_BYTES or commit(rows, seed) != commitment:
        raise _other_rows()


def _other_rows() -> InvalidRecord:
    return InvalidRecord(
        "other_rows",
        "The rows are not those that the requester committed to before the bids.",
        "Do not measure on them.",
    )
