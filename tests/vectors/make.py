"""Writes the test vectors of docs/protocol.md anew: `python tests/vectors/make.py`.

They are committed: whoever changes a wire format sees it here. The statements are those of the unit tests.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from openstall.market import canonical, capacity, ids, leaves
from openstall.market.disputes import evidence, messages
from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.orders.documents import Order, sign_contract, write_contract
from openstall.market.records import BODIES, Record, parse_record, sign_record
from openstall.p2p import blob_manifest, blob_wire, exchange, hello, record_wire

HERE = Path(__file__).parent
CONTEXTS = (*BODIES, "order", "tick", "job-report", *capacity.CONTEXTS, messages.CONTEXT, evidence.CONTEXT)
Vector = dict[str, Any]


def statements() -> ModuleType:
    """The valid statements that the unit tests break."""
    place = HERE.parent / "unit" / "market" / "conftest.py"
    spec = importlib.util.spec_from_file_location("market_statements", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GIVEN = statements()
NOW, NETWORK, SEEDS = GIVEN.NOW, GIVEN.NETWORK, GIVEN.SEEDS


def canonical_form() -> Vector:
    values: list[tuple[str, Any]] = [
        ("nothing", {}),
        ("keys by UTF-16 code units", {"\ufb33": 1, "\U0001f600": 2, "ö": 3, "1": 4, "\r": 5, "\x80": 7}),
        ("keys inside lists and objects", {"b": [{"z": 1, "a": 2}], "a": {"d": [], "c": {}}}),
        ("escapes", '\x00\x08\x09\x0a\x0c\x0d\x1f"\\/\x7f\u2028'),
        ("numbers at the bounds", [0, -1, 2**53 - 1, -(2**53 - 1)]),
        ("words", [True, False, None]),
        ("twelve levels", [[[[[[[[[[[[]]]]]]]]]]]]),
    ]  # fmt: skip
    refused: list[tuple[str, bytes]] = [
        ("white space", b'{"a": 1}'),
        ("a newline at the end", b'{"a":1}\n'),
        ("keys out of order", b'{"b":1,"a":2}'),
        ("a field twice", b'{"a":1,"a":1}'),
        ("a fraction", b'{"a":1.5}'),
        ("a whole number with a point", b'{"a":1.0}'),
        ("an exponent", b'{"a":1e2}'),
        ("minus nothing", b'{"a":-0}'),
        ("too large a number", b'{"a":9007199254740992}'),
        ("not a number", b'{"a":NaN}'),
        ("an escape without need", b'{"a":"\\u0041"}'),
        ("a lone surrogate", b'{"a":"\\ud800"}'),
        ("bytes that are not UTF-8", b'{"a":"\xff"}'),
        ("a byte order mark", b'\xef\xbb\xbf{"a":1}'),
        ("thirteen levels", b"[" * 14 + b"]" * 14),
        ("nothing at all", b""),
    ]
    return {
        "valid": [
            {"name": name, "value": value, "hex": canonical.encode(value).hex()} for name, value in values
        ],
        "refused": [{"name": name, "hex": raw.hex()} for name, raw in refused],
    }


def signatures() -> Vector:
    content = canonical.encode({"says": "the same in every context"})
    keys = [
        {"seed": seed.hex(), "public_key": ids.public_key_of(peer).hex(), "peer_id": peer}
        for seed in SEEDS.values()
        for peer in [ids.peer_id_of_seed(seed)]
    ]
    seed = SEEDS["seller"]
    signed = {context: ids.sign(seed, context, NETWORK, content) for context in CONTEXTS}
    good = signed["order"]
    return {
        "keys": keys,
        "network": NETWORK,
        "peer_id": ids.peer_id_of_seed(seed),
        "content_hex": content.hex(),
        "cid": ids.cid_of(content),
        "signatures": signed,
        "refused": [
            {"name": "of another context", "context": "offer", "signature": signed["listing"]},
            {"name": "another spelling of the same bytes", "context": "order", "signature": good[:-1] + "B"},
            {"name": "with padding", "context": "order", "signature": good + "=="},
            {"name": "cut short", "context": "order", "signature": good[:-2]},
            {"name": "turned round", "context": "order", "signature": good[::-1]},
        ],
    }  # fmt: skip


def plain_record(type_: str, **changes: Any) -> Vector:
    record = {
        "v": 1,
        "type": type_,
        "network": NETWORK,
        "author": ids.peer_id_of_seed(SEEDS["seller"]),
        "key": "self" if type_ in ("peer", "developer") else "one",
        "seq": 7,
        "prev": "",
        "issued": NOW,
        "expires": NOW + 86_400,
        "body": copy.deepcopy(GIVEN.BODIES[type_]),
    }
    return record | changes


def by_hand(record: Vector, *, context: str = "", seed: bytes = SEEDS["seller"]) -> bytes:
    """A record that is signed whatever it says."""
    content = canonical.encode(record)
    sig = ids.sign(seed, context or record["type"], record["network"], content)
    return canonical.encode({"record": record, "sig": sig})


def records() -> Vector:
    valid = []
    for type_ in GIVEN.BODIES:
        signed = sign_record(msgspec.convert(plain_record(type_), Record), SEEDS["seller"])
        valid.append({"type": type_, "cid": signed.cid, "wire": signed.raw.decode()})
    listing = plain_record("listing")
    wire = by_hand(listing)
    body = listing["body"]
    nobody = ids.peer_id_of(b"\1" + bytes(31))
    hidden = body | {"title": "Tumour\u202eclassifier"}
    refused: list[tuple[str, bytes]] = [
        ("not canonical", b" " + wire),
        ("signed by another", by_hand(listing, seed=SEEDS["stranger"])),
        ("signed as something else", by_hand(listing, context="offer")),
        ("of another network", by_hand(plain_record("listing", network="elsewhere"))),
        ("dated ahead", by_hand(plain_record("listing", issued=NOW + 601))),
        ("expired", by_hand(plain_record("listing", issued=NOW - 10, expires=NOW))),
        ("lives too long", by_hand(plain_record("listing", expires=NOW + 400 * 86_400 + 1))),
        ("ends before it begins", by_hand(plain_record("listing", expires=NOW))),
        ("a field too many", by_hand(plain_record("listing", colour="red"))),
        ("a field too few", by_hand({name: one for name, one in listing.items() if name != "prev"})),
        ("an author of small order", by_hand(plain_record("listing", author=nobody))),
        ("a free price", by_hand(plain_record("listing", body=body | {"price_micro": 0}))),
        ("a hidden character", by_hand(plain_record("listing", body=hidden))),
        ("an unknown type", by_hand(plain_record("listing", type="promise"))),
        ("an unknown field of the body", by_hand(plain_record("listing", body=body | {"colour": "red"}))),
    ]  # fmt: skip
    told = []
    for name, raw in refused:
        try:
            parse_record(raw, network=NETWORK, now=NOW)
        except InvalidRecord as error:
            told.append({"name": name, "code": error.code, "hex": raw.hex()})
        else:
            raise AssertionError(name)
    return {"network": NETWORK, "now": NOW, "valid": valid, "refused": told}


def orders() -> Vector:
    found = []
    parties = {side: ids.peer_id_of_seed(SEEDS[side]) for side in ("buyer", "seller")}
    for kind, terms in (("sale", GIVEN.SALE), ("custom", GIVEN.CUSTOM), ("compute", GIVEN.COMPUTE)):
        order = Order(
            kind=kind,
            network=NETWORK,
            chain_id=4242,
            **parties,
            buyer_wallet=GIVEN.WALLETS["buyer"],
            seller_wallet=GIVEN.WALLETS["seller"],
            nonce="0f" * 16,
            created=NOW,
            terms=copy.deepcopy(terms),
        )
        contract = write_contract(order)
        signed = {side: sign_contract(contract, SEEDS[side]) for side in parties}
        found.append(
            {"kind": kind, "id": contract.order_id, "document": contract.raw.decode(), "signatures": signed}
        )
    return {"network": NETWORK, "parties": parties, "orders": found}


def content_of(size: int) -> bytes:
    """Byte number i is i modulo 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def blobs() -> Vector:
    found = []
    for size in (0, 1, 2**20, 2**20 + 1, 5 * 2**19):
        content = content_of(size)
        hashes = [
            blob_manifest.hash_chunk(content[at : at + blob_manifest.CHUNK])
            for at in range(0, size, blob_manifest.CHUNK)
        ]
        made = blob_manifest.build(size, hashlib.sha256(content).digest(), hashes)
        info = made.info()
        found.append(
            {"size": size, "sha256": info.sha256, "cid": info.cid, "manifest_hex": made.encode().hex()}
        )
    good = bytes.fromhex(found[-1]["manifest_hex"])
    refused = {
        "another magic": b"OSBLOB2\0" + good[8:],
        "a hash too few": good[:-32],
        "a hash too many": good + bytes(32),
        "cut in its head": good[:40],
        "a size that does not fit its hashes": good[:8] + (2**40).to_bytes(8, "big") + good[16:],
    }
    for name, raw in refused.items():
        try:
            blob_manifest.decode(raw)
        except PeerError:
            continue
        raise AssertionError(name)
    return {
        "content": "byte number i is i modulo 251",
        "blobs": found,
        "refused": [{"name": name, "hex": raw.hex()} for name, raw in refused.items()],
    }


