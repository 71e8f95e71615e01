"""Two real nodes: one asks for a model of its wines, the other builds models; they find each other."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_tables import digits, wine

from openstall.app.paths import Home
from openstall.market.fields import DAY_S
from openstall.store.database import Store
from openstall.store.records import Records

from .conftest import NodeProcess, nodes_in, refused, until

MakeNode = Callable[..., NodeProcess]
CREDIT = 1_000_000
MODIFIED = Path(__file__).parents[2] / "support" / "modified_node.py"
TERMS = ("--metric", "macro_f1", "--threshold", "0.95", "--budget", "50", "--target", "cultivar")


def typed(node: NodeProcess, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(node.home), *words]
    done = subprocess.run(
        command,
        env=os.environ | {"COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done


def asked(node: NodeProcess, *words: str) -> Any:
    return json.loads(typed(node, "--json", *words).stdout)


def trades(node: NodeProcess) -> None:
    until(lambda: node.api.get("/v1/requests").is_success, f"{node.home.name} trades")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    with nodes_in(tmp_path_factory.mktemp("pair")) as make:
        shop, maker = make("shop"), make("maker")
        shop.create_identity("Enoteca")
        maker.create_identity("Maker")
        shop.done("/v1/group/create", name="Our group")
        maker.done("/v1/group/join", invitation=shop.get("/v1/group")["invitation"])
        trades(shop)
        trades(maker)
        shop.done("/v1/wallet/faucet")
        yield shop, maker


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wine(tmp_path_factory.mktemp("rows") / "wine.csv", delimiter=";", decimal=",")


def test_they_find_each_other_and_say_why(pair: tuple[NodeProcess, NodeProcess], rows: Path) -> None:
    shop, maker = pair
    skills = "Chemistry of wine: barolo, barbera. Small tables, classification."
    card = asked(maker, "developer", "set", "--title", "Models of wine", "--skills", skills, "--places", "2")
    assert asked(maker, "developer", "show")["cid"] == card["cid"]
    made = asked(shop, "request", "create", str(rows), *TERMS, "--title", "Which wine is it?", "--yes")
    assert (made["state"], made["rows"], made["budget_micro"]) == ("open", 178, 50 * CREDIT)
    assert made["body"]["deposit_micro"] == 2_500_000
    cid = made["cid"]

    seen = until(lambda: maker.get("/v1/catalogue", type="request", q="barolo")["items"], "the request")
    assert (seen[0]["cid"], seen[0]["body"]) == (cid, made["body"])
    assert asked(maker, "catalogue", "search", "--type", "request")["items"][0]["cid"] == cid

    inbox = asked(maker, "developer", "inbox")["items"]
    assert [(one["cid"], one["lane"]) for one in inbox] == [(cid, "newcomer")]
    assert "barolo" in inbox[0]["shared_words"]
    assert "Pays up to 50.00 credits" in inbox[0]["reasons"][2]

    until(lambda: shop.get("/v1/catalogue", type="developer")["items"], "the card")
    match = asked(shop, "request", "match", cid)["items"]
    assert [(one["cid"], one["author_name"]) for one in match] == [(card["cid"], "Maker")]
    assert "A newcomer to you" in match[0]["reasons"][1]
    assert "Takes 2 orders now" in match[0]["reasons"][2]
    assert match == asked(shop, "request", "match", cid)["items"], "the same question, the same answer"
    assert "by lot" in typed(shop, "request", "match", cid).stdout

    asked(maker, "evaluator", "on")
    judges = until(lambda: asked(shop, "evaluator", "list")["items"], "who measures")
    assert [(one["name"], one["wallet"]) for one in judges] == [("Maker", maker.wallet()["address"])]
    asked(maker, "evaluator", "off")
    until(lambda: not asked(shop, "evaluator", "list")["items"], "nobody measures any more")

    assert shop.get("/v1/requests")["items"][0]["stage"] == "open"
    typed(shop, "request", "withdraw", made["request_id"], status=1)  # bids may be under way
    asked(maker, "developer", "off")
    typed(maker, "developer", "inbox", status=1)
    until(lambda: not shop.get("/v1/catalogue", type="developer")["items"], "the card is gone")


def test_a_bidder_still_reads_a_request_that_has_left_the_catalogue(
    pair: tuple[NodeProcess, NodeProcess], rows: Path
) -> None:
    shop, maker = pair
    maker.done("/v1/wallet/faucet")
    made = asked(shop, "request", "create", str(rows), *TERMS, "--title", "Soon gone", "--yes")
    cid = made["cid"]
    until(lambda: maker.api.get(f"/v1/catalogue/{cid}").is_success, "the request")
    maker.post(f"/v1/requests/{cid}/bid", amount_micro=40 * CREDIT)
    assert asked(maker, "request", "record", cid)["live"] is True
    assert refused(shop.api.post(f"/v1/models/{cid}/withdraw"), 404) == "another_type"
    shop.kill()
    shop.program = (sys.executable, str(MODIFIED), "withdraw_anything")
    shop.start()
    shop.post("/v1/identity/unlock", passphrase="a passphrase for tests")
    trades(shop)
    shop.post(f"/v1/models/{cid}/withdraw")
    until(lambda: maker.get(f"/v1/requests/{cid}/record")["live"] is False, "it is withdrawn")
    for node in (shop, maker):  # or else the one would give it to the other again
        node.kill()
        store = Store(Home(node.home).store)
        assert Records(store).purge(now=made["deliver_by"] + 400 * DAY_S, keep_author="") > 0
        store.close()
    for node in (shop, maker):
        node.start()
        node.post("/v1/identity/unlock", passphrase="a passphrase for tests")
        trades(node)
    assert refused(maker.api.get(f"/v1/catalogue/{cid}"), 404) == "no_such_record"
    kept = maker.get(f"/v1/requests/{cid}/record")
    assert (kept["body"], kept["live"], kept["mine"]) == (made["body"], False, False)
    seen = until(
        lambda: maker.api.get(f"/v1/requests/{cid}/auction").is_success and maker.get("/v1/bids"), "it"
    )
    assert [(one["request"], one["own_bid"]["amount_micro"]) for one in seen["items"]] == [(cid, 40 * CREDIT)]
    assert refused(maker.api.get(f"/v1/requests/{made['request_hash']}/record"), 404) == "no_such_record"


def test_nothing_is_signed_before_it_was_shown_and_agreed_to(
    pair: tuple[NodeProcess, NodeProcess], rows: Path
) -> None:
    shop, _maker = pair
    before = shop.get("/v1/requests")["total"]
    done = typed(shop, "request", "create", str(rows), *TERMS, status=1)
    assert "Sign and publish this?" in done.stderr
    for words in ("178 sealed rows of yours", "macro_f1 is at least 0.95", "Decimal commas", "50.00 credits"):
        assert words in done.stdout
    assert shop.get("/v1/requests")["total"] == before
    body = {
        "path": str(rows),
        "target": "cultivar",
        "metric": "macro_f1",
        "threshold": "0.95",
        "terms": {
            "title": "Which wine?",
            "licence": "MIT",
            "budget_micro": 50 * CREDIT,
            "deposit_micro": CREDIT,
        },
    }
    found = shop.operate("/v1/requests", **body, file_sha256="00" * 32)
    assert found["error"]["code"] == "table_changed"
    assert refused(shop.api.post("/v1/requests", json=body), 422) == "invalid_request"
    without = {**body, "metric": "", "file_sha256": "00" * 32}
    assert refused(shop.api.post("/v1/requests", json=without), 422) == "no_threshold"
    senseless = {**body, "metric": "rmse"}
    assert shop.operate("/v1/requests/preview", **senseless)["error"]["code"] == "bad_figures"


def test_a_preview_of_digits(pair: tuple[NodeProcess, NodeProcess], tmp_path: Path) -> None:
    shop, _maker = pair
    path = digits(tmp_path / "digits.csv")
    first = asked(shop, "request", "preview", str(path))["table"]
    assert (first["rows"], first["features"], first["columns"][-1]["name"]) == (1_797, [], "digit")
    assert "Say with --target" in typed(shop, "request", "preview", str(path)).stdout
    options = ("--target", "digit", "--metric", "accuracy", "--threshold", "0.1")
    found = asked(shop, "request", "preview", str(path), *options)
    assert (found["table"]["rows"], len(found["table"]["classes"])) == (1_797, 10)
    assert "reached without a model" in found["table"]["warnings"][-1]
    path.write_text(path.read_text().replace("\n0,0,5", "\n0,x,5", 1))
    words = typed(shop, "request", "preview", str(path), *options).stdout
    assert "Line 2: “x” in “p1” is not a number. Write a number for it, or ignore the column." in words
    assert asked(shop, "request", "preview", str(path), *options)["problem_count"] == 1


def test_the_rows_stay_sealed_at_home_and_outlive_a_kill(make_node: MakeNode, rows: Path) -> None:
    shop = make_node("shop")
    shop.create_identity("Enoteca")
    shop.done("/v1/group/create", name="Our group")
    trades(shop)
    shop.done("/v1/wallet/faucet")
    made = asked(shop, "request", "create", str(rows), *TERMS, "--training", str(rows), "--yes")
    (kept,) = (shop.home / "requests").iterdir()
    assert kept.stem == made["request_id"]
    assert kept.stat().st_mode & 0o077 == 0
    shop.kill()
    for path in shop.home.rglob("*"):
        if path.is_file() and path.suffix != ".sqlite-wal":
            assert b"14.23" not in path.read_bytes(), f"a cell of a sealed row lies open in {path}"
    shop.start()
    shop.post("/v1/identity/unlock", passphrase="a passphrase for tests")
    trades(shop)
    again = shop.get(f"/v1/requests/{made['cid']}")
    assert again == made
    hash_ = base64.b32decode(made["cid"][1:].upper() + "=" * (-len(made["cid"][1:]) % 8))[5:].hex()
    assert made["request_hash"] == hash_
    assert kept.exists()
    assert not re.search(r"\b[0-9a-f]{64}\b", shop.log()), "no seed and no key is logged"
