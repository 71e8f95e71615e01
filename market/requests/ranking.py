"""Who is paid what in a contest: an evaluator's sheet of statements, and the prizes that follow from it.

Each evaluator measures every entry, writes one statement for each, and signs the sheet. The prizes follow
from a sheet alone, so whoever holds it can make the tree whose root the chain has. An evaluator signs the
prizes of another's sheet only where its own figures agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidOrder, InvalidRecord
from openstall.market.fields import Body, Network, Sha256, Time
from openstall.market.mechanisms.contests import by_rank, by_share
from openstall.market.mechanisms.second_score import FULL
from openstall.market.requests.assessment import Figure, Statement, meets, read_statement
from openstall.market.requests.bodies import SHARES, RequestBody
from openstall.market.requests.demands import demands_of, grid_of
from openstall.market.schema import fit

MOST_COUNTED: Final = 256
"""Entries that are measured, in the order in which the chain has them; later ones get their deposit back."""
MAX_SHEET: Final = 2 * 1024 * 1024
MOST_STEPS_APART: Final = 1
"""How far two evaluators' figures may lie apart, in steps of the figure's grid."""

Wallet = Annotated[str, Meta(pattern=r"^0x(?!0{40}\Z)[0-9a-f]{40}\Z")]
"""In lower case: one wallet has one name in a sheet."""
Statements = Mapping[str, Statement | None]
"""By entrant, in lower case; None where the model could not be had."""


class Line(Body, frozen=True, kw_only=True):
    """One entry; `statement` is null where the entrant did not show its model in time."""

    entrant: Wallet
    model_sha256: Sha256
    statement: dict[str, Any] | None


class Sheet(Body, frozen=True, kw_only=True):
    """All that one evaluator says of a contest; `contest` is its name on the chain."""

    network: Network
    chain_id: Annotated[int, Meta(ge=1)]
    contest: Sha256
    evaluator: Wallet
    lines: Annotated[list[Line], Meta(min_length=1, max_length=MOST_COUNTED)]
    at: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What everybody knows of a contest once the time to enter is over.

    `entries` are wallets (lower case) and model hashes (hex), in the order of the chain.
    """

    network: str
    contest: bytes
    request_hash: bytes
    body: RequestBody
    entries: tuple[tuple[str, str], ...]

    @property
    def counted(self) -> tuple[tuple[str, str], ...]:
        """The entries that are measured."""
        return self.entries[:MOST_COUNTED]

    @property
    def seed(self) -> int:
        """The seed of all measurements: nobody knew it before the last entry was made."""
        said = canonical.encode([self.contest.hex(), *(list(entry) for entry in self.entries)])
        return int.from_bytes(hashlib.sha256(said).digest()[:4], "big") >> 1


def write_sheet(sheet: Sheet) -> bytes:
    """The canonical bytes of a sheet."""
    return canonical.encode(msgspec.to_builtins(sheet))


def read_sheet(raw: bytes, facts: Facts) -> tuple[Sheet, dict[str, Statement | None]]:
    """A sheet from anybody, with its statements: each is about its entry of this contest and no other.

    Raises:
        InvalidOrder: with the check that failed.
    """
    try:
        sheet = fit(canonical.decode(raw, max_bytes=MAX_SHEET), Sheet, "ranking")
        found = {line.entrant: _statement(line) for line in sheet.lines}
    except InvalidRecord as error:
        raise InvalidOrder(error.code, error.message, error.what_next) from error
    named = (sheet.network, sheet.chain_id, sheet.contest)
    if named != (facts.network, facts.body.chain_id, facts.contest.hex()):
        raise InvalidOrder("other_contest", "The ranking is about another contest.")
    if sheet.evaluator not in (one.lower() for one in facts.body.evaluators):
        raise InvalidOrder("not_an_evaluator", "The ranking is not by an evaluator of this contest.")
    if tuple((line.entrant, line.model_sha256) for line in sheet.lines) != facts.counted:
        raise InvalidOrder(
            "other_entries", "The ranking leaves out an entry, or names another than the chain has."
        )
    for line in sheet.lines:
        statement = found[line.entrant]
        if statement is not None:
            _check(statement, sheet, line, facts)
    return sheet, found


