"""Papers of an order in a file of signed objects: two books become one; a modified client gains nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from recovery_stage import Room, job_in, opened, sale_in

from openstall.app.services.exchange.coming_in import ComingIn
from openstall.market.errors import ChainError
from openstall.market.orders.papers import MAX_PAPERS


def coming_in(room: Room, name: str) -> ComingIn:
    """The door of a side for files with papers only; nothing else of a node is asked for them."""
    side = room.side(name)
    none: Any = None
    return ComingIn(
        network="openstall-test-1",
        peer_id=side.host.peer_id,
        desk=side.desk,
        catalogue=none,
        negotiation=side.negotiation,
        post=none,
        inbox=none,
        mailbox=none,
        blobs=none,
        workers=side.workers,
        wake=side.engine.watch,
        take_objects=room.recovery[name].take_objects,
    )


async def papers_of(room: Room, name: str, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await room.recovery[name].signed_objects(order_id))
    return found


async def take_in(room: Room, name: str, folder: Path, *papers: Any) -> dict[str, Any]:
    head = {"format": "openstall-exchange-1", "network": "openstall-test-1", "objects": len(papers)}
    objects = [head, *({"kind": "papers", "papers": one} for one in papers)]
    lines = [json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for one in objects]
    (folder / "file").write_text("".join(f"{line}\n" for line in lines))
    progress: Any = lambda *_: None  # noqa: E731 - nobody looks
    return await coming_in(room, name).file(folder / "file", progress)


async def test_books_that_went_back_are_made_whole_by_a_file_each_way(tmp_path: Path) -> None:
    """The seller's from before most of a job; the buyer's word that it shall end has not reached it."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "running")
        lab = room.lab
        order = await lab.buyer.desk.load(order_id)
        await lab.buyer.transcripts.say(order.contract, "cancel")
        await room.damage(order_id, "seller", "older")
        told = await take_in(room, "seller", tmp_path, await papers_of(room, "buyer", order_id))
        assert (told["taken"], told["refused"]) == (1, 0), told
        told = await take_in(room, "buyer", tmp_path, await papers_of(room, "seller", order_id))
        assert (told["taken"], told["refused"]) == (1, 0), told
        both = [await papers_of(room, name, order_id) for name in ("buyer", "seller")]
        assert both[0] == both[1]
        assert len(both[0]["buyer_entries"]) == len(both[0]["seller_entries"]) == 1
        assert await room.states(order_id) in (("running", "running"), ("ended", "ended"))


async def test_a_file_of_a_modified_client_changes_no_book(tmp_path: Path) -> None:
    """Another order's transcript, another party's, a forged entry, what is nested, too many, too large."""
    async with opened(tmp_path) as room:
        first_id, other_id = await sale_in(room, "agreed"), await sale_in(room, "agreed")
        buyer = room.side("buyer")
        await buyer.transcripts.say((await buyer.desk.load(first_id)).contract, "withdraw")
        first, other = await papers_of(room, "buyer", first_id), await papers_of(room, "buyer", other_id)
        said = first["buyer_entries"][0]
        forged = {**said, "entry": {**said["entry"], "words": "I never said that."}}
        deep: dict[str, Any] = {}
        for _ in range(12):
            deep = {"a": deep}
        hostile = {
            "other_order": {**other, "buyer_entries": first["buyer_entries"]},
            "another party's": {**first, "buyer_entries": [], "seller_entries": first["buyer_entries"]},
            "forged": {**first, "buyer_entries": [forged]},
            "signed by nobody": {**first, "buyer_entries": [{**said, "signature": "A" * 86}]},
            "signatures exchanged": {**other, "buyer_signature": first["buyer_signature"]},
            "of no order": {**first, "order": {}},
            "in papers": {"kind": "papers", "papers": first},
            "nested": {**first, "report": deep},
            "too many": {**first, "buyer_entries": [said] * 5},
            "too large": {**first, "messages": [{"text": "x" * (MAX_PAPERS - 1000)}]},
        }
        before = [await papers_of(room, "seller", one) for one in (first_id, other_id)]
        told = await take_in(room, "seller", tmp_path, *hostile.values())
        taken = [name for name, one in zip(hostile, told["items"], strict=True) if one["taken"]]
        assert taken == []
        assert [await papers_of(room, "seller", one) for one in (first_id, other_id)] == before
        assert await room.states(first_id) == ("agreed", "agreed")
        told = await take_in(room, "seller", tmp_path, first)  # the honest one is taken after all that
        assert told["taken"] == 1
        assert (await room.states(first_id))[1] == "declined"


async def test_what_the_chain_would_show_waits_for_it_and_what_was_signed_does_not(tmp_path: Path) -> None:
    """Without the chain a seller heeds the buyer's signed word; a buyer that may have paid waits."""
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "agreed")
        buyer = room.side("buyer")
        await buyer.transcripts.say((await buyer.desk.load(order_id)).contract, "withdraw")
        papers = await papers_of(room, "buyer", order_id)
        for name, state in (("buyer", "agreed"), ("seller", "declined")):
            room.recovery[name].is_paid = away
            room.recovery[name].catch_up = {"sale": away}
            told = await take_in(room, name, tmp_path, papers)
            assert told["taken"] == 1
            assert told["items"][0]["words"].endswith("The chain does not answer.")
            assert (await room.side(name).desk.load(order_id)).state == state


async def away(_asked: object) -> NoReturn:
    raise ChainError("chain_away", "The chain does not answer.", "")
