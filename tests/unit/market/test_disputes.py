"""Messages and evidence from anybody: what is refused, and what is found out."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import msgspec
import pytest

from openstall.market import canonical, ids
from openstall.market.disputes import evidence
from openstall.market.disputes.checks import check_alone
from openstall.market.disputes.evidence import (
    MAX_BUNDLE,
    ChainEvent,
    Item,
    SignedManifest,
    Step,
    read_bundle,
    sign_manifest,
    write_bundle,
)
from openstall.market.disputes.messages import (
    MOST_CHARS,
    MOST_MESSAGES,
    Message,
    SignedMessage,
    faults,
    follows,
    read_message,
    sign_message,
)
from openstall.market.errors import Conflict, InvalidOrder
from openstall.market.orders.documents import Contract, sign_contract

BUYER, SELLER, ARBITER, STRANGER = (bytes([at]) * 32 for at in (1, 2, 3, 9))
NETWORK = "lab"
ORDER_ID = "ab" * 32
NOW = 1_790_000_000
EVENT = ChainEvent(
    contract="OrderEscrow", name="Funded", tx="0x" + "ab" * 32, block=1, index=0, args={"amount": "5"}
)


def peer(seed: bytes) -> str:
    return ids.peer_id_of_seed(seed)


def plain_message(seed: bytes = BUYER, **changes: Any) -> dict[str, Any]:
    usual = {
        "network": NETWORK,
        "order_id": ORDER_ID,
        "author": peer(seed),
        "seq": 1,
        "previous": "",
        "seen": [],
        "at": NOW,
        "text": "Hello",
    }
    return usual | changes


def said(seed: bytes = BUYER, **changes: Any) -> SignedMessage:
    return sign_message(msgspec.convert(plain_message(seed, **changes), Message), seed)


def talk(order_id: str = ORDER_ID, network: str = NETWORK) -> list[SignedMessage]:
    """Two from the buyer, one from the seller between them."""
    same = {"order_id": order_id, "network": network}
    first = said(**same)
    answer = said(SELLER, text="What is wrong?", seen=[first.hash], **same)
    last = said(seq=2, previous=first.hash, seen=[answer.hash], text="The labels.", **same)
    return [first, answer, last]


def wrong_with(found: list[SignedMessage]) -> list[str]:
    return faults(found, order_id=ORDER_ID, network=NETWORK, authors={peer(BUYER), peer(SELLER)})


def test_a_message_is_read_as_it_was_signed() -> None:
    one = said()
    again = read_message(one.as_dict()["message"], one.signature)
    assert again == one
    assert one.hash == hashlib.sha256(canonical.encode(plain_message())).hexdigest()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("bad_schema", {"text": ""}),
        ("bad_schema", {"text": "x" * (MOST_CHARS + 1)}),
        ("bad_schema", {"seq": 0}),
        ("bad_schema", {"seq": MOST_MESSAGES + 1}),
        ("bad_schema", {"previous": "AB" * 32}),
        ("bad_schema", {"seen": ["ab" * 32] * 3}),
        ("bad_schema", {"extra": 1}),
        ("bad_schema", {"order_id": "../../etc"}),
        ("bad_text", {"text": "red \x1b[31malert"}),
        ("bad_text", {"text": "abc\u202eexe.txt"}),
        ("bad_text", {"text": "null\x00byte"}),
        ("bad_text", {"text": " \u3164 "}),
        ("bad_peer_id", {"author": "x" * 50}),
    ],
)
def test_a_malformed_message_is_refused(code: str, changes: dict[str, Any]) -> None:
    value = plain_message() | changes
    signature = ids.sign(BUYER, "message", NETWORK, canonical.encode(value))
    with pytest.raises(InvalidOrder) as caught:
        read_message(value, signature)
    assert caught.value.code == code


@pytest.mark.parametrize("field", ["text", "at", "seq", "order_id", "network"])
def test_a_message_that_was_changed_or_is_anothers_is_refused(field: str) -> None:
    changed = {"text": "Good", "at": 1, "seq": 2, "order_id": "cd" * 32, "network": "other"}
    one = said()
    for value, signature in (
        (plain_message() | {field: changed[field]}, one.signature),
        (plain_message(), said(SELLER).signature),
        (plain_message(), ids.sign(BUYER, "order", NETWORK, canonical.encode(plain_message()))),
        (plain_message(), "A" * 86),
    ):
        with pytest.raises(InvalidOrder) as caught:
            read_message(value, signature)
        assert caught.value.code == "bad_signature"


def test_the_next_message_follows_and_nothing_else_does() -> None:
    first, _answer, second = talk()
    assert follows(None, first)
    assert follows(first, second)
    assert not follows(second, second)  # it came once more
    for last, new, code in (
        (None, second, "gap"),
        (first, said(seq=3, previous=second.hash), "gap"),
        (second, first, "gap"),
        (first, said(text="Something else"), "two_chains"),
        (first, said(seq=2, previous="cd" * 32), "two_chains"),
    ):
        with pytest.raises(Conflict) as caught:
            follows(last, new)
        assert caught.value.code == code
    assert follows(None, second, from_middle=True)


def test_a_talk_that_is_whole_has_no_fault() -> None:
    assert wrong_with(talk()) == []
    assert wrong_with([]) == []


def test_whoever_leaves_out_moves_or_doubles_a_message_is_found_out() -> None:
    first, answer, last = talk()
    assert wrong_with([answer, last]) == [
        "A message before this one is missing.",
        "A message that another one answers is missing.",
    ]
    assert wrong_with([first, last]) == ["A message that another one answers is missing."]
    assert wrong_with([first, answer, last, said(text="Other words")]) == [
        "Message 1 of one author is there twice."
    ]
    assert wrong_with([first, answer, said(seq=2, previous="cd" * 32)]) == [
        "The author has signed two different messages for one place."
    ]
    assert wrong_with([said(STRANGER)]) == ["A message is from somebody who is no party to the order."]
    assert wrong_with([said(order_id="cd" * 32)]) == ["A message belongs to another order."]


# --- evidence ---


@dataclasses.dataclass
class Case:
    """A sale in dispute, and what its buyer shows."""

    contract: Contract
    items: list[Item]
    opening: SignedManifest
    later: SignedManifest

    def file(self, **changes: Any) -> bytes:
        plain = canonical.decode(self.raw(), max_bytes=MAX_BUNDLE)
        return canonical.encode(plain | changes)

    def raw(self) -> bytes:
        both = (sign_contract(self.contract, BUYER), sign_contract(self.contract, SELLER))
        return write_bundle(self.contract, both, self.items, self.later, self.opening)


@pytest.fixture
def case(contract: Callable[..., Contract]) -> Case:
    made = contract("sale", buyer=peer(BUYER), seller=peer(SELLER))
    first = [Item(kind="step", doc=msgspec.to_builtins(Step(at=1, event="create", state="agreed", tx="")))]
    messages = talk(made.order_id, made.order.network)
    items = first + [Item(kind="message", doc=one.as_dict()) for one in messages]
    sign: dict[str, Any] = {"author": peer(BUYER), "seed": BUYER, "at": NOW}
    return Case(
        contract=made,
        items=items,
        opening=sign_manifest(made, items[:2], reason="The labels are wrong.", **sign),
        later=sign_manifest(made, items, **sign),
    )


def broken(raw: bytes) -> set[str]:
    """What does not hold in a file."""
    found = check_alone(read_bundle(raw), arbiter_peer=peer(ARBITER))
    return {one.what for one in found if one.holds is False}


def again(case: Case, items: list[Item]) -> bytes:
    """The file with other items, for which the buyer has signed."""
    case.items = items
    case.later = sign_manifest(case.contract, items, author=peer(BUYER), seed=BUYER, at=NOW)
    return case.raw()


def test_honest_evidence_holds_in_every_part(case: Case) -> None:
    found = read_bundle(case.raw())
    assert broken(case.raw()) == set()
    assert {one.what for one in check_alone(found, arbiter_peer=None)} == {
        "signature of the buyer",
        "signature of the seller",
        "evidence as a whole",
        "evidence of the dispute",
        "messages",
    }
    assert found.reason == "The labels are wrong."
    assert found.bundle.opening is not None
    raw = canonical.encode(msgspec.to_builtins(found.bundle.opening.manifest))
    assert found.bundle.opening.root == hashlib.sha256(raw).digest()


def test_a_forged_signature_of_a_party_does_not_hold(case: Case) -> None:
    forged = sign_contract(case.contract, STRANGER)
    assert broken(case.file(seller_signature=forged)) == {"signature of the seller"}
    assert broken(case.file(buyer_signature="")) == {"signature of the buyer"}


def test_evidence_that_is_changed_added_or_left_out_does_not_hold(case: Case) -> None:
    plain = canonical.decode(case.raw(), max_bytes=MAX_BUNDLE)
    other = {"kind": "step", "doc": {"at": 2, "event": "complete", "state": "completed", "tx": ""}}
    whole = "evidence as a whole"
    assert whole in broken(case.file(items=[other, *plain["items"][1:]]))
    assert broken(case.file(items=[*plain["items"], other])) == {whole}
    assert broken(case.file(items=list(reversed(plain["items"])))) == {whole}
    assert "evidence of the dispute" in broken(again(case, case.items[1:]))


def test_a_message_that_the_author_of_the_file_leaves_out_is_missed(case: Case) -> None:
    step, first, answer, last = case.items
    assert broken(again(case, [step, first, last])) == {"messages"}
    assert broken(again(case, [step, first, answer])) == set()  # the last one may still be on its way


def test_a_message_in_the_name_of_the_other_side_does_not_hold(case: Case) -> None:
    forged = said(STRANGER, order_id=case.contract.order_id, network=case.contract.order.network).as_dict()
    forged["message"]["author"] = peer(SELLER)
    assert broken(again(case, [*case.items, Item(kind="message", doc=forged)])) == {"messages"}


@pytest.mark.parametrize(("known", "holds"), [(peer(ARBITER), True), (None, None), (peer(STRANGER), False)])
def test_the_arbiters_messages_are_told_from_a_strangers(
    case: Case, known: str | None, holds: bool | None
) -> None:
    same = {"order_id": case.contract.order_id, "network": case.contract.order.network}
    ruling = Item(kind="message", doc=said(ARBITER, text="Show me.", **same).as_dict())
    found = read_bundle(again(case, [*case.items, ruling]))
    (one,) = [one for one in check_alone(found, arbiter_peer=known) if one.what == "messages"]
    assert one.holds is holds


def test_evidence_of_a_stranger_or_of_another_order_does_not_hold(
    case: Case, contract: Callable[..., Contract]
) -> None:
    case.later = sign_manifest(case.contract, case.items, author=peer(STRANGER), seed=STRANGER, at=NOW)
    assert "evidence as a whole" in broken(case.raw())
    other = contract("sale", buyer=peer(BUYER), seller=peer(SELLER), nonce="0" * 32)
    moved = case.file(
        order=msgspec.to_builtins(other.order),
        buyer_signature=sign_contract(other, BUYER),
        seller_signature=sign_contract(other, SELLER),
    )
    assert broken(moved) >= {"evidence as a whole", "evidence of the dispute", "messages"}


def test_assessments_and_models_have_no_place_in_a_sale(case: Case) -> None:
    plain = {"statement": {}, "signature": ""}
    assert broken(again(case, [*case.items, Item(kind="assessment", doc=plain)])) == {"assessment"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw + b" ",
        lambda _raw: b"",
        lambda _raw: b"\xff\xfe",
        lambda _raw: b"[" * 100_000,
        lambda raw: raw + b"0" * MAX_BUNDLE,
        lambda raw: raw.replace(b'"v":1', b'"v":1,"v":1'),
        lambda raw: raw.replace(b'"v":1', b'"v":2'),
        lambda raw: raw.replace(b'"kind":"step"', b'"kind":"jump"'),
        lambda raw: raw.replace(b'"kind":"step"', b'"kind":"event"'),
        lambda raw: raw.replace(b'"kind":"message"', b'"kind":"record"'),
        lambda raw: raw.replace(b"The labels are wrong.", b"\\u001b[31mThe labels"),
    ],
)
def test_a_file_that_is_cut_padded_or_malformed_is_refused(
    case: Case, spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(InvalidOrder) as caught:
        read_bundle(spoil(case.raw()))
    assert caught.value.code == "bad_evidence"


def test_a_file_is_measured_before_it_is_read(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = case.raw()
    monkeypatch.setattr(evidence, "MAX_BUNDLE", len(raw))
    assert case.raw() == read_bundle(raw).raw
    monkeypatch.setattr(evidence, "MAX_BUNDLE", len(raw) - 1)
    with pytest.raises(InvalidOrder) as caught:
        read_bundle(raw)
    assert caught.value.code == "bad_evidence"
    with pytest.raises(InvalidOrder) as caught:
        case.raw()
    assert caught.value.code == "too_large"


def test_what_a_bundle_cannot_hold_is_said_before_it_is_signed(case: Case) -> None:
    with pytest.raises(InvalidOrder) as caught:
        sign_manifest(
            case.contract, case.items[:1] * (evidence.MOST_ITEMS + 1), author=peer(BUYER), seed=BUYER, at=NOW
        )
    assert caught.value.code == "too_large"


def test_an_archive_is_no_evidence(case: Case) -> None:
    """Nothing is ever unpacked: names that lead elsewhere, and bombs, have nothing to work on."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil", case.raw())
        archive.writestr("zeros", bytes(50 * 1024 * 1024))
    with pytest.raises(InvalidOrder) as caught:
        read_bundle(file.getvalue())
    assert caught.value.code == "bad_evidence"


