"""`openstall peers ban|banned|unban` on real nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage import typed

from openstall.app.demo.peers import DemoPeer, running_peer, start_node, wait_for
from openstall.market.errors import OpenstallError


def connected(peer: DemoPeer) -> list[str]:
    return [one["peer_id"] for one in peer.get("/v1/peers")["items"]]


def address_of(peer: DemoPeer) -> str:
    return str(peer.get("/v1/peers")["self"]["addrs"][0])


def meet(anna: DemoPeer, ben: DemoPeer) -> None:
    ben.post("/v1/peers/connect", addr=address_of(anna))
    wait_for(lambda: ben.peer_id in connected(anna) or None, 20, "anna sees ben")


def refused(peer: DemoPeer, path: str, **body: str) -> str:
    """The code of the refusal."""
    with pytest.raises(OpenstallError) as caught:
        peer.post(path, **body)
    return caught.value.code


def test_a_peer_that_the_owner_shuts_out_stays_out_until_it_is_let_in_again(tmp_path: Path) -> None:
    with running_peer("ben", tmp_path / "ben") as ben, running_peer("anna", tmp_path / "anna") as anna:
        meet(anna, ben)
        assert anna.get("/v1/peers/banned")["items"] == []
        said = typed(anna, "peers", "ban", ben.peer_id, "--reason", "a thief", "--hours", "5")
        assert "shut out for 5 hours" in said.stdout
        wait_for(lambda: ben.peer_id not in connected(anna) or None, 20, "anna hangs up")
        assert refused(ben, "/v1/peers/connect", addr=address_of(anna)) == "peer_unreachable"

        anna.kill()
        anna.process, anna.api = start_node(anna.home)
        found = json.loads(typed(anna, "--json", "peers", "banned").stdout)["items"]
        assert [(one["what"], one["by"], one["reason"]) for one in found] == [(ben.peer_id, "you", "a thief")]
        assert refused(ben, "/v1/peers/connect", addr=address_of(anna)) == "peer_unreachable"
        assert "may come in again" in typed(anna, "peers", "unban", ben.peer_id).stdout
        meet(anna, ben)
        assert refused(anna, "/v1/peers/unban", what=ben.peer_id) == "not_banned"
        assert refused(anna, "/v1/peers/ban", what="0.0.0.0/0") == "bad_ban"
