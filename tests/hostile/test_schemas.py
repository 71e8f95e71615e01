"""The schemas of what is signed and said: each limit is there, and nothing passes but what was said.

    python tests/hostile/test_schemas.py --write

writes `schemas.json` anew after a schema was changed on purpose, or when there are new ones; say in
docs/protocol.md what has changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import decoders
import msgspec
import mutators
import pytest
from msgspec import inspect

KEPT = Path(__file__).with_name("schemas.json")
ROOMS = ("openstall.market.", "openstall.p2p.hello", "openstall.ledger.invitation")
SPOKEN = ("openstall.market.", "openstall.p2p.", "openstall.app.services.", "openstall.ledger.invitation")
LOCAL = frozenset({"KnownPeer", "Ban", "Penalty", "Paired"})
"""Kept in files of our own."""
LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


@cache
def structs() -> dict[str, type[msgspec.Struct]]:
    """By name every struct that our own code defines for what others send."""
    assert decoders.DECODERS, "the import brings all modules in"
    found: dict[str, type[msgspec.Struct]] = {}

    def walk(base: type[msgspec.Struct]) -> None:
        for one in base.__subclasses__():
            if one.__module__.startswith(SPOKEN) and one.__struct_fields__ and one.__name__ not in LOCAL:
                found[f"{one.__module__}.{one.__qualname__}"] = one
            walk(one)

    walk(msgspec.Struct)
    return dict(sorted(found.items()))


def described(kind: inspect.Type) -> Any:  # noqa: PLR0911 - one case, one kind
    """A type with its limits, as JSON."""
    limits = {name: getattr(kind, name) for name in LIMITS if getattr(kind, name, None) is not None}
    match kind:
        case inspect.StructType():
            return kind.cls.__qualname__
        case inspect.Metadata():
            return described(kind.type)
        case inspect.UnionType():
            return ["or", *map(described, kind.types)]
        case inspect.ListType() | inspect.SetType() | inspect.VarTupleType():
            return {"list of": described(kind.item_type), **limits}
        case inspect.TupleType():
            return ["tuple", *map(described, kind.item_types)]
        case inspect.DictType():
            return {"key": described(kind.key_type), "value": described(kind.value_type), **limits}
        case inspect.LiteralType():
            return {"one of": sorted(map(str, kind.values))}
    name = type(kind).__name__.removesuffix("Type").lower()
    return {name: limits} if limits else name


def fields_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """What a schema says of each of its fields."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {
        field.encode_name: [described(field.type), "must" if field.required else "may"]
        for field in info.fields
    } | {"(unknown fields)": "refused" if info.forbid_unknown_fields else "passed over"}


def present() -> dict[str, Any]:
    """The schemas as they are."""
    return {name: fields_of(one) for name, one in structs().items() if name.startswith(ROOMS)}


def test_no_limit_of_a_signed_statement_has_gone_unnoticed() -> None:
    kept, found = json.loads(KEPT.read_text("utf-8")), json.loads(json.dumps(present()))
    changed = sorted(name for name in kept if kept[name] != found.get(name))
    assert changed == [], "if that was meant, write schemas.json anew, and docs/protocol.md"


def test_what_is_signed_or_asked_has_no_fields_that_nobody_knows() -> None:
    # The last two are of the owner's own IPFS node, which says more than is asked.
    forward = {"Hello", "_News", "_Shared", "_Refusal", "_Added", "_Trouble"}
    # What is made of a statement that was checked is itself never read from anybody.
    checked = {
        "SignedEntry",
        "SignedRecord",
        "Contract",
        "SignedReport",
        "SignedMessage",
        "Evidence",
        "Known",
    }
    open_ones = [
        name
        for name, one in structs().items()
        if not one.__struct_config__.forbid_unknown_fields and one.__name__ not in forward | checked
    ]
    assert open_ones == []


def example(kind: inspect.Type) -> Any:  # noqa: C901, PLR0911 - one case, one kind
    """Some value that fits; `None` where a pattern has no known example."""
    match kind:
        case inspect.Metadata():
            return example(kind.type)
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else (kind.gt + 1 if kind.gt is not None else 0)
            return kind.multiple_of * -(-low // kind.multiple_of) if kind.multiple_of else low
        case inspect.FloatType():
            return float(kind.ge or 0.5)
        case inspect.BoolType():
            return False
        case inspect.StrType():
            return _text(kind)
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.UnionType():
            return (
                None
                if any(isinstance(one, inspect.NoneType) for one in kind.types)
                else example(kind.types[0])
            )
        case inspect.ListType() | inspect.VarTupleType():
            return [example(kind.item_type)] * max(1, kind.min_length or 0)
        case inspect.TupleType():
            return [example(one) for one in kind.item_types]
        case inspect.DictType():
            return {}
        case inspect.StructType():
            made = {field.encode_name: example(field.type) for field in kind.fields}
            return ({kind.tag_field: kind.tag} if kind.tag_field else {}) | made
    return None


TEXTS = (
    "ab" * 32, "ab" * 16, "ab" * 65, "", "b" + "a" * 58, "0x" + "a1" * 20, "0x" + "ab" * 32, "0x" + "ab" * 65,
    "0x" + "ab" * 64, "1", "1.00", "0.50", "cpu", "onnx", "model.onnx", "model", "working", "open", "sale",
    "listing", "A" * 86, "/ip4/192.0.2.7/tcp/1", "a" * 45, "done", "infer",
)  # fmt: skip


def _text(kind: inspect.StrType) -> str | None:
    for one in (*TEXTS, "x" * (kind.min_length or 0)):
        try:
            return msgspec.convert(one, _annotated(kind))
        except msgspec.ValidationError:
            continue
    return None


def _annotated(kind: inspect.StrType) -> Any:
    from typing import Annotated

    meta = msgspec.Meta(pattern=kind.pattern, min_length=kind.min_length, max_length=kind.max_length)
    return Annotated[str, meta]


def spoken() -> Iterator[Any]:
    for name, one in structs().items():
        try:
            made = example(inspect.type_info(one))
            msgspec.convert(made, one)
        except msgspec.ValidationError:
            continue  # it needs an example by hand; the decoders have one
        yield pytest.param(one, made, id=name.removeprefix("openstall."))


@pytest.mark.parametrize(("struct", "made"), list(spoken()))
def test_each_field_flipped_is_refused_or_is_exactly_what_was_said(
    struct: type[msgspec.Struct], made: dict[str, Any]
) -> None:
    for path in mutators.places(made):
        for new in mutators.flipped(mutators.at(made, path)):
            changed = mutators.put(made, path, new)
            try:
                found = msgspec.convert(changed, struct)
            except msgspec.ValidationError:
                continue
            said = msgspec.to_builtins(found)
            for field, value in changed.items():
                if field in said:
                    assert same(said[field], value), (path, new)


def same(found: Any, said: Any) -> bool:
    """Whether a value was taken as it was said, also where defaults were added or left out inside."""
    if isinstance(said, dict) and isinstance(found, dict):
        return all(same(found[key], said[key]) for key in said.keys() & found.keys())
    if isinstance(said, list) and isinstance(found, list | tuple):
        return len(said) == len(found) and all(map(same, found, said))
    return (type(found) is type(said) and found == said) or (isinstance(found, float) and found == said)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        KEPT.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