@pytest.mark.parametrize("field", ["order", "reason"])
def test_what_is_shown_of_a_file_can_be_seen(case: Case, field: str) -> None:
    plain = canonical.decode(case.raw(), max_bytes=MAX_BUNDLE)
    if field == "order":
        plain["order"]["terms"]["title"] = "a\u202eb"
    else:
        plain["opening"]["manifest"]["reason"] = "a\u2066b"
    with pytest.raises(InvalidOrder):
        read_bundle(canonical.encode(plain))


def test_nothing_that_a_stranger_writes_into_a_file_breaks_its_reader(case: Case) -> None:
    """Whatever value stands wherever: the file is refused, or each part of it is found to hold or not."""
    chance = random.Random(7)
    junk: list[Any] = [None, True, -1, 2**53 - 1, "", "x" * 86, "é" * 86, "ab" * 32, [], {}, [{}], {"a": 1}]
    case.items += [
        Item(kind="record", doc={"record": {"issued": 1}, "sig": ""}),
        Item(kind="delivery", doc={"request": "x"}),
        Item(kind="assessment", doc={"statement": {"_type": "x"}, "signature": "zz"}),
        Item(kind="event", doc=msgspec.to_builtins(EVENT)),
    ]
    whole = again(case, case.items)
    refused = 0
    for _ in range(400):
        plain = canonical.decode(whole, max_bytes=MAX_BUNDLE)
        spots = list(places(plain))
        for holder, key in chance.sample(spots, chance.randint(1, 3)):
            holder[key] = chance.choice(junk)
        try:
            found = read_bundle(canonical.encode(plain))
        except InvalidOrder:
            refused += 1
            continue
        assert any(one.holds is False for one in check_alone(found, arbiter_peer=None))
    assert 0 < refused < 400


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a JSON value, as what holds it and its key there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inside):
        yield value, key
        yield from places(one)


@pytest.mark.parametrize(
    "args", [{"a\n": "1"}, {"a": "x\u202e"}, {"a": "1" * 4001}, {"a" * 50: "1"}, {"": "1"}]
)
def test_an_event_with_arguments_that_no_chain_has_is_refused(case: Case, args: dict[str, str]) -> None:
    doc = msgspec.to_builtins(EVENT) | {"args": args}
    with pytest.raises(InvalidOrder) as caught:
        read_bundle(again(case, [*case.items, Item(kind="event", doc=doc)]))
    assert caught.value.code == "bad_evidence"
