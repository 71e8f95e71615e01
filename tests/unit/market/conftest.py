"""Valid statements of every kind; each test breaks one of them in one place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from openstall.market import canonical, ids
from openstall.market.metering import Tick, owed
from openstall.market.orders.documents import Contract, Order, write_contract
from openstall.market.orders.results import JobReport
from openstall.market.records import Record, SignedRecord, sign_record

NOW = 1_790_000_000
NETWORK = "openstall-test-1"
SEEDS = {"seller": bytes([1]) * 32, "buyer": bytes([2]) * 32, "stranger": bytes([3]) * 32}
WALLETS = {"seller": "0x" + "a1" * 20, "buyer": "0x" + "b2" * 20, "arbiter": "0x" + "c3" * 20}
MONEY = "0x" + "e5" * 20
CID = "b" + "a" * 58
HASH = "ab" * 32
BOX_KEY = bytes([9, *[0] * 31]).hex()

BODIES: dict[str, dict[str, Any]] = {
    "listing": {
        "title": "Tumour classifier",
        "summary": "Two classes, thirty features.\nTrained on public data.",
        "licence": "MIT",
        "format": "onnx",
        "files": [{"name": "model.onnx", "size": 4096, "sha256": HASH}],
        "blob": {"cid": CID, "size": 4200, "sha256": HASH},
        "key_sha256": HASH,
        "card": {
            "intended_use": "Research.",
            "training_data": "Wisconsin breast cancer.",
            "limits": "Not a medical device.",
            "metrics": [{"name": "accuracy", "value": "0.97", "data": "held-out rows"}],
        },
        "price_micro": 12_500_000,
        "wallet": WALLETS["seller"],
        "chain_id": 4242,
        "escrow": MONEY,
        "arbiter": WALLETS["arbiter"],
        "deliver_s": 3600,
        "review_s": 86_400,
    },
    "offer": {
        "title": "Quiet workstation",
        "kinds": ["infer", "train"],
        "cpu": "8-core",
        "threads": 8,
        "memory_bytes": 16 * 2**30,
        "disk_bytes": 2**30,
        "gpus": [{"name": "none in particular", "memory_bytes": 8 * 2**30}],
        "price_per_s_micro": 1_000,
        "max_s": 3600,
        "withdraw_delay_s": 600,
        "wallet": WALLETS["seller"],
        "chain_id": 4242,
        "channel": MONEY,
    },
    "capacity": {
        "measured_at": NOW - 60,
        "runtime": "torch 2.13.0",
        "figures": [
            {"name": "matrix_fp32", "device": "cpu", "value": 61_000, "unit": "million operations/s"}
        ],
        "works": [
            {
                "device": "cpu",
                "threads": 1,
                "size": 1024,
                "segments": 4,
                "rounds": 20,
                "ms": 5_000,
                "seed": HASH,
                "digests": [HASH] * 5,
                "proof": {"cid": CID, "size": 3 * 2**20, "sha256": HASH},
            }
        ],
        "bond": HASH,
        "chain_id": 4242,
    },
    "service": {
        "level": {
            "start_s": 60,
            "uptime_bps": 9_900,
            "steps_per_1000s": 0,
            "bond": HASH,
            "penalty_micro": 5_000_000,
        },
        "chain_id": 4242,
    },
    "request": {
        "title": "Which wine is it?",
        "summary": "Three cultivars, thirteen measurements.\nRows of our own laboratory.",
        "task": "classification",
        "features": ["alcohol", "ash"],
        "classes": ["barolo", "grignolino"],
        "target": "cultivar",
        "rows": 60,
        "rows_root": HASH,
        "training": {"cid": CID, "size": 4200, "sha256": HASH},
        "training_key_sha256": HASH,
        "metric": "macro_f1",
        "threshold": "0.9",
        "floors": [
            {"name": "fairness", "limit": "0.1", "group": "region"},
            {"name": "size", "limit": "1000000", "group": ""},
        ],
        "licence": "MIT",
        "framework": "onnx",
        "mechanism": "second_price",
        "budget_micro": 50_000_000,
        "deposit_micro": 1_000_000,
        "commit_by": NOW + 3_600,
        "reveal_by": NOW + 7_200,
        "deliver_by": NOW + 86_400,
        "evaluate_s": 3_600,
        "review_s": 3_600,
        "arbiter": WALLETS["arbiter"],
        "arbiter_s": 86_400,
        "arbiter_fee_bps": 200,
        "tries": 3,
        "evaluators": [WALLETS["buyer"], "0x" + "D4" * 20],
        "quorum": 2,
        "weights_bps": [],
        "wallet": WALLETS["buyer"],
        "chain_id": 4242,
        "auction": MONEY,
        "escrow": "0x" + "f6" * 20,
        "contest": "",
    },
    "developer": {
        "title": "Models of wine",
        "skills": "Tables of chemistry.\nTwelve years of it.",
        "tasks": ["classification", "regression"],
        "places": 2,
        "wallet": WALLETS["seller"],
        "chain_id": 4242,
    },
    "peer": {
        "name": "Ayşe's stall",
        "wallet": WALLETS["seller"],
        "chain_id": 4242,
        "binding": {
            "nonce": 1,
            "expires": NOW + 1000,
            "wallet_signature": "0x" + "0a" * 65,
            "peer_signature": "0x" + "0b" * 64,
        },
        "addrs": ["/ip4/127.0.0.1/tcp/4001"],
    },
    "tombstone": {"target_type": "listing", "target_key": "model-1"},
}

SALE: dict[str, Any] = {
    "listing": CID,
    "title": "Tumour classifier",
    "files": BODIES["listing"]["files"],
    "blob": BODIES["listing"]["blob"],
    "key_sha256": HASH,
    "box_key": BOX_KEY,
    "price_micro": 12_500_000,
    "escrow": MONEY,
    "arbiter": WALLETS["arbiter"],
    "arbiter_s": 7 * 86_400,
    "arbiter_fee_bps": 200,
    "silent_buyer_bps": 10_000,
    "fund_by": NOW + 900,
    "deliver_by": NOW + 900 + 3600,
    "review_s": 86_400,
}

CUSTOM: dict[str, Any] = {
    "request": ids.cid_of(b"{}"),
    "title": "Leaves told apart",
    "task": "classification",
    "features": ["length", "width"],
    "target": "kind",
    "classes": ["a", "b"],
    "metric": "accuracy",
    "threshold": "0.9",
    "floors": [],
    "rows": 120,
    "rows_root": HASH,
    "box_key": BOX_KEY,
    "evaluators": ["0x" + "e1" * 20, "0x" + "e2" * 20, "0x" + "e3" * 20],
    "quorum": 2,
    "tries": 2,
    "price_micro": 40_000_000,
    "escrow": MONEY,
    "arbiter": WALLETS["arbiter"],
    "arbiter_s": 7 * 86_400,
    "arbiter_fee_bps": 200,
    "deliver_by": NOW + 14 * 86_400,
    "evaluate_s": 86_400,
    "review_s": 86_400,
}

COMPUTE: dict[str, Any] = {
    "offer": CID,
    "title": "Train on Quiet workstation",
    "job_kind": "train",
    "params": {"task": "classification", "label": "diagnosis", "hidden": [32, 16], "learning_rate": "0.01"},
    "inputs": [{"name": "data.csv", "blob": {"cid": CID, "size": 120_000, "sha256": HASH}}],
    "limits": {
        "memory_bytes": 2**30,
        "disk_bytes": 2**28,
        "threads": 2,
        "processes": 64,
        "log_bytes": 2**20,
    },
    "price_per_s_micro": 1_000,
    "cap_micro": 600_000,
    "max_s": 600,
    "channel": MONEY,
    "withdraw_delay_s": 600,
    "fund_by": NOW + 900,
    "start_by": NOW + 1500,
    "settle_by": NOW + 1500 + 600 + 901,
}

Changes = dict[str, Any]


@pytest.fixture(scope="session")
def now() -> int:
    return NOW


@pytest.fixture(scope="session")
def network() -> str:
    return NETWORK


@pytest.fixture(scope="session")
def seeds() -> dict[str, bytes]:
    return SEEDS


@pytest.fixture(scope="session")
def wallets() -> dict[str, str]:
    return WALLETS


@pytest.fixture(scope="session")
def peers() -> dict[str, str]:
    return {name: ids.peer_id_of_seed(seed) for name, seed in SEEDS.items()}


@pytest.fixture
def plain_record(peers: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """The JSON object of a valid record of a type, with changes to its top fields."""

    def make(kind: str = "listing", body: Changes | None = None, **changes: Any) -> dict[str, Any]:
        return {
            "v": 1,
            "type": kind,
            "network": NETWORK,
            "author": peers["seller"],
            "key": "model-1",
            "seq": 1,
            "prev": "",
            "issued": NOW - 60,
            "expires": NOW + 86_400,
            "body": copy.deepcopy(BODIES[kind]) | (body or {}),
        } | changes

    return make


@pytest.fixture
def signed(plain_record: Callable[..., dict[str, Any]]) -> Callable[..., SignedRecord]:
    """A valid signed record."""

    def make(kind: str = "listing", body: Changes | None = None, **changes: Any) -> SignedRecord:
        return sign_record(msgspec.convert(plain_record(kind, body, **changes), Record), SEEDS["seller"])

    return make


@pytest.fixture(scope="session")
def wire() -> Callable[..., bytes]:
    """The wire bytes of any JSON object as a record with a genuine signature over exactly these words."""

    def make(plain: dict[str, Any], *, seed: bytes = SEEDS["seller"], context: str | None = None) -> bytes:
        kind, network = str(plain.get("type")), str(plain.get("network"))
        signature = ids.sign(seed, context or kind, network, canonical.encode(plain))
        return canonical.encode({"record": plain, "sig": signature})

    return make


@pytest.fixture
def order(peers: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """The JSON object of a valid order document."""

    def make(kind: str = "sale", terms: Changes | None = None, **changes: Any) -> dict[str, Any]:
        return {
            "v": 1,
            "kind": kind,
            "network": NETWORK,
            "chain_id": 4242,
            "buyer": peers["buyer"],
            "seller": peers["seller"],
            "buyer_wallet": WALLETS["buyer"],
            "seller_wallet": WALLETS["seller"],
            "nonce": "0123456789abcdef" * 2,
            "created": NOW,
            "terms": copy.deepcopy({"sale": SALE, "compute": COMPUTE, "custom": CUSTOM}[kind])
            | (terms or {}),
        } | changes

    return make


@pytest.fixture
def contract(order: Callable[..., dict[str, Any]]) -> Callable[..., Contract]:
    """A checked contract."""

    def make(kind: str = "sale", terms: Changes | None = None, **changes: Any) -> Contract:
        return write_contract(msgspec.convert(order(kind, terms, **changes), Order))

    return make


@pytest.fixture
def tick(contract: Callable[..., Contract]) -> Callable[..., Tick]:
    """A tick of the sample job."""

    def make(seconds: int = 10, seq: int = 1, **changes: Any) -> Tick:
        terms = contract("compute").compute
        values: dict[str, Any] = {
            "order": contract("compute").order_id,
            "seq": seq,
            "seconds": seconds,
            "owed_micro": owed(terms.price_per_s_micro, terms.cap_micro, seconds),
            "at": NOW + seconds,
        }
        return Tick(**(values | changes))

    return make


@pytest.fixture
def report(contract: Callable[..., Contract]) -> Callable[..., JobReport]:
    """A report of the sample job."""

    def make(**changes: Any) -> JobReport:
        values = {
            "order": contract("compute").order_id,
            "state": "done",
            "reason": "done",
            "words": "The job is done.",
            "seconds": 10,
            "owed_micro": 10_000,
            "outputs": [{"name": "model.onnx", "blob": BODIES["listing"]["blob"]}],
            "at": NOW + 10,
        }
        return msgspec.convert(values | changes, JobReport)

    return make
