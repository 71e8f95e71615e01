"""A js-libp2p peer, written from docs/protocol.md, against a node that runs as a user's does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from other_make import OtherMake

from openstall.app.demo.peers import DemoPeer, running_peer, wait_for

MODEL_BYTES = 5 * 1024 * 1024 // 2
"""Two chunks and a half of a blob."""
CARD = {"intended_use": "None.", "training_data": "None.", "limits": "Random.", "metrics": []}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPeer]:
    """The host of a group, with a model for sale."""
    folder = tmp_path_factory.mktemp("interop")
    with running_peer("Ann", folder / "ann") as peer:
        peer.operate("/v1/group/create", name="Interop")
        peer.notes["listing"] = peer.operate("/v1/models/publish", **listing(folder))["cid"]
        yield peer


def listing(folder: Path) -> dict[str, Any]:
    path = folder / "random.safetensors"
    weights = {"dtype": "U8", "shape": [MODEL_BYTES], "data_offsets": [0, MODEL_BYTES]}
    head = json.dumps({"w": weights}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + os.urandom(MODEL_BYTES))
    return {
        "path": str(path),
        "title": "Random weights",
        "summary": "Bytes of no use.",
        "licence": "MIT",
        "price_micro": 1_000_000,
        "card": CARD,
        "review_s": 60,
        "deliver_s": 60,
    }


@pytest.fixture(scope="module")
def other(other_make: Callable[..., OtherMake], node: DemoPeer) -> OtherMake:
    """A peer of the other make, connected, and a member of the group."""
    peer = other_make("Björn", network=node.get("/v1/group")["network"])
    peer.done("connect", addr=node.get("/v1/peers")["self"]["addrs"][0])
    peer.notes["hello"] = peer.done("hello")
    peer.done("join", name=node.get("/v1/group")["network"])
    return peer


def items(node: DemoPeer, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.get("/v1/catalogue", **query)["items"]
    return found


def developer_card(node: DemoPeer, title: str) -> dict[str, Any]:
    chain = node.get("/v1/group")["chain_id"]
    body = {
        "title": title,
        "skills": "Trees and forests.",
        "tasks": ["classification"],
        "places": 2,
        "wallet": "0x" + "a1" * 20,
        "chain_id": chain,
    }
    return {"type": "developer", "key": "self", "life_s": 86_400, "body": body}


def listening(node: DemoPeer, other: OtherMake) -> None:
    """Both have said that they follow the topic, and the mesh stands."""
    wait_for(lambda: node.peer_id in other.done("audience")["peers"] or None, 120, "the topic is followed")


def test_it_introduces_itself_and_is_known(node: DemoPeer, other: OtherMake) -> None:
    assert other.done("ping")["ms"] >= 0
    found = other.done("identify")
    for protocol in ("/openstall/hello/1", "/openstall/blob/1", "/openstall/order/1", "/meshsub/1.1.0"):
        assert protocol in found["protocols"]
    hello = other.notes["hello"]
    assert (hello["v"], hello["name"], hello["network"]) == (1, "Ann", node.get("/v1/group")["network"])
    assert hello["addrs"] == [one.split("/p2p/")[0] for one in node.get("/v1/peers")["self"]["addrs"]]
    known = wait_for(
        lambda: next((one for one in node.get("/v1/peers")["items"] if one["name"] == "Björn"), None),
        30,
        "the node knows the other's name",
    )
    assert known["peer_id"] == other.peer_id


def test_it_reads_all_records_and_fetches_a_blob(node: DemoPeer, other: OtherMake) -> None:
    first = other.done("sync")
    assert not first["equal"]
    assert first["gained"] >= 2
    assert other.done("sync")["equal"], "both reckon one digest of what they hold"
    held = {one["cid"]: one["record"] for one in other.done("held")["records"]}
    assert {node.notes["listing"]} | {one["cid"] for one in items(node)} <= set(held)
    blob = held[node.notes["listing"]]["body"]["blob"]
    got = other.done("blob", cid=blob["cid"])
    assert (got["size"], got["sha256"]) == (blob["size"], blob["sha256"])
    assert got["size"] > MODEL_BYTES


def test_news_reach_it_and_its_own_record_is_found(node: DemoPeer, other: OtherMake) -> None:
    listening(node, other)
    card = developer_card(node, "Ann builds models")["body"]
    node.post("/v1/developer", title=card["title"], skills="", tasks=card["tasks"], places=1)
    news = other.event("news", lambda one: bool(one["news"]["type"] == "developer"))["news"]
    other.done("pull", cids=[news["cid"]])
    record = next(one for one in other.done("held")["records"] if one["cid"] == news["cid"])["record"]
    assert (record["author"], record["seq"]) == (node.peer_id, news["seq"])

    made = other.done("publish", **developer_card(node, "Björn builds forests"))
    assert made["told"] >= 1
    found = wait_for(lambda: items(node, q="forests", type="developer") or None, 120, "the record is found")
    assert [(one["cid"], one["author"]) for one in found] == [(made["cid"], other.peer_id)]


def test_the_node_finds_what_was_never_announced(
    node: DemoPeer, other_make: Callable[..., OtherMake]
) -> None:
    network = node.get("/v1/group")["network"]
    late = other_make("Late", network=network)
    late.done("join", name=network)
    made = late.done("publish", **developer_card(node, "Published alone on an island"))
    assert made["told"] == 0
    late.done("connect", addr=node.get("/v1/peers")["self"]["addrs"][0])
    late.done("hello")
    found = wait_for(lambda: items(node, q="island", type="developer") or None, 60, "the record is found")
    assert [one["cid"] for one in found] == [made["cid"]]


@pytest.mark.parametrize(
    ("spoil", "code"), [("signature", "bad_signature"), ("form", "not_canonical"), ("life", "bad_life")]
)
def test_a_bad_record_is_refused(node: DemoPeer, other: OtherMake, spoil: str, code: str) -> None:
    listening(node, other)
    other.done("publish", **developer_card(node, "Not to be believed"), spoil=spoil)
    log, line = node.home / "log" / "node.jsonl", f"{other.peer_id}: invalid_record {code}"
    wait_for(lambda: line in log.read_text() or None, 120, f"{code} is seen")
    good = other.done("publish", **developer_card(node, f"Good after bad {spoil}"))
    found = wait_for(lambda: items(node, q=f"good {spoil}", type="developer") or None, 120, "the good one")
    assert [one["cid"] for one in found] == [good["cid"]]
    assert items(node, q="believed") == []


def test_refusals_have_a_code(node: DemoPeer, other: OtherMake) -> None:
    nobody = other.do("blob", cid="b" + "a" * 58)
    assert nobody["code"] == "no_blob"
    network = node.get("/v1/group")["network"]
    nonsense = other.do("ask", protocol=f"/openstall/{network}/records/bodies/2", payload="ff00")
    assert nonsense["code"] == "bad_request"
