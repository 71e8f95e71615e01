"""What the parties of a model made to order, and strangers, can get out of one another's nodes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from custom_asks import NOBODY, STRANGER, ask, refusal
from custom_lab import CustomLab, Maker, custom_lab

from openstall.app.services.custom import trials, wire
from openstall.ledger.model_escrow import ModelEscrowClient, Verdict
from openstall.market import canonical
from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.orders.documents import write_contract
from openstall.market.requests.assessment import MAX_STATEMENT, statement_hash


async def test_strangers_and_the_wrong_party_learn_nothing(tmp_path: Path) -> None:
    """Whether an order exists is not told, nor is anything of it: the words are the same as for no order."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        verdict = {"attempt": 1, "statement": "e30=", "signature": "ab" * 65}
        for do, more in (("delivery", {"attempt": 1}), ("rows", {}), ("training", {}), ("verdict", verdict)):
            for asked in (lab.buyer, lab.ada, lab.evaluators[0], lab.arbiter):
                assert await refusal(lab.ben, asked, do=do, order_id=order_id, **more) == STRANGER
            assert await refusal(lab.ben, lab.ada, do=do, order_id=NOBODY, **more) == STRANGER
        for asker, asked, do in (
            (lab.ada, lab.buyer, "rows"),  # the developer never sees them
            (lab.arbiter, lab.buyer, "rows"),
            (lab.arbiter, lab.ada, "delivery"),
            (lab.buyer, lab.ada, "rows"),
            (lab.evaluators[0], lab.buyer, "training"),
            (lab.buyer, lab.evaluators[0], "rows"),
            (lab.evaluators[0], lab.evaluators[1], "delivery"),
        ):
            assert await refusal(asker, asked, do=do, order_id=order_id) == STRANGER, (do, asked.folder.name)
        for party in (lab.ada, lab.buyer, lab.arbiter):  # a party's own word is no verdict
            asked = lab.buyer if party is lab.ada else lab.ada
            assert await refusal(party, asked, do="verdict", order_id=order_id, **verdict) == STRANGER


