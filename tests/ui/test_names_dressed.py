"""A stranger's name is never shown bare: every table, and every answer of the local API that holds one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import Struct

import openstall.ui
import openstall.ui.views
from openstall.ui.documents import Document
from openstall.ui.people import NameMark
from openstall.ui.requests import RequestEntry
from openstall.ui.views.requests import Asked
from openstall.ui.widgets.people import Who, peer_column
from openstall.ui.widgets.table import Column

IDS = frozenset({"peer_id", "author", "other", "to", "entrant", "developer", "what"})
"""Fields that say who it is, by key: a name beside one is a stranger's."""
OWN = frozenset({("SelfPeer", "name"), ("IdentityState", "name")})
"""One's own name."""
MARK = [NameMark(code="looks_like", words="It looks like your own.")]
CALLED = "Ada Byr0n"


def modules() -> Iterator[Any]:
    for folder in (openstall.ui, openstall.ui.views):
        for found in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            if not found.name.endswith((".main", ".capture")):
                yield importlib.import_module(found.name)


def tables() -> list[tuple[str, type, list[Column[Any]]]]:
    """Every list of columns in the views, with the type of its rows."""
    found = []
    for module in modules():
        for name, kind in typing.get_type_hints(module).items():
            inner = typing.get_args(kind)
            if inner and typing.get_origin(inner[0]) is Column:
                (row,) = typing.get_args(inner[0])
                found.append((f"{module.__name__.rpartition('.')[2]}.{name}", row, getattr(module, name)))
    return found


def names_in(kind: type[Struct]) -> list[tuple[str, str]]:
    """The fields that hold a stranger's name, each with the field that holds its marks."""
    fields = {one.name: one.type for one in msgspec.structs.fields(kind)}
    if not IDS & fields.keys():
        return []
    return [
        (name, f"{name.removesuffix('_name')}_marks" if name != "name" or "name_marks" in fields else "marks")
        for name in fields
        if (name == "name" or name.endswith("_name")) and (kind.__name__, name) not in OWN
    ]


def documents() -> list[type[Document]]:
    for _ in modules():
        pass
    known, waiting = [], [Document]
    while waiting:
        kind = waiting.pop()
        known.append(kind)
        waiting += kind.__subclasses__()
    return [one for one in known if one.__module__.startswith("openstall.ui")]


def shown(column: Column[Any], row: Struct) -> tuple[object, ...]:
    """What can be read of a cell without a hover."""
    return (
        column.text(row),
        column.second(row) if column.second else "",
        column.icon(row) if column.icon else None,
    )


def asked(marks: list[NameMark]) -> Asked:
    """A line of the requests."""
    entry = RequestEntry(author="12D3KooWStranger", author_name=CALLED, author_marks=marks)
    return Asked(cid="b", title="Wanted", budget_micro=1, commit_by=0, reveal_by=0, entry=entry)


def pairs(kind: type) -> Iterator[tuple[Any, Any]]:
    """Rows that name somebody, without and with something odd about the name."""
    if kind is Asked:
        yield asked([]), asked(MARK)
    else:
        assert issubclass(kind, Struct), kind
        for field, marks in names_in(kind):
            yield rows(kind, field, marks)


def rows(kind: type[Struct], field: str, marks: str) -> tuple[Struct, Struct]:
    key = dict.fromkeys(IDS & {field.name for field in msgspec.structs.fields(kind)}, "12D3KooWStranger")
    return kind(**key, **{field: CALLED}), kind(**key, **{field: CALLED, marks: MARK})


def test_whoever_holds_a_strangers_name_holds_its_marks() -> None:
    holders = [(kind, *pair) for kind in documents() for pair in names_in(kind)]
    bare = [
        f"{kind.__name__}.{name} without {marks}"
        for kind, name, marks in holders
        if marks not in {one.name for one in msgspec.structs.fields(kind)}
    ]
    assert bare == []
    assert {"PeerLine", "Standing", "Waiting", "Box", "Ban", "Penalty", "Liar", "RelayPeer", "Order",
            "Entry", "ContestEntry", "BoardLine"} <= {kind.__name__ for kind, *_ in holders}  # fmt: skip


def test_every_table_marks_an_odd_name_where_it_shows_it() -> None:
    bare, seen = [], set()
    for where, kind, columns in tables():
        for plain, odd in pairs(kind):
            for column in columns:
                if CALLED not in f"{column.text(plain)} {column.second(plain) if column.second else ''}":
                    continue
                seen.add(where)
                if shown(column, plain) == shown(column, odd):
                    bare.append(f"{where}: {column.title}")
                assert column.tip is not None, f"{where}: {column.title} says nothing on hover"
                assert MARK[0].words in column.tip(odd), f"{where}: {column.title}"
    assert bare == []
    assert seen >= {
        "network_peers.COLUMNS", "network_catalogue.COLUMNS", "network_refused.BANS", "network_refused.DEEDS",
        "outbox.COLUMNS", "orders.COLUMNS", "market.MODEL_COLUMNS", "market.OFFER_COLUMNS",
        "jobs_panel.COLUMNS", "requests.COLUMNS",
    }  # fmt: skip


def test_no_table_stands_apart_from_the_lists_that_are_looked_at() -> None:
    """A `RowTable` is given one of the module's own lists of columns, by its name."""
    named = {where.partition(".")[2] for where, *_ in tables()}
    made = re.compile(r"RowTable\(\s*(?:f?\"[^\"]*\"|name),\s*(\w+)")
    for module in modules():
        for given in made.findall(inspect.getsource(module)):
            assert given in named, f"{module.__name__}: {given}"


@pytest.mark.parametrize(
    ("who", "cells"),
    [
        ((CALLED, "12D3KooWStranger", MARK), (CALLED, "look-alike name · 12D3Ko…anger", ("warning", "care"))),
        (("", "12D3KooWStranger", ()), ("12D3Ko…anger", "", ("person", "muted"))),
        (("everybody", "", ()), ("everybody", "", None)),
    ],
)
def test_the_column_of_a_peer(who: Who, cells: tuple[object, ...]) -> None:
    column: Column[Who] = peer_column("Peer", lambda one: one)
    assert shown(column, who) == cells  # type: ignore[arg-type] # any row will do
