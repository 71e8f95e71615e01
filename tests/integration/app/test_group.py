"""Two real nodes in one group: join, pay, find each other's records, and a host that goes away."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import PASSPHRASE, NodeProcess, refused, until

MakeNode = Callable[..., NodeProcess]
CREDIT = 1_000_000


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[NodeProcess, NodeProcess]:
    host, member = make_node("host"), make_node("member")
    host.create_identity("Ann")
    member.create_identity("Bob")
    host.done("/v1/group/create", name="Our group")
    member.done("/v1/group/join", invitation=host.get("/v1/group")["invitation"])
    return host, member


def test_pay_each_other_and_find_each_other(pair: tuple[NodeProcess, NodeProcess]) -> None:
    host, member = pair
    for node in pair:
        assert node.done("/v1/wallet/faucet")["balance_micro"] == 1_000 * CREDIT
    again = member.operate("/v1/wallet/faucet")
    assert again["error"]["code"] == "faucet_claimed"
    to = host.wallet()["address"]
    member.done("/v1/wallet/send", to=to, amount_micro=250 * CREDIT)
    assert [node.wallet()["balance_micro"] // CREDIT for node in pair] == [1_250, 750]
    line = host.wallet()["history"][0]
    assert (line["kind"], line["amount_micro"], line["words"]) == ("received", 250 * CREDIT, "Received")
    assert member.wallet()["history"][0]["amount_micro"] == -250 * CREDIT
    for node, name in ((host, "bob"), (member, "ann")):
        found = until(
            lambda n=node, w=name: n.get("/v1/catalogue", q=w, type="peer")["items"], f"record of {name}"
        )
        assert found[0]["author_name"].lower() == name
        assert found[0]["reachable"]
        assert not found[0]["mine"]
    assert member.get("/v1/group")["host_peer"] == host.get("/v1/identity")["peer_id"]
    assert "Play money" in member.get("/v1/group")["banner"]


BAD_SENDS = [
    ({"to": "0x" + "ab" * 20, "amount_micro": 10**12}, 422, "insufficient_funds"),
    ({"to": "0x" + "00" * 20, "amount_micro": 1}, 422, "bad_address"),
    ({"to": "0x" + "Ab" * 20, "amount_micro": 1}, 422, "bad_address"),
    ({"to": "0x" + "ab" * 20, "amount_micro": -1}, 422, "invalid_request"),
    ({"to": "0x" + "ab" * 20, "amount_micro": 1.5}, 422, "invalid_request"),
]


def test_sends_that_cannot_be_meant(make_node: MakeNode) -> None:
    node = make_node("node")
    node.create_identity("Ann")
    node.done("/v1/group/create", name="G")
    node.done("/v1/wallet/faucet")
    for body, status, code in BAD_SENDS:
        assert refused(node.api.post("/v1/wallet/send", json=body), status) == code
    own = {"to": node.wallet()["address"], "amount_micro": 1}
    assert refused(node.api.post("/v1/wallet/send", json=own), 422) == "own_address"
    assert node.wallet()["balance_micro"] == 1_000 * CREDIT


def test_late_joiner_gets_what_was_said_before(
    pair: tuple[NodeProcess, NodeProcess], make_node: MakeNode
) -> None:
    host, member = pair
    until(lambda: host.get("/v1/catalogue", q="bob")["items"], "host knows the member")
    member.terminate()
    late = make_node("late")
    late.create_identity("Zoe")
    late.done("/v1/group/join", invitation=host.get("/v1/group")["invitation"])
    found = until(lambda: late.get("/v1/catalogue", q="bob")["items"], "late joiner finds the absent member")
    assert found[0]["author_name"] == "Bob"
    assert not found[0]["reachable"]


def test_host_is_killed_and_comes_back_while_a_member_waits(
    pair: tuple[NodeProcess, NodeProcess],
) -> None:
    host, member = pair
    for node in pair:
        node.done("/v1/wallet/faucet")
    to = host.wallet()["address"]
    height = host.get("/v1/group")["height"]
    host.kill()
    assert member.wallet()["as_of"] is not None, "what the chain last said, and when"
    body = {"to": to, "amount_micro": CREDIT}
    assert refused(member.api.post("/v1/wallet/send", json=body), 502) == "chain_unreachable"
    assert member.get("/v1/status")["identity"]["state"] == "open"
    host.start()
    host.post("/v1/identity/unlock", passphrase=PASSPHRASE)
    until(lambda: host.get("/v1/group")["height"] == height, "chain restored to its height")
    member.post("/v1/peers/connect", addr=host.get("/v1/peers")["self"]["addrs"][0])
    until(lambda: member.wallet()["as_of"] is None, "member reaches the chain")
    member.done("/v1/wallet/send", to=to, amount_micro=CREDIT)
    assert member.wallet()["balance_micro"] == 999 * CREDIT
    assert until(lambda: host.wallet()["balance_micro"] == 1_001 * CREDIT, "payment arrives")


def test_bad_invitations(make_node: MakeNode, pair: tuple[NodeProcess, NodeProcess]) -> None:
    host, _ = pair
    invitation = host.get("/v1/group")["invitation"]
    guest = make_node("guest")
    guest.create_identity("Eve")
    for text in ("", "x", invitation[:-9], "openstall:group:AAAA", invitation.replace("group", "greup")):
        answer = guest.api.post("/v1/group/join", json={"invitation": text})
        if answer.is_success:
            found = until(
                lambda a=answer: (
                    (one := guest.get(f"/v1/operations/{a.json()['operation_id']}"))["state"] != "running"
                    and one
                ),
                "join ends",
            )
            assert found["error"]["code"] == "bad_invitation"
        else:
            assert refused(answer, 422) == "invalid_request"
    # The id of a public chain: what is signed for the group would be valid there.
    for chain_id, code in ((1, "bad_invitation"), (2**40, "wrong_chain")):
        operation = guest.operate("/v1/group/join", invitation=altered(invitation, chain_id=chain_id))
        assert operation["error"]["code"] == code
    ended = guest.operate("/v1/group/join", invitation=altered(invitation, genesis_hash="0x" + "11" * 32))
    assert ended["error"]["code"] == "wrong_chain"
    for name in ("escrow", "auction", "model_escrow", "contest"):
        foreign = altered(invitation, **{name: "0x" + "22" * 20})
        ended = guest.operate("/v1/group/join", invitation=foreign)
        assert ended["error"]["code"] == "foreign_contracts", name
    assert guest.get("/v1/group")["state"] == "none"
    assert host.operate("/v1/group/join", invitation=invitation)["error"]["code"] == "in_group"
    guest.done("/v1/group/join", invitation=invitation)
    contracts = guest.get("/v1/group")["contracts"]
    assert contracts == host.get("/v1/group")["contracts"]
    assert all(contracts.values())
    assert len(set(contracts.values())) == 7


def altered(invitation: str, **changes: Any) -> str:
    """The invitation of a cheat, in perfect form."""
    text = invitation.removeprefix("openstall:group:")
    value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw = json.dumps({**value, **changes}, separators=(",", ":"), sort_keys=True).encode()
    return "openstall:group:" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_group_survives_restarts_of_both(pair: tuple[NodeProcess, NodeProcess]) -> None:
    host, member = pair
    member.done("/v1/wallet/faucet")
    invitation = host.get("/v1/group")["invitation"]
    for node in pair:
        assert node.terminate() == 0
        node.start()
        node.post("/v1/identity/unlock", passphrase=PASSPHRASE)
    assert host.get("/v1/group")["name"] == "Our group"
    assert host.get("/v1/group")["chain_id"] == member.get("/v1/group")["chain_id"]
    assert invitation.startswith("openstall:group:")
    member.post("/v1/peers/connect", addr=host.get("/v1/peers")["self"]["addrs"][0])
    until(lambda: member.wallet()["as_of"] is None, "member reaches the chain again")
    assert member.wallet()["balance_micro"] == 1_000 * CREDIT
    assert (
        refused(member.api.post("/v1/wallet/send", json={"to": "0x" + "ab" * 20}), 422) == "invalid_request"
    )


def test_without_anvil_the_group_lives_in_memory_and_says_so(make_node: MakeNode) -> None:
    node = make_node("node", OPENSTALL_ANVIL="/nowhere/anvil")
    node.create_identity("Ann")
    made = node.done("/v1/group/create", name="Passing group")
    assert made["durable"] is False
    assert "Nothing is saved" in node.get("/v1/status")["group"]["banner"]
    node.done("/v1/wallet/faucet")
    node.done("/v1/wallet/send", to="0x" + "ab" * 20, amount_micro=CREDIT)
    assert node.wallet()["balance_micro"] == 999 * CREDIT
    assert len(node.wallet()["history"]) == 2
    node.terminate()
    node.start()
    assert node.get("/v1/group")["state"] == "none"
    assert [warning["code"] for warning in node.get("/v1/status")["warnings"]] == ["group_gone"]
