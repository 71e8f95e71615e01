"""The local API of a real node: who is let in, what is refused, what is told."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

import httpx
from httpx_sse import connect_sse

from .conftest import PASSPHRASE, NodeProcess, refused


def test_status_of_a_new_home(shared: NodeProcess) -> None:
    status = shared.get("/v1/status")
    assert status["identity"]["state"] == "none"
    assert status["group"]["state"] == "none"
    assert status["identity"]["peer_id"].startswith("12D3KooW")
    assert {"version", "home", "started_at", "network", "agent", "selling", "warnings"} <= set(status)


def test_only_the_token_holder_on_this_host_gets_in(shared: NodeProcess) -> None:
    base = f"http://127.0.0.1:{shared.port}"
    bare = httpx.Client(base_url=base, trust_env=False)
    with bare:
        assert refused(bare.get("/v1/status"), 401) == "bad_token"
        assert refused(bare.get("/v1/status", headers={"authorization": "Bearer x"}), 401) == "bad_token"
        assert refused(bare.get("/v1/openapi.json"), 401) == "bad_token"
    assert refused(shared.api.get("/v1/status", headers={"origin": base}), 403) == "web_origin"
    assert refused(shared.api.get("/v1/status", headers={"host": "evil.example"}), 421) == "wrong_host"
    assert (
        refused(shared.api.options("/v1/status", headers={"origin": "http://evil.example"}), 403)
        == "web_origin"
    )


def test_port_is_on_loopback_only_and_its_file_is_private(shared: NodeProcess) -> None:
    assert shared.process is not None
    with socket.socket() as probe:
        outside = socket.gethostbyname(socket.gethostname())
        if not outside.startswith("127."):
            assert probe.connect_ex((outside, shared.port)) != 0
    for name in ("api.json", "peer.key", "store.sqlite", "log/node.jsonl"):
        assert (shared.home / name).stat().st_mode & 0o077 == 0, name


BAD_BODIES: list[tuple[str, bytes | str, int, str]] = [
    ("/v1/identity/create", b"{", 422, "invalid_request"),
    ("/v1/identity/create", b"\xff\xfe", 422, "invalid_request"),
    ("/v1/identity/create", '{"name":"a","passphrase":5}', 422, "invalid_request"),
    ("/v1/identity/create", '{"name":"a","passphrase":"12345678","extra":1}', 422, "invalid_request"),
    ("/v1/identity/create", "[" * 100_000, 400, "bad_request"),
    ("/v1/identity/create", '{"name":"a","passphrase":"short"}', 409, "short_passphrase"),
    ("/v1/identity/create", '{"name":"\\u0007","passphrase":"12345678"}', 409, "bad_name"),
    ("/v1/identity/restore", '{"words":"one two","name":"a","passphrase":"12345678"}', 409, "word_count"),
    ("/v1/identity/unlock", '{"passphrase":"whatever it is"}', 409, "no_wallet"),
    ("/v1/wallet/send", '{"to":"0x00","amount_micro":1}', 422, "invalid_request"),
    ("/v1/peers/connect", '{"addr":"nonsense"}', 502, "bad_peer_id"),
]


def test_bad_bodies_have_words(shared: NodeProcess) -> None:
    for path, body, status, code in BAD_BODIES:
        response = shared.api.post(path, content=body, headers={"content-type": "application/json"})
        assert refused(response, status) == code, (path, body[:60])
    assert shared.get("/v1/identity")["state"] == "none"


def test_large_bodies_are_refused(shared: NodeProcess) -> None:
    assert refused(shared.api.post("/v1/identity/create", content=b"x" * 2_000_000), 413) == "too_large"

    def endless() -> object:
        for _ in range(40):
            yield b"x" * 65_536

    response = shared.api.post("/v1/identity/create", content=endless())  # type: ignore[arg-type]
    assert refused(response, 413) == "too_large"
    assert shared.get("/v1/status")


def test_what_is_not_there(shared: NodeProcess) -> None:
    assert refused(shared.api.get("/v1/nothing"), 404) == "no_such_path"
    assert refused(shared.api.delete("/v1/status"), 405) == "wrong_method"
    assert refused(shared.api.get("/v1/operations/nope"), 404) == "no_such_operation"
    assert refused(shared.api.get("/v1/wallet"), 409) == "no_wallet"
    assert refused(shared.api.get("/v1/orders"), 409) == "no_wallet"
    assert shared.get("/v1/catalogue") == {"items": [], "total": 0, "exact": True}


def test_every_route_is_described(shared: NodeProcess) -> None:
    described = shared.get("/v1/openapi.json")
    assert {"/v1/status", "/v1/wallet/send", "/v1/orders/{order_id}"} <= set(described["paths"])
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path} says nothing"


def test_events_reach_a_listener(node: NodeProcess) -> None:
    with connect_sse(node.api, "GET", "/v1/events") as source:
        events = source.iter_sse()
        node.create_identity("Ann")
        seen = [next(events) for _ in range(1)]
        assert seen[0].event == "status"
        assert json.loads(seen[0].data)["part"]
        node.post("/v1/group/create", name="G")
        kinds = set()
        while "operation" not in kinds:
            kinds.add(next(events).event)


def test_identity_is_made_once_and_its_backup_is_tested(node: NodeProcess) -> None:
    made = node.create_identity("Ann")
    assert len(made["words"]) == 24
    again = node.api.post("/v1/identity/create", json={"name": "Bob", "passphrase": PASSPHRASE})
    assert refused(again, 409) == "wallet_exists"
    asked = node.get("/v1/identity/backup")["positions"]
    wrong = {str(at): "zoo" if made["words"][at - 1] != "zoo" else "zebra" for at in asked}
    assert refused(node.api.post("/v1/identity/backup", json={"words": wrong}), 409) == "wrong_words"
    others = node.get("/v1/identity/backup")["positions"]
    unasked = {str(at): made["words"][at - 1] for at in range(1, 25) if at not in others}
    assert refused(node.api.post("/v1/identity/backup", json={"words": unasked}), 409) == "wrong_positions"
    assert refused(node.api.post("/v1/identity/backup", json={"words": {"x": "a"}}), 409) == "wrong_positions"
    assert not node.get("/v1/identity")["backup_tested"]
    right = {str(at): made["words"][at - 1].upper() for at in others}
    assert node.post("/v1/identity/backup", words=right) == {"tested": True}
    assert node.get("/v1/identity")["backup_tested"]


def test_restore_from_words_gives_the_same_wallet(make_node: Callable[..., NodeProcess]) -> None:
    first = make_node("first")
    made = first.create_identity("Ann")
    second = make_node("second")
    text = "  ".join(word.upper() for word in made["words"])
    restored = second.post("/v1/identity/restore", words=text, name="Ann", passphrase="another one")
    assert restored["wallet"] == made["wallet"]
    assert restored["peer_id"] != made["peer_id"]
    assert second.get("/v1/identity")["backup_tested"]


def test_locked_wallet_opens_with_its_passphrase_only(make_node: Callable[..., NodeProcess]) -> None:
    node = make_node("node")
    made = node.create_identity("Ann")
    assert node.terminate() == 0
    node.start()
    assert node.get("/v1/identity")["state"] == "locked"
    assert refused(node.api.get("/v1/wallet"), 409) == "wallet_locked"
    wrong = node.api.post("/v1/identity/unlock", json={"passphrase": "not this one"})
    assert refused(wrong, 409) == "wrong_passphrase"
    assert node.post("/v1/identity/unlock", passphrase=PASSPHRASE)["wallet"] == made["wallet"]
    node.terminate()
    secret = node.home / "passphrase.txt"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    node.start("--passphrase-file", os.fspath(secret))
    assert node.get("/v1/identity")["wallet"] == made["wallet"]
    assert node.get("/v1/status")["warnings"] == []
    node.terminate()
    secret.write_text("some other passphrase")
    node.start("--passphrase-file", os.fspath(secret))
    assert node.get("/v1/identity")["state"] == "locked"
    assert [one["code"] for one in node.get("/v1/status")["warnings"]] == ["wrong_passphrase"]


def test_no_secret_is_ever_logged_or_printed(make_node: Callable[..., NodeProcess]) -> None:
    node = make_node("node")
    made = node.create_identity("Ann")
    node.api.post("/v1/identity/unlock", json={"passphrase": "a wrong guess of it"})
    node.api.post(
        "/v1/identity/restore", json={"words": made["words"], "name": "x", "passphrase": "secret too"}
    )
    node.api.post("/v1/identity/create", content=json.dumps({"name": 1, "passphrase": "third secret"}))
    node.done("/v1/group/create", name="G")
    node.done("/v1/wallet/faucet")
    token = node.token
    node.terminate()
    said = node.log() + node.output()
    assert "wallet open" in said
    pairs = [" ".join(made["words"][at : at + 2]) for at in range(23)]
    for secret in (PASSPHRASE, token, "a wrong guess of it", "secret too", "third secret", *pairs):
        assert secret not in said
    seed = (node.home / "peer.key").read_bytes()
    assert seed.hex() not in said
