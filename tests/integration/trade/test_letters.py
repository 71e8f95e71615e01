"""Two peers trade who are never on at the same time: a third keeps their letters, and each is killed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from damage import set_back_at
from sealed_lab import run_in_runtime
from stage import Market, open_market, restart, trick, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, start_node, wait_for
from openstall.compute_agent.runtime import find_runtime
from openstall.market import canonical


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("letters")) as opened:
        yield opened


@pytest.fixture(scope="module")
def listing(market: Market) -> str:
    """A model on sale; it need not be a good one."""
    folder = market.folder / "models"
    folder.mkdir()
    script = Path(__file__).parents[2] / "support" / "make_entries.py"
    run_in_runtime(find_runtime(), script, str(market.train), LABEL, str(folder))
    return market.publish(folder / "fair.onnx", deliver_s=3600, review_s=3600)


def waiting(peer: DemoPeer, **wanted: Any) -> list[dict[str, Any]]:
    items = peer.get("/v1/outbox")["items"]
    return [item for item in items if all(item[name] == value for name, value in wanted.items())]


def until(look: Any, what: str) -> Any:
    return wait_for(lambda: look() or None, 60, what)


def off(market: Market, peer: DemoPeer) -> None:
    """Kill a node, and wait until the others know."""
    peer.kill()
    for other in market.peers:
        if other.process.poll() is None:
            until(partial(_gone, other, peer.peer_id), f"{other.name} knows that {peer.name} is off")


def _gone(other: DemoPeer, peer_id: str) -> bool:
    return peer_id not in {one["peer_id"] for one in other.get("/v1/peers")["items"]}


def talk(peer: DemoPeer, order_id: str) -> list[tuple[str, bool]]:
    return [(one["text"], one["waits"]) for one in peer.get(f"/v1/orders/{order_id}/talk")["items"]]


def test_a_message_and_an_order_find_their_way_through_a_mailbox(market: Market, listing: str) -> None:
    buyer, seller, box = market.buyer, market.seller, market.provider
    first = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    buyer.order_until(first, lambda o: o["state"] == "delivered" and o["verified"], 180)
    off(market, seller)
    for words in ("Does it run on Windows?", "And on a tablet?"):
        buyer.post(f"/v1/orders/{first}/say", text=words)
    second = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    restart(buyer)  # before anything is known to have gone
    until(lambda: len(waiting(buyer, kind="letter", state="posted")) == 3, "all is in the mailbox")
    assert {one["to_name"] for one in waiting(buyer, kind="letter")} == {"seller"}
    off(market, buyer)
    restart(box)  # it keeps them through a power cut
    assert box.get("/v1/mailbox")["kept"]["letters"] == 3
    seller.start_again()
    until(lambda: len(talk(seller, first)) == 2, "the seller reads what was written")
    assert [words for words, _ in talk(seller, first)] == ["Does it run on Windows?", "And on a tablet?"]
    seller.order_until(second, lambda o: o["state"] == "agreed", 180)
    seller.post(f"/v1/orders/{first}/say", text="Yes, and yes.")
    restart(seller)  # what it answers is on its disk, or follows from the letter that is still there
    until(lambda: box.get("/v1/mailbox")["kept"]["letters"] == 4, "three answers and a message lie there")
    off(market, seller)
    buyer.start_again()
    buyer.order_until(second, lambda o: o["state"] == "agreed", 180)
    until(lambda: len(talk(buyer, first)) == 3, "the buyer reads the answer")
    until(lambda: not any(waits for _words, waits in talk(buyer, first)), "nothing waits any more")
    seller.start_again()
    buyer.order_until(second, lambda o: o["state"] == "delivered" and o["verified"], 120)
    until(lambda: not talk(seller, first)[-1][1], "the seller knows that its message was read")
    assert [words for words, _ in talk(seller, first)] == [words for words, _ in talk(buyer, first)]
    until(lambda: box.get("/v1/mailbox")["kept"]["letters"] == 0, "nothing is kept any more")
    assert [waiting(peer, kind="letter") for peer in market.peers] == [[], [], []]


def test_a_purchase_without_any_connection_by_file_alone(
    market: Market, listing: str, tmp_path: Path
) -> None:
    """Only one node is on at any time, and the chain's host is off, until there is something to pay."""
    buyer, seller, host = market.buyer, market.seller, market.provider
    host.post("/v1/mailbox/serve", on=False)
    for peer in market.peers:
        peer.kill()
    alone(buyer)
    assert listing in {item["cid"] for item in buyer.get("/v1/catalogue", q="screening")["items"]}
    order_id = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    until(lambda: waiting(buyer, kind="letter", order_id=order_id), "the order waits")
    given_up = buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    until(lambda: waiting(buyer, kind="letter", order_id=given_up), "another waits")
    typed(buyer, "outbox", "drop", waiting(buyer, order_id=given_up)[0]["id"])
    assert buyer.get(f"/v1/orders/{given_up}")["final"]
    letters = typed(buyer, "--json", "exchange", "export", "--outbox", str(tmp_path / "from-buyer"))
    assert json.loads(letters.stdout)["objects"]["letter"] in (1, 2)  # with word that one was given up
    buyer.kill()

    alone(seller)
    taken = typed(seller, "--json", "exchange", "import", str(tmp_path / "from-buyer"))
    brought_in = [one["words"] for one in json.loads(taken.stdout)["items"] if one["kind"] == "letter"]
    assert "Order" in brought_in
    known = {one["order_id"] for one in seller.get("/v1/orders")["items"]}
    assert order_id in known
    assert given_up not in known
    assert seller.get(f"/v1/orders/{order_id}")["state"] == "agreed"
    typed(seller, "exchange", "export", "--order", order_id, str(tmp_path / "from-seller"))
    typed(seller, "exchange", "export", "--package", "--order", order_id, str(tmp_path / "package"))
    picture = json.loads(typed(seller, "--json", "exchange", "qr", "--acceptance", order_id).stdout)
    seller.kill()

    alone(buyer)
    by_text = typed(buyer, "--json", "exchange", "import", "--text", picture["text"])
    assert json.loads(by_text.stdout)["items"][0]["words"] == "The seller's signature on your order"
    by_file = json.loads(typed(buyer, "--json", "exchange", "import", str(tmp_path / "from-seller")).stdout)
    assert {one["kind"]: one["words"] for one in by_file["items"]}["order"] == "Known already"
    assert by_file["refused"] == 0
    brought = typed(buyer, "exchange", "import", str(tmp_path / "package"))
    assert "Package of" in brought.stdout
    assert buyer.get(f"/v1/orders/{order_id}")["state"] == "agreed"
    until(lambda: not waiting(buyer, order_id=order_id), "the signed order needs no letter any more")
    host.start_again()
    buyer.order_until(order_id, lambda o: o["state"] == "funded", 180)
    off(market, buyer)
    seller.start_again()  # the two have still never met
    seller.order_until(order_id, lambda o: o["state"] == "delivered", 180)
    off(market, seller)
    buyer.start_again()
    buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 180)
    seller.start_again()


