"""A node that is alone goes on with what it has, and a file gets in nothing that the network would not."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.bindings import sodium_pad

from openstall.app.services.mailbox.sealed import seal
from openstall.market import canonical, ids
from openstall.market.disputes.messages import Message, sign_message
from openstall.market.exchange import (
    AcceptanceItem,
    Item,
    LetterItem,
    MessageItem,
    OrderItem,
    RecordItem,
    write_file,
    write_text,
)
from openstall.market.letters import Letter, write_letter

from .conftest import NodeProcess, refused, until

MakeNode = Callable[..., NodeProcess]
CREDIT = 1_000_000
CARD = {
    "title": "Models for small clinics",
    "skills": "Tables.",
    "tasks": ["classification"],
    "places": 1,
}


def test_a_member_whose_host_is_away_keeps_its_books_and_sends_later(make_node: MakeNode) -> None:
    host, member = make_node("host"), make_node("member")
    for node, name in ((host, "Ann"), (member, "Bob")):
        node.create_identity(name)
    host.done("/v1/group/create", name="Our group")
    member.done("/v1/group/join", invitation=host.get("/v1/group")["invitation"])
    member.done("/v1/wallet/faucet")
    assert member.wallet()["as_of"] is None
    until(lambda: member.get("/v1/catalogue", q="ann", type="peer")["items"], "Bob knows Ann")
    until(lambda: not member.get("/v1/outbox")["items"], "Ann has Bob's record")
    host.kill()
    member.kill()
    (member.home / "passphrase").write_text("a passphrase for tests")
    member.start("--passphrase-file", str(member.home / "passphrase"))
    until(lambda: member.get("/v1/status")["trading"], "Bob trades alone")
    wallet = member.wallet()
    assert wallet["balance_micro"] == 1_000 * CREDIT
    assert wallet["as_of"] > 0
    assert len(wallet["history"]) == 1
    assert [one["author_name"] for one in member.get("/v1/catalogue", q="ann")["items"]] == ["Ann"]
    assert member.get("/v1/orders") == {"items": [], "total": 0}
    member.post("/v1/developer", **CARD)
    waiting = member.get("/v1/outbox")["items"]
    card = [one for one in waiting if one["what"] == "Developer “Models for small clinics”"]
    assert [(one["kind"], one["to_name"], one["may_drop"]) for one in card] == [("record", "everybody", True)]
    host.start()
    host.post("/v1/identity/unlock", passphrase="a passphrase for tests")
    until(lambda: host.get("/v1/catalogue", q="clinics")["items"], "Ann has the card")
    until(lambda: not member.get("/v1/outbox")["items"], "nothing waits any more")
    until(lambda: member.wallet()["as_of"] is None, "the chain is read again")


@pytest.fixture
def alone(make_node: MakeNode) -> NodeProcess:
    node = make_node("alone")
    node.create_identity("Ann")
    node.done("/v1/group/create", name="G")
    until(lambda: node.get("/v1/status")["trading"], "it trades")
    return node


def test_a_file_gets_nothing_in_that_the_network_would_not(alone: NodeProcess, tmp_path: Path) -> None:
    network, me = alone.get("/v1/group")["network"], alone.get("/v1/identity")["peer_id"]
    own = tmp_path / "own"
    alone.post("/v1/exchange/export", path=str(own), records=["mine"])
    (kept,) = [json.loads(line) for line in own.read_text().splitlines()[1:]]
    stranger = bytes([9]) * 32
    forged = msgspec.convert(kept, RecordItem)
    forged.record["body"]["name"] = "Eve"
    hostile: list[tuple[str, Item]] = [
        ("bad_signature", forged),
        ("bad_schema", OrderItem(order={"kind": "sale"}, buyer_signature="A" * 86, seller_signature="")),
        ("no_such_order", AcceptanceItem(network=network, order_id="ab" * 32, signature="A" * 86)),
        ("other_network", AcceptanceItem(network="elsewhere", order_id="ab" * 32, signature="A" * 86)),
        ("no_such_order", _message(stranger, network)),
        ("bad_message", MessageItem(message={"author": 7}, signature="A" * 86)),
        ("bad_letter", LetterItem(to=me, expires=1, letter="YQ==")),
        ("not_for_us", LetterItem(to=me, expires=1, letter=base64.b64encode(bytes(1072)).decode())),
        ("not_by_letter", _letter(stranger, me, network, {"do": "cancel_job", "order_id": "ab" * 32})),
        ("bad_schema", _sealed(me, {"letter": {}, "signature": "A" * 86})),
        ("not_a_member", _letter(stranger, ids.peer_id_of_seed(bytes([8]) * 32), network, {})),
    ]
    path = tmp_path / "hostile"
    path.write_bytes(write_file(network, [item for _code, item in hostile]))
    found = alone.done("/v1/exchange/import", path=str(path))
    by_kind = sorted((one["kind"], one["code"]) for one in found["items"])
    assert by_kind == sorted((type(item).__struct_config__.tag, code) for code, item in hostile)
    assert (found["taken"], found["refused"]) == (0, len(hostile))
    assert alone.get("/v1/orders")["items"] == []
    for name, content, code in (
        ("cut", path.read_bytes()[:-10], "cut"),
        ("elsewhere", write_file("elsewhere", [forged]), "other_network"),
        ("picture", b"\x89PNG" + secrets.token_bytes(2_000), "not_an_exchange"),
        ("empty", b"", "not_an_exchange"),
    ):
        (tmp_path / name).write_bytes(content)
        assert alone.operate("/v1/exchange/import", path=str(tmp_path / name))["error"]["code"] == code
    assert alone.operate("/v1/exchange/import", path=str(tmp_path))["error"]["code"] == "no_such_file"


def test_what_cannot_be_written_or_shown_is_refused_in_words(alone: NodeProcess, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    for body, status, code in (
        ({"path": str(tmp_path / "there"), "records": ["mine"]}, 409, "file_exists"),
        ({"path": str(tmp_path / "new")}, 422, "nothing_to_export"),
        ({"path": str(tmp_path / "new"), "records": ["nowhere"]}, 404, "no_such_record"),
        ({"path": str(tmp_path / "new"), "order_id": "ab" * 32}, 404, "no_such_order"),
    ):
        assert refused(alone.api.post("/v1/exchange/export", json=body), status) == code
    no_order = {"path": str(tmp_path / "new"), "order_id": "ab" * 32}
    assert alone.operate("/v1/exchange/export-package", **no_order)["error"]["code"] == "no_such_order"
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "new").exists()
    wrong = alone.api.get("/v1/exchange/qr", params={"what": "acceptance", "order_id": "ab" * 32})
    assert refused(wrong, 404) == "no_such_order"
    assert refused(alone.api.post("/v1/outbox/nothing/drop", json={}), 404) == "not_waiting"
    shown = alone.get("/v1/exchange/qr", what="invitation")
    assert shown["text"] == alone.get("/v1/group")["invitation"]
    assert {len(line) for line in shown["rows"]} == {len(shown["rows"])}
    foreign = write_text(AcceptanceItem(network="elsewhere", order_id="ab" * 32, signature="A" * 86))
    assert alone.post("/v1/exchange/import-text", text=foreign)["items"][0]["code"] == "other_network"
    assert refused(alone.api.post("/v1/exchange/import-text", json={"text": "x"}), 422) == "bad_text"


def _message(seed: bytes, network: str) -> MessageItem:
    message = Message(
        network=network,
        order_id="ab" * 32,
        author=ids.peer_id_of_seed(seed),
        seq=1,
        previous="",
        seen=[],
        at=1,
        text="Hello",
    )
    signed = sign_message(message, seed)
    return MessageItem(message=msgspec.to_builtins(message), signature=signed.signature)


def _letter(seed: bytes, to: str, network: str, ask: dict[str, Any]) -> LetterItem:
    import time

    now = int(time.time())
    letter = Letter(
        id="ab" * 16,
        network=network,
        sender=ids.peer_id_of_seed(seed),
        recipient=to,
        written=now,
        expires=now + 600,
        protocol="/openstall/order/1",
        answers="",
        body=base64.b64encode(canonical.encode(ask)).decode(),
    )
    sealed = seal(write_letter(letter, seed), to)
    return LetterItem(to=to, expires=now + 600, letter=base64.b64encode(sealed).decode())


def _sealed(to: str, value: Any) -> LetterItem:
    sealed = seal(sodium_pad(canonical.encode(value), 1024), to)
    return LetterItem(to=to, expires=1, letter=base64.b64encode(sealed).decode())
