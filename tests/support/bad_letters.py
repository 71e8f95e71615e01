"""Cases of the campaign: mailboxes and those who stuff them."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import mutators
from bad_peer import ANSWERED, CUT, DAY_S, Bad, Guest, NotRefused, case

from openstall.ledger.binding import make_binding
from openstall.ledger.wallet import Wallet
from openstall.market import ids
from openstall.market.letters import CLASSES
from openstall.p2p.mailbox import PROTOCOL as MAILBOX
from openstall.p2p.mailbox import SEAL_BYTES
from openstall.store.mailbox import Quotas


@case()
async def letters_of_nobody(bad: Bad) -> None:
    """Mailboxes keep nothing of who is no member, nothing that is no letter, and show nobody another's."""
    async with bad.guest() as guest:
        to = bad.others()[0].peer_id
        now = int(time.time())
        good = base64.b64encode(os.urandom(1_024 + 48)).decode()

        def ask(**said: Any) -> bytes:
            return mutators.encode({"do": "put", "to": "", "expires": 0, "letter": "", "ids": []} | said)

        closed = ("not_a_member", "no_mailbox")
        await guest.refused(MAILBOX, ask(to=to, expires=now + DAY_S, letter=good), *closed)
        await guest.refused(
            MAILBOX, ask(to=to, expires=now + 90 * DAY_S, letter=good), "bad_life", "no_mailbox"
        )
        await guest.refused(MAILBOX, ask(to=to, expires=now - 5, letter=good), "bad_life", "no_mailbox")
        await guest.refused(MAILBOX, ask(to=to, expires=now + DAY_S, letter=good[:-4]), "bad_letter")
        await guest.refused(MAILBOX, ask(to=to, expires=now + DAY_S, letter="!" * 1_000), "bad_letter")
        await guest.refused(
            MAILBOX, ask(to=guest.target.peer_id, expires=now + DAY_S, letter=good), "not_for_us"
        )
        letters = json.loads(await guest.ask(MAILBOX, ask(do="fetch")))["letters"]
        if letters:
            raise NotRefused("a stranger is given letters")
        if await guest.says(MAILBOX, ask(do="done", ids=["ab" * 32])) not in (ANSWERED, CUT):
            raise NotRefused("the deletion of another's letter does something")


@case(against=["provider"], quick=False)
async def letters_without_end(bad: Bad) -> None:
    """A member sends the honest rubbish, and stuffs the box of one that is off: its share is soon used up."""
    seed, off, quotas = os.urandom(32), os.urandom(32), Quotas()
    members = dict([member(bad, seed), member(bad, off)])
    if sorted(await bad.bring(members)) != sorted(members):
        raise NotRefused("a peer that is what it says is not taken for a member")
    async with bad.guest(seed=seed) as guest:
        for one in bad.others():
            for size in (CLASSES[0], CLASSES[-1]):
                if (told := await put(guest, one.peer_id, size)) != ANSWERED:
                    raise NotRefused(f"a member's letter is not kept: {told}")
        to, kept = ids.peer_id_of_seed(off), 0
        while (told := await put(guest, to, CLASSES[-1])) == ANSWERED:
            kept += CLASSES[-1] + SEAL_BYTES
            if kept > quotas.size_of_sender:
                raise NotRefused(f"{kept} bytes of one sender are kept")
        if told != "too_many_letters":
            raise NotRefused(f"a mailbox that is stuffed says {told}")


async def put(guest: Guest, to: str, size: int) -> str:
    """A letter that nobody can open."""
    letter = base64.b64encode(os.urandom(size + SEAL_BYTES)).decode()
    said = {"do": "put", "to": to, "expires": int(time.time()) + DAY_S, "letter": letter, "ids": []}
    return await guest.says(MAILBOX, mutators.encode(said))


def member(bad: Bad, seed: bytes) -> tuple[str, bytes]:
    """The record by which somebody becomes a member, as anybody can who has made a wallet."""
    wallet, now = Wallet(os.urandom(32)), int(time.time())
    peer_id = ids.peer_id_of_seed(seed)
    made = make_binding(
        wallet, seed, peer_id=peer_id, nonce=1, expires=now + 30 * DAY_S, chain_id=bad.chain_id
    )
    body = {
        "name": "A stall",
        "wallet": wallet.address,
        "chain_id": bad.chain_id,
        "addrs": [],
        "binding": {
            "nonce": 1,
            "expires": made.expires,
            "wallet_signature": made.wallet_sig,
            "peer_signature": made.peer_sig,
        },
    }
    return bad.record(seed, "peer", key="self", body=body)