def frames() -> Vector:
    cid = "b" + "a" * 58
    greeting = hello.Hello(
        network=NETWORK, name="Björn", addrs=["/ip4/192.0.2.7/tcp/4001"], seen="/ip4/192.0.2.9/tcp/51000"
    )
    return {
        "frames": [
            {"payload_hex": one.hex(), "frame_hex": (len(one).to_bytes(4, "big") + one).hex()}
            for one in (b"", b"\0", b"hello", bytes(300))
        ],
        "answers": [
            {"result_hex": b"yes".hex(), "answer_hex": exchange.encode_result(b"yes").hex()},
            {"result_hex": "", "answer_hex": exchange.encode_result(b"").hex()},
            {
                "refusal": {"code": "no_blob", "message": "Not here.", "what_next": ""},
                "answer_hex": exchange.encode_refusal(PeerError("no_blob", "Not here.")).hex(),
            },
        ],
        "hello": {"value": msgspec.to_builtins(greeting), "payload_hex": hello.encode(greeting).hex()},
        "blob_questions": [
            {"cid": cid, "first": 0, "count": 0, "payload_hex": blob_wire.manifest_request(cid).hex()},
            {"cid": cid, "first": 70, "count": 64, "payload_hex": blob_wire.run_request(cid, 70, 64).hex()},
        ],
        "message_ids": [
            {"data_hex": data.hex(), "id_hex": hashlib.sha256(data).hexdigest()} for data in (b"{}", b"news")
        ],
        "messagepack": [
            {"what": "cids that are asked for", "value": [cid], "hex": msgspec.msgpack.encode([cid]).hex()},
            {"what": "runs of leaves, and from which cid on", "value": [[[7, 9], [300, 300]], cid],
             "hex": record_wire.write_spans([(7, 9), (300, 300)], cid).hex()},
            {"what": "a page of cids, and whether more follow", "value": [[cid], True],
             "hex": record_wire.write_listed([cid], more=True).hex()},
            {"what": "bodies", "value_hex": [b"{}".hex()], "hex": msgspec.msgpack.encode([b"{}"]).hex()},
        ],
    }  # fmt: skip


