"""Letters between real hosts: what travels, what is refused, and what a modified client can do."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

import pytest
import trio
from mail_lab import NETWORK, ORDER_ID, TALK, Correspondent, MailLab, mail_lab, saying, soon
from nacl.bindings import sodium_pad

from openstall.app.services.mailbox.sealed import seal
from openstall.market import canonical, ids
from openstall.market.errors import Conflict, InvalidOrder, PeerError, Refused
from openstall.market.letters import CONTEXT, Letter, write_letter
from openstall.p2p import mailbox as wire
from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.limits import Rate
from openstall.store.mailbox import KeptLetter, Quotas
from openstall.store.outbox import POSTED

DAY = 86_400


def sealed(lab: MailLab, author: Correspondent, to: Correspondent, **changes: Any) -> bytes:
    """A letter as a modified client writes it."""
    now = lab.clock.now()
    fields: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "network": NETWORK,
        "sender": author.peer_id,
        "recipient": to.peer_id,
        "written": now,
        "expires": now + DAY,
        "protocol": TALK,
        "answers": "",
        "body": base64.b64encode(saying(1)).decode(),
    }
    return seal(write_letter(Letter(**{**fields, **changes}), author.seed), to.peer_id)


async def put(author: Correspondent, box: Correspondent, to: Correspondent, raw: bytes, expires: int) -> None:
    await wire.put(author.host, box.peer_id, to=to.peer_id, expires=expires, sealed=raw)


async def test_a_letter_and_its_answer_while_never_both_are_on(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        lab.bob.says = lambda: b'{"ok":1}'
        await lab.on(lab.ann, lab.mia)
        for n in (1, 2, 3):
            await lab.ann.posts(lab.bob, n)
        await lab.ann.posts(lab.bob, 1)  # asked again it is the same letter
        await soon(lambda: lab.mia.kept == 3, "all three lie in the mailbox")
        await soon(lambda: {row.state for row in lab.ann.waiting} == {POSTED}, "Ann knows that")
        await lab.ann.off()
        await lab.on(lab.bob)
        await soon(lambda: len(lab.bob.heard) == 3, "Bob has them")
        assert [(peer, said["n"]) for peer, said in lab.bob.heard] == [
            (lab.ann.peer_id, n) for n in (1, 2, 3)
        ]
        await soon(lambda: lab.mia.kept == 3 and not lab.bob.waiting, "his answers lie there")
        await lab.bob.off()
        await lab.on(lab.ann)
        await soon(lambda: {row.answer for row in lab.ann.waiting} == {b'\0{"ok":1}'}, "Ann has the answers")
        assert [await lab.ann.ask(lab.bob, n) for n in (1, 2, 3)] == [b'{"ok":1}'] * 3
        assert (lab.ann.waiting, lab.mia.kept) == ([], 0)
        assert len(lab.bob.heard) == 3


async def test_a_refusal_comes_back_too_and_is_not_asked_anew_at_once(tmp_path: Path) -> None:
    def refuse() -> bytes:
        raise Conflict("gap", "A message before this one is missing.", "")

    async with mail_lab(tmp_path) as lab:
        lab.bob.says = refuse
        await lab.on(lab.ann, lab.mia)
        await lab.ann.posts(lab.bob, 1)
        await soon(lambda: lab.mia.kept == 1, "it lies in the mailbox")
        await lab.on(lab.bob)
        await soon(lambda: lab.bob.heard and not lab.bob.waiting, "Bob has answered")
        await lab.bob.off()
        await soon(lambda: [row.answer for row in lab.ann.waiting if row.answer], "Ann has the refusal")
        with pytest.raises(RefusedByPeer) as caught:
            await lab.ann.ask(lab.bob, 1)
        assert caught.value.code == "gap"
        lab.later(1_000)
        await lab.ann.posts(lab.bob, 1)
        await soon(lambda: lab.mia.kept == 1, "it is asked in a new letter")


async def test_who_is_on_is_asked_directly_and_the_letter_is_for_nothing(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann)
        await lab.ann.posts(lab.bob, 1)  # neither Bob nor his mailbox is there
        assert len(lab.ann.waiting) == 1
        await lab.on(lab.bob)
        await lab.ann.host.connect(lab.bob.peer_id)
        await soon(lambda: lab.bob.heard, "Bob was asked when he came")
        assert await lab.ann.ask(lab.bob, 1) == b"{}"
        assert lab.ann.waiting == []


async def test_what_is_not_listed_never_travels_as_a_letter(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.bob, lab.mia)
        evidence = canonical.encode({"do": "evidence", "order_id": ORDER_ID})
        for protocol, body in (
            (TALK, evidence),
            (TALK, b"{}"),
            (TALK, b"not json"),
            (TALK, canonical.encode({"do": ["say"]})),
            ("/openstall/chain/1", saying(1)),
            ("/openstall/order/1", canonical.encode({"do": "cancel_job", "order_id": ORDER_ID})),
        ):
            raw = sealed(lab, lab.ann, lab.bob, protocol=protocol, body=base64.b64encode(body).decode())
            with pytest.raises(PeerError) as caught:
                await put(lab.ann, lab.bob, lab.bob, raw, lab.clock.now() + DAY)
            assert caught.value.code == "not_by_letter", protocol
        assert lab.bob.heard == []
        await lab.bob.off()
        with pytest.raises(PeerError) as away:
            await lab.ann.office.post.request(lab.bob.peer_id, TALK, evidence, timeout_s=5, max_response=9)
        assert away.value.code != "kept_in_outbox"


async def test_a_letter_that_comes_again_is_answered_and_not_handled(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.bob, lab.mia)
        raw = sealed(lab, lab.ann, lab.bob)
        for _again in range(3):
            await put(lab.ann, lab.bob, lab.bob, raw, lab.clock.now() + DAY)
        assert len(lab.bob.heard) == 1


async def test_letters_that_are_forged_late_or_for_others_are_dropped(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.bob, lab.mia)
        now = lab.clock.now()
        as_ann = sealed(lab, lab.mia, lab.bob, sender=lab.ann.peer_id)  # signed by Mia
        for code, raw in (
            ("bad_signature", as_ann),
            ("not_the_recipient", seal(_inside(lab, lab.ann, lab.mia), lab.bob.peer_id)),  # passed on
            ("not_for_us", sealed(lab, lab.ann, lab.mia)),
            ("expired", sealed(lab, lab.ann, lab.bob, written=now - 9, expires=now - 1)),
            ("other_network", sealed(lab, lab.ann, lab.bob, network="elsewhere")),
        ):
            with pytest.raises(PeerError) as caught:
                await put(lab.mia, lab.bob, lab.bob, raw, now + DAY)
            assert caught.value.code in (code, "bad_signature"), code
        assert lab.bob.heard == []
        # An answer is taken from the peer that was asked, for a letter of ours, and from nobody else.
        await lab.bob.off()
        await lab.ann.posts(lab.bob, 1)
        (row,) = lab.ann.waiting
        body = base64.b64encode(b'\0{"yes":1}').decode()
        for author, answers in ((lab.mia, row.id), (lab.bob, "00" * 16)):
            raw = sealed(lab, author, lab.ann, answers=answers, body=body)
            await put(lab.mia, lab.ann, lab.ann, raw, now + DAY)
        assert lab.ann.waiting[0].answer is None


def _inside(lab: MailLab, author: Correspondent, to: Correspondent) -> bytes:
    now = lab.clock.now()
    letter = Letter(
        id="ab" * 16,
        network=NETWORK,
        sender=author.peer_id,
        recipient=to.peer_id,
        written=now,
        expires=now + DAY,
        protocol=TALK,
        answers="",
        body="",
    )
    return write_letter(letter, author.seed)


async def test_a_mailbox_gives_letters_to_their_recipient_alone(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.mia)
        await lab.ann.posts(lab.bob, 1)
        await soon(lambda: lab.mia.kept == 1, "it lies in the mailbox")
        fetched = await wire.fetch(lab.ann.host, lab.mia.peer_id)
        assert (fetched.letters, fetched.more) == ([], False)
        raw = lab.ann.waiting[0].sealed
        assert raw is not None
        await wire.done(lab.ann.host, lab.mia.peer_id, [wire.address_of(raw)])
        assert lab.mia.kept == 1
        with pytest.raises(InvalidOrder):  # and it cannot open what it keeps
            await lab.mia.office.inbox.receive(raw)


async def test_requests_to_a_mailbox_that_make_no_sense(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.mia)
        good = {"do": "put", "to": lab.bob.peer_id, "expires": 0, "letter": "", "ids": []}
        for ask in (
            b"",
            b"[]",
            b"{}",
            canonical.encode({**good, "do": "read"}),
            canonical.encode({**good, "more": 1}),
            canonical.encode({**good, "ids": ["x"]}),
            canonical.encode({**good, "ids": ["ab" * 32] * 129}),
            canonical.encode({**good, "expires": -1}),
            canonical.encode({**good, "letter": 7}),
            canonical.encode({**good, "letter": "YQ=="}),
            canonical.encode({**good, "letter": base64.b64encode(bytes(1_000)).decode()}),
            canonical.encode({**good, "to": "nobody", "letter": base64.b64encode(bytes(1_072)).decode()}),
        ):
            with pytest.raises(RefusedByPeer):
                await lab.ann.host.request(
                    lab.mia.peer_id, wire.PROTOCOL, ask, timeout_s=10, max_response=wire.MAX_ANSWER
                )
        assert lab.mia.kept == 0


async def test_a_mailbox_keeps_letters_of_members_for_members_within_its_quotas(tmp_path: Path) -> None:
    async with mail_lab(tmp_path, quotas=Quotas(letters_between=2)) as lab:
        await lab.on(lab.ann, lab.mia)
        now = lab.clock.now()
        for _n in range(2):
            await put(lab.ann, lab.mia, lab.bob, sealed(lab, lab.ann, lab.bob), now + DAY)
        for code, expires in (
            ("too_many_letters", now + DAY),
            ("bad_life", now),
            ("bad_life", now + 40 * DAY),
        ):
            with pytest.raises(RefusedByPeer) as caught:
                await put(lab.ann, lab.mia, lab.bob, sealed(lab, lab.ann, lab.bob), expires)
            assert caught.value.code == code
        lab.later(DAY + 1)
        await put(lab.ann, lab.mia, lab.bob, sealed(lab, lab.ann, lab.bob), lab.clock.now() + DAY)
        del lab.members.mailboxes[lab.bob.peer_id]
        with pytest.raises(RefusedByPeer) as caught:
            await put(lab.ann, lab.mia, lab.bob, sealed(lab, lab.ann, lab.bob), lab.clock.now() + DAY)
        assert caught.value.code == "not_a_member"
        await lab.mia.mailbox.serve(on=False)
        with pytest.raises(RefusedByPeer) as caught:
            await put(lab.ann, lab.mia, lab.bob, sealed(lab, lab.ann, lab.bob), lab.clock.now() + DAY)
        assert caught.value.code == "no_mailbox"


async def test_a_mailbox_that_keeps_none_cannot_be_chosen(tmp_path: Path) -> None:
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.ann, lab.bob, lab.mia)
        assert (await lab.ann.mailbox.use([lab.mia.peer_id]))["chosen"] == [lab.mia.peer_id]
        for peers in ([lab.bob.peer_id], [lab.ann.peer_id], [lab.mia.peer_id, *map(_nobody, range(3))]):
            with pytest.raises(Refused):
                await lab.ann.mailbox.use(peers)
        assert await lab.ann.mailbox.chosen() == [lab.mia.peer_id]
        await lab.bob.mailbox.serve(on=True)
        await lab.ann.mailbox.use([lab.bob.peer_id, lab.mia.peer_id])
        assert (await lab.ann.mailbox.use([]))["chosen"] == []


def _nobody(n: int) -> str:
    return ids.peer_id_of_nobody(str(n))


async def test_a_hostile_mailbox_cannot_make_up_letters(tmp_path: Path) -> None:
    """It may lose them, hold them back, or bring them twice; no more."""
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.mia, lab.ann, lab.bob)
        old = sealed(lab, lab.ann, lab.bob)
        noise = seal(sodium_pad(secrets.token_bytes(900), 1024), lab.bob.peer_id)
        plain = {"id": "ab" * 16, "sender": lab.ann.peer_id}
        signature = ids.sign(lab.mia.seed, CONTEXT, NETWORK, canonical.encode(plain))
        made = seal(
            sodium_pad(canonical.encode({"letter": plain, "signature": signature}), 1024), lab.bob.peer_id
        )
        for raw in (old, old, noise, made, bytes(1072)):
            await lab.mia.mailbox.keep(_kept(lab, raw))
        lab.bob.office.inbox.look_now()
        await soon(lambda: lab.mia.kept == 0, "Bob has looked at all of them")
        assert [said["n"] for _peer, said in lab.bob.heard] == [1]


def _kept(lab: MailLab, raw: bytes) -> Any:
    from openstall.store.mailbox import KeptLetter

    return KeptLetter(
        id=wire.address_of(raw),
        recipient=lab.bob.peer_id,
        sender=lab.mia.peer_id,
        expires=lab.clock.now() + DAY,
        letter=raw,
    )


async def keep_rubbish(lab: MailLab) -> None:
    """A letter that Bob cannot open lies in the mailbox."""
    raw = secrets.token_bytes(1024 + wire.SEAL_BYTES)
    await lab.mia.mailbox.keep(
        KeptLetter(
            id=wire.address_of(raw),
            recipient=lab.bob.peer_id,
            sender=lab.ann.peer_id,
            expires=lab.clock.now() + DAY,
            letter=raw,
        )
    )


async def test_whose_box_is_stuffed_and_its_mailbox_stay_within_what_each_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letter after letter comes for Bob, who is on: neither he nor the mailbox may be blamed for it."""
    monkeypatch.setattr(wire, "RATE", Rate(per_s=5, burst=10))
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.mia, lab.bob)
        await lab.bob.host.connect(lab.mia.host.addrs[0])
        for _ in range(40):
            await keep_rubbish(lab)
            await trio.sleep(0.05)
        await soon(lambda: lab.mia.kept == 0, "Bob has taken them")
        assert list(lab.mia.host.bouncer.recent) == []
        assert list(lab.bob.host.bouncer.recent) == []


async def test_a_full_box_is_emptied_no_faster_than_its_mailbox_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "RATE", Rate(per_s=5, burst=10))
    monkeypatch.setattr(wire, "MOST_FETCHED", 1)
    async with mail_lab(tmp_path) as lab:
        await lab.on(lab.mia)
        for _ in range(12):
            await keep_rubbish(lab)
        await lab.on(lab.bob)
        await soon(lambda: lab.mia.kept == 0, "Bob has taken them, one in each answer")
        assert list(lab.mia.host.bouncer.recent) == []