async def test_the_key_goes_to_evaluators_and_only_while_they_measure(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        one = lab.evaluators[0]
        await lab.ada.hand_in(order_id, 40)
        shown = {"do": "delivery", "order_id": order_id, "attempt": 1}
        for asker in (lab.buyer, one):  # not on the chain yet
            assert (await refusal(asker, lab.ada, **shown))[0] == "nothing_there"
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert (await ask(lab.buyer, lab.ada, **shown))["key"] == ""
        answer = await ask(one, lab.ada, **shown)
        assert bytes.fromhex(answer["key"]) == lab.ada.custom.hand_in.key(await ada_has(lab, order_id), 1)
        assert (await refusal(one, lab.ada, do="delivery", order_id=order_id, attempt=2))[
            0
        ] == "nothing_there"
        await lab.judged(order_id)
        assert await lab.states(order_id) == {"passed"}
        for asker in (lab.buyer, *lab.evaluators):
            assert (await ask(asker, lab.ada, **shown))["key"] == ""


async def ada_has(lab: CustomLab, order_id: str) -> Any:
    return await lab.ada.desk.load(order_id)


async def test_an_evaluator_who_buys_gets_no_key_as_a_buyer_does_not(tmp_path: Path) -> None:
    """The buyer's own machine measures: it is named as an evaluator, and that is all that counts."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40, evaluators=(lab.evaluators[1].wallet.address,))
        shown = {"do": "delivery", "order_id": order_id, "attempt": 1}
        assert (await ask(lab.buyer, lab.ada, **shown))["key"] == ""
        assert await refusal(lab.evaluators[0], lab.ada, **shown) == STRANGER
        assert (await ask(lab.evaluators[1], lab.ada, **shown))["key"] != ""


async def test_rows_are_given_out_once_the_price_is_in_escrow(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.won(await lab.ask(), ada=20_000_000)
        await lab.buyer.step(order_id)
        one = lab.evaluators[0]
        assert (await refusal(one, lab.buyer, do="rows", order_id=order_id))[0] == "unexpected_message"
        await lab.buyer.step(order_id)
        rows = await ask(one, lab.buyer, do="rows", order_id=order_id)
        cid = rows["blob"]["cid"]
        assert lab.buyer.access.allowed(cid, one.host.peer_id)
        for other in (lab.ada, lab.ben, lab.evaluators[1], lab.arbiter):
            assert not lab.buyer.access.allowed(cid, other.host.peer_id)


async def test_messages_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        one = lab.evaluators[0]
        good: dict[str, Any] = {"do": "delivery", "order_id": order_id, "attempt": 1}
        assert (await ask(one, lab.ada, **good))["key"]
        for wrong in (
            {"do": "give"},
            {"order_id": "../../etc"},
            {"attempt": -1},
            {"attempt": 17},
            {"attempt": "1"},
            {"statement": 7},
            {"statement": "A" * (32 * 1024 + 4)},
            {"signature": "ab"},
            {"signature": "AB" * 65},
            {"more": 1},
        ):
            code, _words = await refusal(one, lab.ada, **(good | wrong))
            assert code == "bad_schema", (code, wrong)
        with pytest.raises(PeerError):
            await ask(one, lab.ada, **good, statement="A" * wire.MAX_ASK)
        with pytest.raises(PeerError):
            await one.host.request(
                lab.buyer.host.peer_id,
                wire.PROTOCOL,
                b"[" * 2_000,
                timeout_s=10,
                max_response=wire.MAX_ANSWER,
            )


class Forger:
    """An evaluator that signs what it should not."""

    def __init__(self, lab: CustomLab, order: Any, signer: Maker) -> None:
        self.lab, self.order, self.signer = lab, order, signer
        entry = order.data[f"verdict 1 {signer.wallet.address.lower()}"]
        self.raw = base64.b64decode(entry["statement"])
        self.signature = bytes.fromhex(entry["signature"])

    def changed(self, **changes: Any) -> bytes:
        """The statement with other words in its predicate."""
        document: dict[str, Any] = canonical.decode(self.raw)
        document["predicate"] |= changes
        return canonical.encode(document)

    def signed(self, raw: bytes, *, by: Maker | None = None, **verdict: Any) -> dict[str, Any]:
        """The message with a right signature on that statement."""
        values: dict[str, Any] = {
            "key": self.lab.buyer.custom.models.key(self.order.contract),
            "model_hash": bytes.fromhex(self.order.data["model_hash"]),
            "attempt": 1,
            "passed": canonical.decode(raw)["predicate"]["passed"],
            "report_hash": bytes.fromhex(statement_hash(raw)),
        }
        client = ModelEscrowClient(self.lab.trade.chain.chain)
        signature = client.sign((by or self.signer).wallet, Verdict(**(values | verdict)))
        return self.message(raw, signature)

    def message(self, raw: bytes, signature: bytes) -> dict[str, Any]:
        return {
            "do": "verdict",
            "order_id": self.order.order_id,
            "attempt": 1,
            "statement": base64.b64encode(raw).decode(),
            "signature": signature.hex(),
        }


async def test_verdicts_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        one, other, _ = lab.evaluators
        await one.step(order_id)
        await other.step(order_id)
        forger = Forger(lab, await one.desk.load(order_id), one)
        theirs = Forger(lab, await other.desk.load(order_id), other)
        await lab.buyer.desk.patch(order_id, **{f"verdict 1 {one.wallet.address.lower()}": None})
        for code, message in (
            ("not_an_evaluator", forger.message(forger.raw, theirs.signature)),
            ("not_an_evaluator", forger.signed(forger.raw, by=lab.ben)),
            ("not_an_evaluator", forger.signed(theirs.raw)),
            ("not_an_evaluator", forger.signed(forger.raw, passed=True)),
            ("not_an_evaluator", forger.signed(forger.raw, attempt=2)),
            ("not_an_evaluator", forger.signed(forger.raw, model_hash=bytes(32))),
            ("bad_statement", forger.signed(forger.changed(passed=True))),
            ("bad_statement", forger.signed(forger.changed(figures=[]))),
            ("bad_statement", forger.signed(forger.changed(note="x" * MAX_STATEMENT))),
            ("bad_statement", forger.signed(forger.changed(note=""))),
            ("bad_statement", forger.message(b"%", forger.signature) | {"statement": "%%%%"}),
            ("other_assessment", forger.signed(forger.changed(threshold="0.5", passed=True))),
            ("other_assessment", forger.signed(forger.changed(attempt=2))),
            ("other_assessment", forger.signed(forger.changed(rows_root="00" * 32))),
            ("other_assessment", forger.signed(forger.changed(request="00" * 32))),
            ("other_assessment", forger.signed(other_model(forger.raw))),
            ("not_now", forger.signed(forger.raw) | {"attempt": 2}),
        ):
            assert (await refusal(one, lab.buyer, **message))[0] == code, message
        entries = {name for name in (await lab.order(order_id)).data if name.startswith("verdict")}
        assert entries == {f"verdict 1 {other.wallet.address.lower()}"}
        await ask(one, lab.buyer, **forger.message(forger.raw, forger.signature))
        assert len((await lab.order(order_id)).data) > len(entries)


def other_model(raw: bytes) -> bytes:
    document: dict[str, Any] = canonical.decode(raw)
    document["subject"][0]["digest"]["sha256"] = "00" * 32
    return canonical.encode(document)


async def test_a_verdict_of_one_order_is_none_of_another(tmp_path: Path) -> None:
    """Both orders are between the same two, with the same rows and the same model."""
    async with custom_lab(tmp_path) as lab:
        first, second = await lab.submitted(40), await lab.submitted(40)
        one = lab.evaluators[0]
        await one.step(first)
        forger = Forger(lab, await one.desk.load(first), one)
        message = forger.message(forger.raw, forger.signature) | {"order_id": second}
        assert (await refusal(one, lab.buyer, **message))[0] == "other_assessment"


async def test_after_the_verdict_no_more_is_taken(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(35)
        await lab.judged(order_id)
        one = lab.evaluators[0]
        forger = Forger(lab, await one.desk.load(order_id), one)
        assert (await refusal(one, lab.buyer, **forger.signed(forger.raw)))[0] == "not_now"


async def test_a_copy_of_an_order_goes_to_its_judges_alone(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order = await lab.order(await lab.funded())
        message = {
            "do": "copy",
            "order": msgspec.to_builtins(order.contract.order),
            "buyer_signature": order.buyer_signature,
            "seller_signature": order.seller_signature,
        }
        with pytest.raises(Exception, match="neither arbiter nor evaluator"):
            await lab.buyer.negotiation._ask(lab.ben.host.peer_id, message)
        assert await lab.ben.desk.find(order.order_id) is None
        assert write_contract(order.contract.order).order_id == order.order_id


async def test_an_evaluator_that_has_not_agreed_is_not_troubled(tmp_path: Path) -> None:
    """Anybody can name any wallet; the order is offered again, in case its user agrees in time."""
    async with custom_lab(tmp_path) as lab:
        unwilling, *others = lab.evaluators
        await unwilling.custom.willing.set(on=False)
        order_id = await lab.won(await lab.ask(), ada=20_000_000)
        await lab.buyer.step(order_id)
        await lab.buyer.step(order_id)
        assert await unwilling.desk.find(order_id) is None
        assert [await other.state(order_id) for other in others] == ["agreed", "agreed"]
        await unwilling.custom.willing.set(on=True)
        lab.ada.negotiation._copy_at.clear()  # it is looked for no more often than every few seconds
        await lab.ada.step(order_id)
        assert await unwilling.state(order_id) == "agreed"


async def test_files_that_no_evaluation_needs_are_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        one = lab.evaluators[0]
        blob = (await lab.ada.desk.load(order_id)).data["handed_in"]["1"]["doc"]["blob"]["cid"]
        for name in ("MOST_BYTES", "MOST_ROWS_BYTES"):
            with monkeypatch.context() as patched:
                patched.setattr(trials, name, 1)
                with pytest.raises(InvalidOrder) as caught:
                    await one.step(order_id)
            assert caught.value.code == "too_large"
            assert one.sandbox.measured == 0
            assert not one.blobs.have(blob)
        await one.step(order_id)
        assert one.blobs.have(blob)