def tree() -> Vector:
    """Of no cids, of one, and of a thousand of which some share a leaf."""
    several = [ids.cid_of(f"record {number}".encode()) for number in range(1000)]
    crowded = next(
        [one, other]
        for at, one in enumerate(several)
        for other in several[at + 1 :]
        if leaves.leaf_of(one) == leaves.leaf_of(other)
    )
    sets = []
    for name, cids in (("nothing", []), ("one", several[:1]), ("two in a leaf", crowded), ("many", several)):
        made = leaves.LeafTree()
        by_leaf: dict[int, list[str]] = {}
        for cid in cids:
            by_leaf.setdefault(leaves.leaf_of(cid), []).append(cid)
        for leaf, inside in by_leaf.items():
            made.put(leaf, leaves.leaf_digest(sorted(inside)))
        branches = hashlib.sha256(made.branches()).hexdigest()
        given = {"cids": cids} if len(cids) < 10 else {"made": "cids of the bytes `record 0` to `record 999`"}
        sets.append({"name": name, **given, "root_hex": made.root().hex(), "sha256_of_branches": branches})
    return {"leaves": [{"cid": one, "leaf": leaves.leaf_of(one)} for one in several[:4]], "sets": sets}


FILES = {
    "canonical": canonical_form,
    "signatures": signatures,
    "records": records,
    "orders": orders,
    "blobs": blobs,
    "frames": frames,
    "tree": tree,
}


def text_of(name: str) -> str:
    """What a file of vectors must hold."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (HERE / f"{name}.json").write_text(text_of(name), encoding="utf-8")
        sys.stdout.write(f"{name}.json\n")
