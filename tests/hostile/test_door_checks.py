"""Every record that moves money or names a chain must name the group's own: the door, type by type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import statements

from openstall.app.services.door import Door
from openstall.ledger.chain import ChainParams
from openstall.market.errors import InvalidRecord
from openstall.store.database import Store
from openstall.store.records import Records

MONEY, OTHER = "0x" + "e5" * 20, "0x" + "0f" * 20
NAMED = [
    ("listing", "chain_id"),
    ("listing", "escrow"),
    ("offer", "chain_id"),
    ("offer", "channel"),
    ("capacity", "chain_id"),
    ("request", "chain_id"),
    ("request", "auction"),
    ("request", "escrow"),
    ("developer", "chain_id"),
    ("peer", "chain_id"),
]


class Noon:
    def now(self) -> int:
        return statements.now()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    params = ChainParams(
        chain_id=4242,
        genesis_hash="0x" + "11" * 32,
        name="Test",
        credit="0x" + "01" * 20,
        escrow=MONEY,
        channel=MONEY,
        kind="group",
        auction=MONEY,
        model_escrow="0x" + "f6" * 20,
        contest="0x" + "0c" * 20,
    )
    store = Store(tmp_path / "store.sqlite")
    yield Door(records=Records(store), params=params, network=statements.network(), clock=Noon())
    store.close()


def record(kind: str, **body: Any) -> bytes:
    plain = statements.plain_record(kind)
    plain["body"] |= body
    if kind in ("developer", "peer"):
        plain["key"] = "self"
    return statements.signed(plain, kind, name="record")


@pytest.mark.parametrize(
    "kind", ["listing", "offer", "capacity", "service", "request", "developer", "tombstone"]
)
def test_the_examples_pass(door: Door, kind: str) -> None:
    assert door.check(record(kind)).record.type == kind


@pytest.mark.parametrize(("kind", "field"), NAMED)
def test_a_record_that_names_another_chain_or_contract_is_refused(door: Door, kind: str, field: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        door.check(record(kind, **{field: 4243 if field == "chain_id" else OTHER}))
    assert caught.value.code == "other_chain"


@pytest.mark.parametrize("kind", ["developer", "peer"])
def test_who_describes_itself_does_so_once(door: Door, kind: str) -> None:
    plain = statements.plain_record(kind) | {"key": "another"}
    with pytest.raises(InvalidRecord) as caught:
        door.check(statements.signed(plain, kind, name="record"))
    assert caught.value.code == "bad_key"
