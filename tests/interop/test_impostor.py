"""A peer that calls itself like the node's owner and leads buyers away: what the owner is told of it."""

# ruff: noqa: RUF001 - letters that look alike are what it is about

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from other_make import OtherMake

from openstall.app.demo.peers import DemoPeer, running_peer, wait_for

NAME = "Аnn Smith"
"""Its first letter is Cyrillic."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPeer]:
    folder = tmp_path_factory.mktemp("impostor")
    with running_peer("Ann Smith", folder / "ann") as peer:
        peer.operate("/v1/group/create", name="Impostor")
        yield peer


@pytest.fixture(scope="module")
def impostor(other_make: Callable[..., OtherMake], node: DemoPeer) -> OtherMake:
    peer = other_make(NAME, network=node.get("/v1/group")["network"])
    peer.done("connect", addr=node.get("/v1/peers")["self"]["addrs"][0])
    peer.done("hello")
    peer.done("join", name=node.get("/v1/group")["network"])
    return peer


def cli(node: DemoPeer, *words: str) -> str:
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(node.home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def published(node: DemoPeer, impostor: OtherMake) -> dict[str, Any]:
    wait_for(lambda: node.peer_id in impostor.done("audience")["peers"] or None, 30, "the topic is followed")
    body = {
        "title": "Models to order",
        "skills": "Cheaper outside: t.me/ann_smith",
        "tasks": ["regression"],
        "places": 1,
        "wallet": "0x" + "b7" * 20,
        "chain_id": node.get("/v1/group")["chain_id"],
    }
    cid = impostor.done("publish", type="developer", key="self", life_s=3_600, body=body)["cid"]

    def found() -> dict[str, Any] | None:
        items = node.get("/v1/catalogue", type="developer")["items"]
        return next((one for one in items if one["cid"] == cid), None)

    item: dict[str, Any] = wait_for(found, 30, "the card is in the catalogue")
    return item


def test_a_name_like_ones_own_is_marked_wherever_it_is_shown(node: DemoPeer, impostor: OtherMake) -> None:
    item = published(node, impostor)
    assert item["author_name"] == NAME
    codes = [mark["code"] for mark in item["author_marks"]]
    assert codes == ["looks_like", "mixed_scripts"]
    (line,) = [one for one in node.get("/v1/peers")["items"] if one["peer_id"] == impostor.peer_id]
    assert [mark["code"] for mark in line["marks"]] == codes
    for words in (("catalogue", "search", "--type", "developer"), ("peers", "list")):
        told = cli(node, *words)
        assert f"{NAME} (!)" in told
        assert "Not the same peer: this name looks like your own, “Ann Smith”." in " ".join(told.split())


def test_its_way_out_is_named(node: DemoPeer, impostor: OtherMake) -> None:
    assert published(node, impostor)["ways_out"] == [{"kind": "messenger", "text": "t.me/ann_smith"}]
    told = " ".join(cli(node, "catalogue", "search", "--type", "developer").split())
    assert "nobody from Openstall will ask you to go there. It names: t.me/ann_smith" in told


def test_its_owner_is_not_marked(node: DemoPeer) -> None:
    (own,) = [one for one in node.get("/v1/catalogue", type="peer")["items"] if one["mine"]]
    assert (own["author_roles"], own["author_marks"], own["ways_out"]) == (["you"], [], [])