def prizes_of(facts: Facts, statements: Statements) -> dict[str, int]:
    """The prize of every entrant in micro-credits; 0 for who gets its deposit back and no more.

    Raises:
        Refused: the request's own prizes cannot be reckoned with.
    """
    body = facts.body
    qualities = _qualities(body, statements)
    paid: Mapping[str, int] = {}
    if qualities and body.weights_bps:
        paid = by_rank(
            facts.contest, qualities, pool_micro=body.budget_micro, weights_bps=body.weights_bps
        ).paid_micro
    elif qualities:
        paid = by_share(facts.contest, qualities, pool_micro=body.budget_micro).paid_micro
    return {entrant: paid.get(entrant, 0) for entrant, _model in facts.entries}


def disagreeing(body: RequestBody, own: Statements, theirs: Statements) -> list[str]:
    """The entrants of whom two evaluators say different things, by more than a step of the grid.

    How long an answer takes differs between machines: of that only counts whether it is short enough.
    """
    return sorted(
        entrant for entrant in {*own, *theirs} if not _same(body, own.get(entrant), theirs.get(entrant))
    )


def may_sign(facts: Facts, own: Statements, theirs: Statements, *, now: int) -> bool:
    """Whether an evaluator signs the prizes of another's sheet, whose figures agree with its own.

    Only where its own figures give the same prizes, so that nobody turns two entries round that lie close. In
    the last quarter of the time to judge the agreement is enough: machines may differ by a step.
    """
    if disagreeing(facts.body, own, theirs):
        return False
    quarter = (facts.body.reveal_by - facts.body.commit_by) // 4
    return now > facts.body.reveal_by - quarter or prizes_of(facts, own) == prizes_of(facts, theirs)


def standing(body: RequestBody, statement: Statement) -> Figure | None:
    """The figure that an entry is ranked by; None where it could not be measured."""
    figures = statement.predicate.figures
    return next((figure for figure in figures if figure.name == body.metric), None)


def _qualities(body: RequestBody, statements: Statements) -> dict[str, int]:
    """In millionths, of those entries that passed; of an error only the order counts."""
    of = grid_of(body.metric, body.threshold)
    units: dict[str, int] = {}
    for entrant, statement in statements.items():
        figure = standing(body, statement) if statement is not None else None
        if statement is not None and statement.predicate.passed and figure is not None:
            units[entrant] = of.units(figure.value)
    if body.metric in SHARES:
        return {entrant: int(of.step * found * FULL) for entrant, found in units.items()}
    places = {found: place for place, found in enumerate(sorted(set(units.values())))}
    return {entrant: FULL - places[found] for entrant, found in units.items()}


def _statement(line: Line) -> Statement | None:
    return None if line.statement is None else read_statement(canonical.encode(line.statement))


def _check(statement: Statement, sheet: Sheet, line: Line, facts: Facts) -> None:
    found, body = statement.predicate, facts.body
    same = {
        "model": statement.model_sha256 == line.model_sha256,
        "contest": (found.key, found.request, found.attempt)
        == (facts.contest.hex(), facts.request_hash.hex(), 1),
        "group": (found.network, found.chain_id) == (facts.network, body.chain_id),
        "evaluator": found.evaluator.lower() == sheet.evaluator,
        "rows": (found.rows, found.rows_root) == (body.rows, body.rows_root),
        "demands": (found.task, found.metric, found.threshold, found.floors)
        == (body.task, body.metric, body.threshold, body.floors),
        "seed": found.seed == facts.seed,
    }
    different = [name for name, equal in same.items() if not equal]
    if different:
        raise InvalidOrder("other_assessment", f"A statement is about another {', '.join(different)}.")


def _same(body: RequestBody, one: Statement | None, other: Statement | None) -> bool:
    if one is None or other is None:
        return one is other
    first, second = one.predicate, other.predicate
    if first.fault or second.fault:
        return bool(first.fault) == bool(second.fault)
    limits = demands_of(body.metric, body.threshold, body.floors)
    pairs: Sequence[tuple[Figure, Figure]] = list(zip(first.figures, second.figures, strict=True))
    return all(_near(name, limit, *pair) for (name, limit), pair in zip(limits, pairs, strict=True))


def _near(name: str, limit: str, one: Figure, other: Figure) -> bool:
    if name == "latency":
        return meets(one, limit) == meets(other, limit)
    of = grid_of(name, limit)
    return abs(of.units(one.value) - of.units(other.value)) <= MOST_STEPS_APART
