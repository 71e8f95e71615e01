"""Messages, evidence and calls between real peers on a real chain; the test moves the clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from custom_lab import EVALUATE_S, REVIEW_S, CustomLab, Maker, custom_lab

from openstall.app.services.disputes import wire
from openstall.app.services.disputes.calling import waits_to_call
from openstall.app.services.disputes.checking import EvidenceCheck
from openstall.market import canonical, ids
from openstall.market.disputes.evidence import MAX_BUNDLE, read_bundle
from openstall.market.disputes.messages import MOST_CHARS, Message, sign_message
from openstall.market.errors import ChainError, Conflict, InvalidOrder, NotFound, OpenstallError
from openstall.market.schema import to_wire
from openstall.p2p.exchange import RefusedByPeer
from openstall.store.database import Store
from openstall.store.disputes import Messages


async def disputed(lab: CustomLab) -> str:
    """An order whose model missed; its developer has called the arbiter, and everybody has seen it."""
    order_id = await missed(lab)
    await lab.ada.made_to_order.dispute(await lab.ada.desk.load(order_id), "Measured wrongly.")
    await lab.see(order_id)
    assert await lab.states(order_id) == {"disputed"}
    return order_id


async def missed(lab: CustomLab) -> str:
    order_id = await lab.submitted(35)
    await lab.judged(order_id)
    return order_id


@asynccontextmanager
async def sending(*sides: Maker) -> AsyncIterator[None]:
    """These nodes send what waits."""
    async with trio.open_nursery() as nursery:
        for side in sides:
            nursery.start_soon(side.disputes.talk.run)
        yield
        nursery.cancel_scope.cancel()


async def until_read(side: Maker, order_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until a node has so many messages."""
    async with side.bus.subscribe() as events:
        while True:
            found: list[dict[str, Any]] = (await side.disputes.talk.view(order_id))["items"]
            if len(found) >= count:
                return found
            await events.receive()


async def refused(asker: Maker, other: Maker, ask: wire.Ask) -> str:
    with pytest.raises(RefusedByPeer) as caught:
        await asker.host.request(
            other.host.peer_id, wire.PROTOCOL, to_wire(ask), timeout_s=10, max_response=MAX_BUNDLE
        )
    return caught.value.code


def ask_to_say(
    side: Maker, order_id: str, seed: bytes | None = None, about: str = "", **changes: Any
) -> wire.Ask:
    """What a modified client would send."""
    usual = {
        "network": "lab",
        "order_id": about or order_id,
        "author": side.host.peer_id,
        "seq": 1,
        "previous": "",
        "seen": [],
        "at": 1,
        "text": "Hello",
    }
    plain = usual | {"network": side.party.network} | changes
    signature = ids.sign(seed or side.seed, "message", plain["network"], canonical.encode(plain))
    return wire.Ask(do="say", order_id=order_id, message=plain, signature=signature)


async def test_what_is_said_arrives_in_order_and_the_arbiter_reads_on_from_the_dispute(
    tmp_path: Path,
) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await missed(lab)
        async with sending(lab.buyer, lab.ada, lab.arbiter):
            await lab.buyer.disputes.talk.say(order_id, "Too many are wrong.")
            await until_read(lab.ada, order_id, 1)
            assert (await lab.ada.disputes.talk.unread()) == {order_id: 1}
            await lab.ada.disputes.talk.mark_read(order_id)
            assert (await lab.ada.disputes.talk.unread()) == {}
            with pytest.raises(Conflict) as caught:
                await lab.arbiter.disputes.talk.say(order_id, "I look at it.")
            assert caught.value.code == "no_dispute"
            await lab.ada.made_to_order.dispute(await lab.ada.desk.load(order_id), "Measured wrongly.")
            await lab.see(order_id)
            await lab.ada.disputes.talk.say(order_id, "The rows are strange.")
            await until_read(lab.buyer, order_id, 2)
            await lab.buyer.disputes.talk.say(order_id, "They are real.\nLook at row 4.")
            seen = await until_read(lab.arbiter, order_id, 2)
            assert [(one["by"], one["text"]) for one in seen] == [
                ("developer", "The rows are strange."),
                ("buyer", "They are real.\nLook at row 4."),
            ]
            await lab.arbiter.disputes.talk.say(order_id, "Send me row 4.")
            for side in (lab.buyer, lab.ada):
                page = await until_read(side, order_id, 4)
                assert [one["by"] for one in page] == ["buyer", "developer", "buyer", "arbiter"]


