"""What a modified client can do with papers, transcripts, and messages that are not due: nothing."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recovery_lab import copy_in, lose
from recovery_stage import Room, job_in, opened, sale_in
from trade_lab import NETWORK

from openstall.app.services.orders.channel_terms import channel_terms
from openstall.app.services.orders.job_wire import FromProvider
from openstall.app.services.orders.recovery_line import PROTOCOL, Ask
from openstall.ledger.channel import ChannelClient
from openstall.ledger.wallet import Wallet
from openstall.market import canonical
from openstall.market.disputes.messages import Message, sign_message
from openstall.market.errors import InvalidOrder, OpenstallError, PeerError, Refused
from openstall.market.orders.documents import sign_contract
from openstall.market.orders.papers import MAX_PAPERS, Papers, read_papers
from openstall.market.orders.protocols import Unexpected
from openstall.market.orders.transcript import next_entry
from openstall.market.schema import to_wire
from openstall.p2p.host import PeerHost

STRANGER = bytes([7]) * 32


async def books(room: Room, name: str, order_id: str) -> Any:
    """Everything that counts in a side's books of an order."""
    side = room.side(name)
    order = await side.desk.find(order_id)
    if order is None:
        return None
    paid = await side.channel.highest(order) if order.kind == "compute" else 0
    said = [one.hash for one in await side.transcripts.of(order.contract)]
    return order.state, order.contract.raw, order.buyer_signature, order.seller_signature, paid, said


async def papers_of(room: Room, name: str, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await room.recovery[name].signed_objects(order_id))
    return found


async def test_papers_are_for_those_who_have_a_part_in_the_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "delivered")
        seller = room.side("seller").host
        async with PeerHost(seed=STRANGER, network=NETWORK) as stranger:
            await stranger.connect(seller.addrs[0])
            answers = []
            for asked in (order_id, hashlib.sha256(b"none").hexdigest()):
                with pytest.raises(PeerError) as caught:
                    await stranger.request(
                        seller.peer_id, PROTOCOL, to_wire(Ask(order_id=asked)), timeout_s=10, max_response=99
                    )
                answers.append((caught.value.code, caught.value.message))
            assert answers[0] == answers[1]
            assert answers[0][0] == "no_such_order"
            with pytest.raises(PeerError) as caught:
                await stranger.request(
                    seller.peer_id, PROTOCOL, b'{"order_id":1}', timeout_s=10, max_response=99
                )
            assert caught.value.code == "bad_schema"


async def test_judges_get_neither_messages_nor_deliveries(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "disputed")
        buyer = room.side("buyer")
        await buyer.disputes.talk.say(order_id, "It is not what the card says.")
        for reader, wanted in (("seller", 1), ("arbiter", 0), ("evaluator", 0)):
            raw = await room.recovery["buyer"].line.papers.of(await buyer.desk.load(order_id), reader)
            papers, _contract = read_papers(raw)
            assert len(papers.messages) == wanted
            assert papers.deliveries == []


