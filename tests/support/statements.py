"""The examples of valid statements that tests/unit/market keeps, for tests and tools elsewhere."""

from __future__ import annotations

import copy
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from openstall.market import canonical, ids
from openstall.market.metering import Tick, owed, sign_tick
from openstall.market.orders.documents import Contract, Order, write_contract
from openstall.market.orders.results import JobReport, sign_report
from openstall.market.records import Record, SignedRecord, sign_record

_EXAMPLES = Path(__file__).parents[1] / "unit" / "market" / "conftest.py"


@cache
def _examples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("statement_examples", _EXAMPLES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def now() -> int:
    """The moment at which the examples are valid."""
    return int(_examples().NOW)


def network() -> str:
    """The group of the examples."""
    return str(_examples().NETWORK)


def seed(who: str) -> bytes:
    """The peer key of `seller`, `buyer` or `stranger`."""
    return bytes(_examples().SEEDS[who])


def peer_id(who: str) -> str:
    """And its peer id."""
    return ids.peer_id_of_seed(seed(who))


def kinds() -> list[str]:
    """The types of records that there is an example of."""
    return list(_examples().BODIES)


def plain_record(kind: str) -> dict[str, Any]:
    """The JSON object of a valid record."""
    return {
        "v": 1,
        "type": kind,
        "network": network(),
        "author": peer_id("seller"),
        "key": "model-1",
        "seq": 1,
        "prev": "",
        "issued": now() - 60,
        "expires": now() + 86_400,
        "body": copy.deepcopy(_examples().BODIES[kind]),
    }


def signed_record(kind: str) -> SignedRecord:
    """A valid record."""
    return sign_record(msgspec.convert(plain_record(kind), Record), seed("seller"))


def plain_order(kind: str) -> dict[str, Any]:
    """The JSON object of a valid order: sale, compute or custom."""
    terms = {"sale": "SALE", "compute": "COMPUTE", "custom": "CUSTOM"}[kind]
    return {
        "v": 1,
        "kind": kind,
        "network": network(),
        "chain_id": 4242,
        "buyer": peer_id("buyer"),
        "seller": peer_id("seller"),
        "buyer_wallet": _examples().WALLETS["buyer"],
        "seller_wallet": _examples().WALLETS["seller"],
        "nonce": "0123456789abcdef" * 2,
        "created": now(),
        "terms": copy.deepcopy(getattr(_examples(), terms)),
    }


@cache
def contract(kind: str) -> Contract:
    """A checked contract."""
    return write_contract(msgspec.convert(plain_order(kind), Order))


def tick() -> bytes:
    """A signed tick of the example job."""
    job = contract("compute")
    amount = owed(job.compute.price_per_s_micro, job.compute.cap_micro, 10)
    made = Tick(order=job.order_id, seq=1, seconds=10, owed_micro=amount, at=now() + 10)
    return sign_tick(made, job, seed("seller"))


def report() -> bytes:
    """A signed report of the example job."""
    job = contract("compute")
    made = JobReport(
        order=job.order_id,
        state="done",
        reason="done",
        words="The job is done.",
        seconds=10,
        owed_micro=10_000,
        outputs=[],
        at=now() + 10,
    )
    return sign_report(made, job, seed("seller")).raw


def signed(plain: dict[str, Any], context: str, *, name: str, who: str = "seller") -> bytes:
    """Any JSON object with a genuine signature over exactly these words: `{name: …, "sig": …}`."""
    said = ids.sign(seed(who), context, str(plain.get("network", network())), canonical.encode(plain))
    return canonical.encode({name: plain, "sig": said})