@pytest.mark.slow
def test_two_views_of_orders_are_made_one_by_a_file_each_way(
    market: Market, listing: str, tmp_path: Path
) -> None:
    """One node is on at a time, and none has the chain; one has given an order up, the other has lost one."""
    buyer, seller, host = market.buyer, market.seller, market.provider
    restart(buyer, trick("stay_in:buyer:agreed"))
    given_up, lost = (buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"] for _ in range(2))
    for order_id in (given_up, lost):
        for peer in (buyer, seller):
            until(partial(_in_state, peer, order_id, "agreed"), f"{peer.name} has both signatures")
    for peer in market.peers:
        peer.kill()
    set_back_at(seller.home, lost)

    alone(buyer)
    buyer.post(f"/v1/orders/{given_up}/cancel")
    assert buyer.get(f"/v1/orders/{given_up}")["state"] == "declined"
    sent = [written(buyer, order_id, tmp_path / f"there-{order_id}") for order_id in (given_up, lost)]
    buyer.kill()

    alone(seller)
    assert {one["order_id"] for one in seller.get("/v1/orders")["items"]} & {given_up, lost} == {given_up}
    words = [taken_in(seller, file) for file in sent]
    assert "what the parties told each other, signed" in words[0]
    assert "the order was not in your books" in words[1]
    assert seller.get(f"/v1/orders/{given_up}")["state"] == "declined"
    assert seller.get(f"/v1/orders/{lost}")["state"] == "agreed"
    sent = [written(seller, order_id, tmp_path / f"back-{order_id}") for order_id in (given_up, lost)]
    hostile(seller, sent, tmp_path)
    seller.kill()

    alone(buyer)
    for order_id, file in zip((given_up, lost), sent, strict=True):
        assert taken_in(buyer, file).startswith("Papers: nothing was missing here.")
        assert papers_in(written(buyer, order_id, tmp_path / f"again-{order_id}")) == papers_in(file)
    assert buyer.get(f"/v1/orders/{given_up}")["state"] == "declined"
    host.start_again()
    seller.start_again()
    restart(buyer, PROGRAM)
    buyer.order_until(lost, lambda o: o["state"] == "delivered" and o["verified"], 180)
    assert {peer.get(f"/v1/orders/{given_up}")["state"] for peer in (buyer, seller)} == {"declined"}


def hostile(peer: DemoPeer, files: list[Path], folder: Path) -> None:
    """What a modified client puts into a file: all of it is refused, and nothing is entered."""
    first, other = (papers_in(file) for file in files)
    said = first["buyer_entries"][0]
    forged = {**said, "entry": {**said["entry"], "words": "I never said that."}}
    deep: dict[str, Any] = {}
    for _ in range(12):
        deep = {"a": deep}
    refused = {
        "of another order": {**other, "buyer_entries": first["buyer_entries"]},
        "of another party": {**first, "buyer_entries": [], "seller_entries": first["buyer_entries"]},
        "forged": {**other, "buyer_entries": [forged]},
        "signed by nobody": {**other, "buyer_entries": [{**said, "signature": "A" * 86}]},
        "signatures exchanged": {**other, "buyer_signature": first["buyer_signature"]},
        "of no order": {**first, "order": {}},
        "papers in papers": {"kind": "papers", "papers": first},
        "nested": {**first, "report": deep},
        "too many": {**first, "buyer_entries": [said] * 5},
        "too large": {**first, "messages": [{"text": "x" * 100_000}] * 42},
    }
    before = [papers_in(written(peer, id_of(one), folder / f"b-{id_of(one)}")) for one in (first, other)]
    head = json.loads(files[0].read_text().splitlines()[0]) | {"objects": len(refused)}
    objects = [{"kind": "papers", "papers": papers} for papers in refused.values()]
    lines = [
        json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for one in (head, *objects)
    ]
    path = folder / "hostile"
    path.write_text("".join(f"{line}\n" for line in lines))
    found = peer.operate("/v1/exchange/import", path=str(path))
    assert (found["taken"], found["refused"]) == (0, len(refused)), found
    after = [papers_in(written(peer, id_of(one), folder / f"a-{id_of(one)}")) for one in (first, other)]
    assert after == before


def id_of(papers: dict[str, Any]) -> str:
    return hashlib.sha256(canonical.encode(papers["order"])).hexdigest()


def written(peer: DemoPeer, order_id: str, path: Path) -> Path:
    """The file of an order."""
    peer.post("/v1/exchange/export", order_id=order_id, path=str(path), records=[])
    return path


def taken_in(peer: DemoPeer, path: Path) -> str:
    """A node takes a file in; what it says of the papers. Nothing is refused."""
    found = peer.operate("/v1/exchange/import", path=str(path))
    assert found["refused"] == 0, found
    (words,) = [one["words"] for one in found["items"] if one["kind"] == "papers"]
    return str(words)


def papers_in(path: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (found,) = [line["papers"] for line in lines if line.get("kind") == "papers"]
    assert isinstance(found, dict)
    return found


def _in_state(peer: DemoPeer, order_id: str, state: str) -> bool:
    items = peer.get("/v1/orders")["items"]
    return state in {one["state"] for one in items if one["order_id"] == order_id}


def alone(peer: DemoPeer) -> None:
    """Start a node when nobody else is on; it trades, without a chain."""
    peer.process, peer.api = start_node(peer.home, peer.program)
    until(lambda: peer.get("/v1/status")["trading"], f"{peer.name} trades")
    assert peer.get("/v1/peers")["items"] == []