async def test_no_field_of_papers_can_be_changed_to_anybodys_gain(tmp_path: Path) -> None:
    """Every field of every part, in turn: refused, or nothing of it enters the books."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "ended")
        honest = await papers_of(room, "buyer", order_id)
        before = await books(room, "seller", order_id)
        assert before[4] == 45_000
        for name in Papers.__struct_fields__:
            for value in (1, "x", [1], {"a": 1}, None, "ab" * 65, 10**12, [{"entry": {}, "signature": ""}]):
                changed = canonical.encode({**honest, name: value})
                with suppress(InvalidOrder, Refused):
                    await room.recovery["seller"].take_objects(changed, "other")
                assert await books(room, "seller", order_id) == before, (name, value)
        for name in ("more", "v2"):
            with pytest.raises(InvalidOrder):
                await room.recovery["seller"].take_objects(canonical.encode({**honest, name: 1}), "other")


async def test_an_order_that_one_never_signed_is_not_entered(tmp_path: Path) -> None:
    """A buyer signs an order of its own making, and says that the seller had agreed."""
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "funded")
        honest = await papers_of(room, "buyer", order_id)
        order = (await room.side("buyer").desk.load(order_id)).contract
        await lose(room.side("seller"), order_id)
        for signature in ("", sign_contract(order, STRANGER), honest["buyer_signature"]):
            with pytest.raises((Refused, InvalidOrder)) as caught:
                await room.recovery["seller"].take_objects(
                    canonical.encode({**honest, "seller_signature": signature}), "other"
                )
            assert caught.value.code in ("not_signed_here", "bad_signature")
            assert await books(room, "seller", order_id) is None


async def test_a_voucher_is_never_lowered_nor_taken_from_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "running")
        seller = room.side("seller")
        order = await seller.desk.load(order_id)
        honest = await papers_of(room, "buyer", order_id)
        client = ChannelClient(seller.chain_lab.chain)
        channel = client.channel_id(channel_terms(order.contract))
        cases = {
            "low": client.sign(room.side("buyer").wallet, channel, 1_000),
            "above the cap": client.sign(room.side("buyer").wallet, channel, 200_000),
            "another's": client.sign(Wallet(STRANGER), channel, 60_000),
            "of another channel": client.sign(room.side("buyer").wallet, b"x" * 32, 60_000),
        }
        for name, voucher in cases.items():
            changed = honest | {
                "voucher_micro": voucher.amount_micro,
                "voucher_signature": voucher.signature.hex(),
            }
            if name == "low":
                told = await room.recovery["seller"].take_objects(canonical.encode(changed), "other")
                assert told["found"] == []
            else:
                with pytest.raises(InvalidOrder):
                    await room.recovery["seller"].take_objects(canonical.encode(changed), "other")
            assert await seller.channel.highest(order) == 45_000, name


async def test_a_party_that_says_two_things_in_one_place_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "running")
        buyer = room.side("buyer")
        contract = (await buyer.desk.load(order_id)).contract
        other = next_entry(
            contract, [], "start", author=contract.order.seller, seed=room.side("seller").seed, at=1
        )
        before = await books(room, "buyer", order_id)
        changed = await papers_of(room, "seller", order_id) | {"seller_entries": [other.as_dict()]}
        told = await room.recovery["buyer"].take_objects(canonical.encode(changed), "seller")
        assert [one["what"] for one in told["found"]] == ["two_chains"]
        assert await books(room, "buyer", order_id) == before


async def test_messages_come_back_and_none_is_signed_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "delivered")
        buyer, seller = room.side("buyer"), room.side("seller")
        await buyer.disputes.talk.say(order_id, "Is it here?")
        rows = buyer.disputes.talk.messages.of_order(order_id)
        papers = await papers_of(room, "buyer", order_id)
        forged = sign_message(
            msgspec.structs.replace(msgspec.convert(rows[0].doc, Message), text="No."), buyer.seed
        )
        for changed, kept in (
            (papers | {"messages": [papers["messages"][0] | {"more": 1}]}, 0),
            (papers | {"messages": [forged.as_dict() | {"signature": "A" * 86}]}, 0),
            (papers, 1),
        ):
            try:
                await room.recovery["seller"].take_objects(canonical.encode(changed), "buyer")
            except InvalidOrder:
                assert not kept
            assert len(seller.disputes.talk.messages.of_order(order_id)) == kept
        await lose(buyer, order_id, room.copies["buyer"][0])
        assert [one["what"] for one in (await room.recover(order_id, "buyer"))["found"]][-1] == "messages"
        await buyer.disputes.talk.say(order_id, "I ask again.")
        assert [row.seq for row in buyer.disputes.talk.messages.of_order(order_id)] == [1, 2]


async def test_a_file_that_is_no_papers_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        order_id = await sale_in(room, "funded")
        recovery, path = room.recovery["buyer"], tmp_path / "papers"
        for raw in (b"", b"{}", b"PK\x03\x04", b"[" * 10_000, b" " * (MAX_PAPERS + 9)):
            path.write_bytes(raw)
            with pytest.raises(InvalidOrder) as caught:
                await recovery.read_file(order_id, path)
            assert caught.value.code == "bad_papers"
        path.write_bytes(await recovery.signed_objects(order_id))
        with pytest.raises(InvalidOrder) as caught:
            await recovery.read_file(hashlib.sha256(b"other").hexdigest(), path)
        assert caught.value.code == "other_order"


async def test_what_is_not_due_is_refused_with_what_is(tmp_path: Path) -> None:
    """A provider that reports the end of a job that nobody has paid for, a buyer that cancels one."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "agreed")
        buyer, seller = room.side("buyer"), room.side("seller")
        order = await buyer.desk.load(order_id)
        with pytest.raises(Unexpected) as caught:
            await buyer.buyer._take(order, FromProvider(report={"report": {}, "sig": ""}), None, None)  # type: ignore[arg-type]
        assert caught.value.code == "unexpected_message"
        assert "while the order is “agreed”" in caught.value.message
        with pytest.raises(OpenstallError) as refused:
            await buyer.negotiation.cancel_job(order)
        assert refused.value.code == "unexpected_message"
        assert (await seller.desk.load(order_id)).state == "agreed"


async def test_recovery_can_be_asked_for_at_any_time(tmp_path: Path) -> None:
    """Where nothing is missing nothing changes, however often, and on whichever side."""
    async with opened(tmp_path) as room:
        order_id = await job_in(room, "ended")
        before = [await books(room, name, order_id) for name in ("buyer", "seller")]
        rows = [await copy_in(room.side(name), order_id) for name in ("buyer", "seller")]
        for _ in range(2):
            for name in ("buyer", "seller"):
                assert (await room.recover(order_id, name))["found"] == []
        assert [await books(room, name, order_id) for name in ("buyer", "seller")] == before
        assert [await copy_in(room.side(name), order_id) for name in ("buyer", "seller")] == rows