async def test_a_message_waits_on_disk_for_a_peer_that_is_away(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        await lab.buyer.disputes.talk.say(order_id, "Is it ready?")
        held = Messages(Store(lab.buyer.folder / "store.sqlite"))  # as after a kill
        assert held.due() == [(order_id, lab.ada.host.peer_id)]
        page = await lab.buyer.disputes.talk.view(order_id)
        assert [one["waits"] for one in page["items"]] == [True]
        async with sending(lab.buyer):
            await until_read(lab.ada, order_id, 1)
            async with lab.buyer.bus.subscribe() as events:
                while held.due():
                    await events.receive()


@pytest.mark.parametrize("words", ["", " \n ", "\u200b", "x" * (MOST_CHARS + 1)])
async def test_what_cannot_be_read_is_not_sent(tmp_path: Path, words: str) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        with pytest.raises(InvalidOrder) as caught:
            await lab.buyer.disputes.talk.say(order_id, words)
        assert caught.value.code == "bad_text"
        await lab.buyer.disputes.talk.say(order_id, "red \x1b[31malert\u202e")
        (one,) = (await lab.buyer.disputes.talk.view(order_id))["items"]
        assert one["text"] == "red  [31malert"


async def test_a_modified_client_can_neither_forge_nor_reorder_nor_listen(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        buyer, ada, ben, arbiter = lab.buyer, lab.ada, lab.ben, lab.arbiter
        cases = [
            (ben, ask_to_say(ben, order_id), "no_such_order"),  # a stranger to the order
            (lab.evaluators[0], ask_to_say(lab.evaluators[0], order_id), "no_such_order"),
            (buyer, ask_to_say(buyer, order_id, author=arbiter.host.peer_id), "bad_signature"),
            (buyer, ask_to_say(arbiter, order_id, seed=arbiter.seed), "not_the_author"),
            (buyer, ask_to_say(buyer, order_id, seed=ben.seed), "bad_signature"),
            (buyer, ask_to_say(buyer, order_id, about="ab" * 32), "not_the_author"),
            (buyer, ask_to_say(buyer, order_id, network="other"), "other_network"),
            (buyer, ask_to_say(buyer, order_id, seq=2, previous="ab" * 32), "gap"),
            (buyer, ask_to_say(buyer, order_id, text="\x1b[2J"), "bad_text"),
        ]
        for asker, ask, code in cases:
            assert await refused(asker, ada, ask) == code
        await buyer.host.request(
            ada.host.peer_id,
            wire.PROTOCOL,
            to_wire(ask_to_say(buyer, order_id)),
            timeout_s=10,
            max_response=2,
        )
        other = ask_to_say(buyer, order_id, text="I never said that")
        assert await refused(buyer, ada, other) == "two_chains"
        assert await refused(buyer, arbiter, ask_to_say(buyer, order_id)) == "unexpected_message"
        wanted = wire.Ask(do="evidence", order_id=order_id, message={}, signature="")
        assert await refused(arbiter, ada, wanted) == "unexpected_message"
        assert await refused(ben, ada, wanted) == "no_such_order"
        assert await refused(buyer, ada, wanted) == "no_such_order"
        assert [one["text"] for one in (await ada.disputes.talk.view(order_id))["items"]] == ["Hello"]


async def test_a_flood_of_messages_ends_at_the_rate(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        ask = ask_to_say(lab.buyer, order_id, seq=2, previous="ab" * 32)
        codes = [await refused(lab.buyer, lab.ada, ask) for _ in range(25)]
        assert codes[0] == "gap"
        assert codes[-1] == "too_many_requests"


async def test_both_sides_show_their_evidence_to_the_arbiter_by_themselves(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await disputed(lab)
        await lab.buyer.disputes.talk.say(order_id, "It is worthless to me.")
        await lab.arbiter.disputes.gathering.gather(await lab.arbiter.desk.load(order_id))
        view = await lab.arbiter.disputes.gathering.view(order_id)
        buyer, seller = view["items"]
        assert [one["by"] for one in view["items"]] == ["buyer", "seller"]
        assert (buyer["reason"], seller["reason"]) == ("", "Measured wrongly.")
        wrong = [one for side in view["items"] for one in side["findings"] if one["holds"] is False]
        assert wrong == []
        assert buyer["holds"]
        assert seller["holds"]
        (named,) = [one for one in seller["findings"] if one["what"] == "hash of the dispute"]
        assert named["holds"] is True
        assert {
            "deliveries",
            "assessments",
            "signatures of the evaluators",
            "hand-in",
            "escrow",
            "chain",
        } <= {one["what"] for one in seller["findings"]}
        assert (await lab.buyer.disputes.gathering.view(order_id))["items"] == []


async def test_the_arbiter_gets_one_sides_evidence_when_the_other_is_gone(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await disputed(lab)
        await lab.cut_off(lab.ada)
        await lab.arbiter.disputes.gathering.gather(await lab.arbiter.desk.load(order_id))
        (shown,) = (await lab.arbiter.disputes.gathering.view(order_id))["items"]
        assert (shown["by"], shown["holds"]) == ("buyer", True)
        with pytest.raises(NotFound):
            await lab.arbiter.disputes.evidence.save(order_id, tmp_path / "theirs", "seller")
        saved = await lab.arbiter.disputes.evidence.save(order_id, tmp_path / "buyers", "buyer")
        assert saved["root"] == shown["root"]


async def test_the_file_holds_everything_and_no_key(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.judged(order_id)
        await lab.ada.step(order_id)
        await lab.buyer.step(order_id)
        await lab.ada.disputes.talk.say(order_id, "I hope that you like it.")
        for side in (lab.buyer, lab.ada):
            path = tmp_path / side.folder.name
            path = path.with_name(f"{path.name}.evidence")
            saved = await side.disputes.evidence.save(order_id, path, "")
            found = read_bundle(path.read_bytes())
            kinds = {item.kind for item in found.bundle.items}
            assert kinds >= {"step", "event", "delivery", "assessment", "record"}
            assert saved["items"] == len(found.bundle.items)
            checked = await lab.ben.disputes.check.file(path)  # anybody can
            assert checked["holds"], checked["findings"]
            alone = EvidenceCheck(facts=None, catalogue=None, workers=side.workers)
            without = await alone.file(path)  # by a node that is in no group
            assert without["holds"]
            assert {one["what"]: one["holds"] for one in without["findings"]}["chain"] is None
            text = path.read_text()
            attempt_key = lab.ada.custom.hand_in.key(await lab.ada.desk.load(order_id), 1).hex()
            sealed = next(
                event for event in await _raw_events(lab, order_id) if event.name == "HandedOver"
            ).args["sealedKey"]
            for secret in (attempt_key, bytes(sealed).hex(), side.seed.hex(), "salt", "good,", ",bad"):
                assert secret not in text
            with pytest.raises(Conflict) as caught:
                await side.disputes.evidence.save(order_id, path, "")
            assert caught.value.code == "file_exists"


async def _raw_events(lab: CustomLab, order_id: str) -> Any:
    chain = lab.trade.chain.chain
    key = lab.buyer.custom.models.key((await lab.order(order_id)).contract)
    return chain.events("ModelEscrow", [None, "0x" + key.hex()], from_block=0, to_block=chain.head().number)


async def test_what_a_liar_puts_into_its_evidence_does_not_hold(tmp_path: Path) -> None:
    """It signs for an event that never was, another's assessment, a model never handed in."""
    async with custom_lab(tmp_path) as lab:
        order_id = await disputed(lab)
        order = await lab.ada.desk.load(order_id)
        honest = read_bundle(await lab.ada.disputes.evidence.bundle(order))
        check = lab.ben.disputes.check

        async def wrong(change: Any) -> set[str]:
            """What does not hold once the developer has signed for changed items."""
            plain = [msgspec.to_builtins(item) for item in honest.bundle.items]
            change(plain)
            lies = _signed_again(lab.ada, honest, plain)
            return {one.what for one in await check.findings(read_bundle(lies)) if one.holds is False}

        def of(kind: str, plain: list[dict[str, Any]]) -> dict[str, Any]:
            doc: dict[str, Any] = next(item for item in plain if item["kind"] == kind)["doc"]
            return doc

        assert await wrong(lambda _plain: None) == set()
        late = "evidence of the dispute"  # what the chain's hash names is changed, too
        assert await wrong(lambda plain: of("event", plain).update(block=1)) == {late, "chain"}
        assert await wrong(lambda plain: of("assessment", plain).update(signature="00" * 65)) == {
            late,
            "signatures of the evaluators",
        }
        assert await wrong(lambda plain: of("assessment", plain)["statement"]["predicate"].update(at=1)) == {
            late,
            "signatures of the evaluators",
        }
        assert await wrong(lambda plain: of("delivery", plain).update(key_sha256="00" * 32)) == {
            late,
            "hand-in",
        }


def _signed_again(side: Maker, honest: Any, items: list[dict[str, Any]]) -> bytes:
    from openstall.market.disputes.evidence import Item, sign_manifest, write_bundle

    made = [msgspec.convert(item, Item) for item in items]
    manifest = sign_manifest(
        honest.contract, made, author=side.host.peer_id, seed=side.seed, at=side.desk.now()
    )
    both = (honest.bundle.buyer_signature, honest.bundle.seller_signature)
    return write_bundle(honest.contract, both, made, manifest, honest.bundle.opening)


async def test_an_arbiter_sees_when_a_side_hides_what_it_wrote_to_it(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await disputed(lab)
        async with sending(lab.buyer):
            await lab.buyer.disputes.talk.say(order_id, "I admit that it works.")
            await until_read(lab.arbiter, order_id, 1)
        order = await lab.buyer.desk.load(order_id)
        found = read_bundle(await lab.buyer.disputes.evidence.bundle(order))
        plain = [msgspec.to_builtins(item) for item in found.bundle.items if item.kind != "message"]
        lab.trade.clock.ahead_s += 5
        hidden = _signed_again(lab.buyer, found, plain)
        lab.arbiter.disputes.gathering.books.keep(order_id, lab.buyer.host.peer_id, hidden, at=1)
        (shown,) = (await lab.arbiter.disputes.gathering.view(order_id))["items"]
        assert not shown["holds"]
        assert [one["what"] for one in shown["findings"] if one["holds"] is False] == ["messages to you"]


async def test_a_side_cannot_show_the_arbiter_another_order_or_anothers_evidence(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await disputed(lab)
        order = await lab.arbiter.desk.load(order_id)
        theirs = await lab.ada.disputes.evidence.bundle(await lab.ada.desk.load(order_id))

        async def show(_order: Any) -> bytes:
            return theirs

        lab.buyer.disputes.talk.show = show
        await lab.arbiter.disputes.gathering.gather(order)
        shown = (await lab.arbiter.disputes.gathering.view(order_id))["items"]
        assert [one["by"] for one in shown] == ["seller"]


@contextmanager
def chain_away(lab: CustomLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The host of the chain cannot be reached."""

    def silent(*_call: Any) -> Any:
        raise ChainError("chain_unreachable", "The chain is away.", "")

    with monkeypatch.context() as patch:
        patch.setattr(lab.trade.chain.chain, "_transport", silent)
        yield


@pytest.mark.parametrize("caller", ["buyer", "ada"])
async def test_the_arbiter_is_called_while_the_chain_is_away_and_the_call_goes_out_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: str
) -> None:
    async with custom_lab(tmp_path) as lab:
        if caller == "buyer":
            order_id = await lab.submitted(40)
            await lab.judged(order_id)
            await lab.ada.step(order_id)
            await lab.buyer.step(order_id)
        else:
            order_id = await missed(lab)
        side: Maker = getattr(lab, caller)
        with chain_away(lab, monkeypatch):
            await side.made_to_order.dispute(await side.desk.load(order_id), "It is not what I need.")
            order = await side.desk.load(order_id)
            assert waits_to_call(order)
            with pytest.raises(OpenstallError) as caught:
                await side.step(order_id)
            assert caught.value.code == "chain_unreachable"
            frozen = side.disputes.evidence.books.of(order_id, side.host.peer_id)
        assert (await side.step(order_id)).state == "disputed"  # without anybody's click
        assert not waits_to_call(await side.desk.load(order_id))
        assert side.disputes.evidence.books.of(order_id, side.host.peer_id) == frozen
        await lab.see(order_id)
        await lab.arbiter.disputes.gathering.gather(await lab.arbiter.desk.load(order_id))
        shown = (await lab.arbiter.disputes.gathering.view(order_id))["items"]
        (mine,) = [one for one in shown if one["reason"]]
        assert mine["reason"] == "It is not what I need."
        assert mine["holds"], mine["findings"]
        assert {"what": "hash of the dispute", "holds": True}.items() <= next(
            one for one in mine["findings"] if one["what"] == "hash of the dispute"
        ).items()


async def test_a_call_over_a_state_that_is_gone_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain came back after the review time: the money has gone its way, and the node says no more."""
    async with custom_lab(tmp_path) as lab:
        order_id = await missed(lab)
        with chain_away(lab, monkeypatch):
            await lab.ada.made_to_order.dispute(await lab.ada.desk.load(order_id), "Measured wrongly.")
        lab.pass_to(lab.now() + REVIEW_S + 40_000)
        await lab.buyer.step(order_id)
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"refunded"}
        assert not waits_to_call(await lab.ada.desk.load(order_id))


async def test_a_call_over_silent_evaluators_is_not_sent_once_they_have_spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        lab.pass_to(lab.now() + EVALUATE_S)
        with chain_away(lab, monkeypatch):
            await lab.buyer.made_to_order.dispute(await lab.buyer.desk.load(order_id), "No verdict came.")
        assert waits_to_call(await lab.buyer.desk.load(order_id))
        await lab.measured(order_id)
        await lab.ada.step(order_id)  # the developer was the first to see the chain again
        assert (await lab.buyer.step(order_id)).state == "passed"
        await lab.ada.step(order_id)
        order = await lab.buyer.step(order_id)
        assert (order.state, order.data["verified"]) == ("delivered", True)
        assert not waits_to_call(order)


def test_a_message_is_made_of_the_same_words_everywhere() -> None:
    """The bytes that are signed do not depend on how this program keeps them."""
    seed = bytes([5]) * 32
    message = Message(
        network="n",
        order_id="ab" * 32,
        author=ids.peer_id_of_seed(seed),
        seq=1,
        previous="",
        seen=[],
        at=1,
        text="Grüße",
    )
    signed = sign_message(message, seed)
    plain = json.loads(json.dumps(signed.as_dict()["message"]))
    ids.verify(message.author, signed.signature, "message", "n", canonical.encode(plain))
