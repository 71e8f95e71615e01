"""Cases of the campaign: proposals on other terms than what is on sale, orders of others, wrong turns."""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

import mutators
import statements
import trio
from bad_peer import ANSWERED, CUT, HANGS, NOTHING, PATIENCE_S, Bad, Guest, NotRefused, Plain, case

from openstall.app.services.keys import box_public
from openstall.app.services.orders.telling import Answer
from openstall.ledger.wallet import Wallet
from openstall.market import canonical, ids
from openstall.market.errors import PeerError
from openstall.market.orders.agree import arbitration
from openstall.market.orders.documents import Contract, read_contract
from openstall.market.orders.transcript import next_entry
from openstall.market.records import Listing, Offer

ORDER, TALK, RECOVER = "/openstall/order/1", "/openstall/talk/1", "/openstall/recover/1"
JOB, SERVE, CUSTOM, SERVICE = (
    "/openstall/job/1",
    "/openstall/serve/1",
    "/openstall/custom/1",
    "/openstall/service/1",
)
BROKEN_OFF = (CUT, NOTHING)
MAX = 2**53 - 1
Changes = list[tuple[Plain, Plain, str]]
"""Changes of the order and of its terms, and the code of the refusal that is due."""


async def sale(bad: Bad, guest: Guest, wallet: str) -> Plain:
    """The document of a sale as an honest buyer would write it."""
    record = await bad.public(guest, bad.settings["listing"])
    body, now, nonce = record.body, int(time.time()), secrets.token_hex(16)
    assert isinstance(body, Listing)
    terms = canonical.decode(record.raw)["record"]["body"]
    kept = ("title", "files", "blob", "key_sha256", "price_micro", "escrow", "arbiter", "review_s")
    rule = arbitration()
    return {
        "v": 1,
        "kind": "sale",
        "network": bad.network,
        "chain_id": bad.chain_id,
        "buyer": guest.peer_id,
        "seller": record.record.author,
        "buyer_wallet": wallet,
        "seller_wallet": body.wallet,
        "nonce": nonce,
        "created": now,
        "terms": {name: terms[name] for name in kept}
        | {
            "listing": record.cid,
            "box_key": box_public(guest.seed, nonce),
            "arbiter_s": rule["answer_s"],
            "arbiter_fee_bps": rule["fee_bps"],
            "silent_buyer_bps": rule["silent_buyer_bps"],
            "fund_by": now + 900,
            "deliver_by": now + 900 + body.deliver_s,
        },
    }


async def job(bad: Bad, guest: Guest, wallet: str) -> Plain:
    """The document of a job as an honest buyer would write it."""
    record = await bad.public(guest, bad.settings["offer"])
    body, now = record.body, int(time.time())
    assert isinstance(body, Offer)
    limits = {"memory_bytes": 2**29, "disk_bytes": 2**28, "threads": 1, "processes": 8, "log_bytes": 2**20}
    blob = {"cid": "b" + "a" * 58, "size": 100, "sha256": "ab" * 32}
    return {
        "v": 1,
        "kind": "compute",
        "network": bad.network,
        "chain_id": bad.chain_id,
        "buyer": guest.peer_id,
        "seller": record.record.author,
        "buyer_wallet": wallet,
        "seller_wallet": body.wallet,
        "nonce": secrets.token_hex(16),
        "created": now,
        "terms": {
            "offer": record.cid,
            "title": "A job",
            "job_kind": "train",
            "params": {"task": "classification", "label": "y"},
            "inputs": [{"name": "data.csv", "blob": blob}],
            "limits": limits,
            "price_per_s_micro": body.price_per_s_micro,
            "cap_micro": 10 * body.price_per_s_micro,
            "max_s": 60,
            "channel": body.channel,
            "withdraw_delay_s": body.withdraw_delay_s,
            "fund_by": now + 300,
            "start_by": now + 300 + 600,
            "settle_by": now + 300 + 600 + 60 + 900,
        },
    }


def proposal(guest: Guest, plain: Plain, *, seed: bytes | None = None) -> bytes:
    """The message, signed for exactly these words."""
    said = ids.sign(seed or guest.seed, "order", str(plain["network"]), mutators.encode(plain))
    return mutators.encode({"do": "propose", "order": plain, "buyer_signature": said})


async def none_is_signed(bad: Bad, make: Any, changes: Changes) -> None:
    """Propose each; the seller signs none, and says why."""
    wallet = Wallet(os.urandom(32)).address
    for start in range(0, len(changes), 10):
        async with bad.guest() as guest:
            for of_order, of_terms, due in changes[start : start + 10]:
                plain = await make(bad, guest, wallet)
                terms = {
                    name: value for name, value in (plain["terms"] | of_terms).items() if value is not None
                }
                plain |= {"terms": terms} | of_order
                told = await verdict(guest, proposal(guest, plain))
                if told not in due.split("|"):
                    raise NotRefused(f"“{told}” where {due} was due, to {of_order} {of_terms}")


async def verdict(guest: Guest, raw: bytes) -> str:
    """The code with which a proposal was refused or declined; `signed` where it was not."""
    told = await guest.says(ORDER, raw)
    if told != ANSWERED:
        return told
    answer = Answer.read(await guest.ask(ORDER, raw))  # asked again the seller says the same
    if answer.signature or not answer.entries:
        return "signed"
    return str(answer.entries[-1]["entry"]["code"])


@case(against=["seller"])
async def sales_on_other_terms(bad: Bad) -> None:
    """Each term of the honest listing changed to the buyer's advantage, with a good signature on it."""
    now = int(time.time())
    other = "0x" + "e7" * 20
    blob = {"cid": "b" + "b" * 58, "size": 5, "sha256": "cd" * 32}
    differ = "terms_differ"
    await none_is_signed(
        bad,
        sale,
        [
            ({}, {"price_micro": 1}, differ),
            ({}, {"price_micro": 0}, "bad_schema"),
            ({}, {"price_micro": -1}, "bad_schema"),
            ({}, {"price_micro": MAX}, "bad_schema|terms_differ"),
            ({}, {"escrow": other}, differ),
            ({}, {"arbiter": other}, differ),
            ({}, {"arbiter": ""}, differ),
            ({}, {"arbiter_fee_bps": 1_000}, differ),
            ({}, {"arbiter_s": 60}, differ),
            ({}, {"silent_buyer_bps": 9_999}, differ),
            ({}, {"review_s": 61}, differ),
            ({}, {"key_sha256": "cd" * 32}, differ),
            ({}, {"blob": blob}, differ),
            ({}, {"files": [{"name": "other.onnx", "size": 4, "sha256": "00" * 32}]}, differ),
            ({}, {"title": "Another model"}, differ),
            ({}, {"listing": "b" + "a" * 58}, "no_such_record|bad_schema|not_found"),
            ({}, {"box_key": "00" * 32}, "weak_key"),
            ({}, {"fund_by": now + 90 * 86_400, "deliver_by": now + 91 * 86_400}, differ),
            ({}, {"more": 1}, "bad_schema"),
            ({}, {"price_micro": None}, "bad_schema"),
            ({"chain_id": bad.chain_id + 1}, {}, differ),
            ({"network": "openstall-elsewhere"}, {}, "other_network"),
            ({"seller_wallet": other}, {}, "not_my_order"),
            ({"created": now - 30 * 86_400}, {}, "clock"),
            ({"created": now + 800}, {}, "clock|bad_times"),
            ({"kind": "compute"}, {}, "bad_schema"),
            ({"v": 2}, {}, "bad_schema"),
        ],
    )


@case(against=["provider"])
async def jobs_on_other_terms(bad: Bad) -> None:
    """The same with the offer of a machine: price, cap, times, limits, channel."""
    other, differ = "0x" + "e7" * 20, "terms_differ"
    limits = {"memory_bytes": 2**29, "disk_bytes": 2**28, "threads": 1, "processes": 8, "log_bytes": 2**20}
    await none_is_signed(
        bad,
        job,
        [
            ({}, {"price_per_s_micro": 1, "cap_micro": 10}, differ),
            ({}, {"price_per_s_micro": 10_001}, differ),
            ({}, {"cap_micro": 10**12}, "cap_too_high"),
            ({}, {"cap_micro": 1}, "cap_too_low"),
            ({}, {"max_s": 7 * 86_400}, "terms_differ|bad_times|bad_schema"),
            ({}, {"channel": other}, differ),
            ({}, {"withdraw_delay_s": 60, "settle_by": 1}, "bad_times|bad_schema"),
            ({}, {"job_kind": "mine"}, "bad_schema"),
            ({}, {"limits": limits | {"memory_bytes": 2**49}}, differ),
            ({}, {"limits": limits | {"threads": 4_000}}, differ),
            ({}, {"limits": limits | {"processes": 4_000}}, differ),
            ({}, {"limits": limits | {"gpus": 8, "gpu_memory_bytes": 2**30}}, differ),
            ({}, {"inputs": []}, "bad_schema"),
            ({"seller_wallet": other}, {}, "not_my_order"),
            ({"chain_id": bad.chain_id + 1}, {}, differ),
        ],
    )


@case(against=["seller"])
async def proposals_in_anothers_name(bad: Bad) -> None:
    """The buyer is somebody else, or the signature is another's, or for other words."""
    async with bad.guest() as guest:
        wallet = Wallet(os.urandom(32)).address
        honest = next(one for one in bad.others() if one.name == "buyer")
        plain = await sale(bad, guest, wallet)
        await guest.refused(ORDER, proposal(guest, plain | {"buyer": honest.peer_id}), "not_the_buyer")
        await guest.refused(ORDER, proposal(guest, plain, seed=os.urandom(32)), "bad_signature")
        signed = canonical.decode(proposal(guest, plain))
        moved = signed | {"order": plain | {"nonce": secrets.token_hex(16)}}
        await guest.refused(ORDER, canonical.encode(moved), "bad_signature")
        await guest.refused(ORDER, canonical.encode(signed | {"do": "sell"}), "bad_message")
        await guest.refused(ORDER, canonical.encode(signed | {"more": 1}), "bad_message")
        same = plain | {"seller": guest.peer_id}
        await guest.refused(ORDER, proposal(guest, same), "same_party")
        unsigned = canonical.encode(signed | {"do": "copy", "seller_signature": signed["buyer_signature"]})
        await guest.refused(ORDER, unsigned, "not_a_watcher", "bad_signature")


@case(against=["provider"])
async def copies_that_nobody_signed(bad: Bad) -> None:
    """The arbiter is handed an order that the seller never signed, or that nobody has paid."""
    seller = next(one for one in bad.others() if one.name == "seller")
    async with bad.guest() as guest:
        plain = await sale(bad, guest, Wallet(os.urandom(32)).address)
        if str(plain["terms"]["arbiter"]).lower() != guest.target.wallet.lower():
            raise NotRefused("the honest listing names another arbiter than the provider")
        message = canonical.decode(proposal(guest, plain))
        forged = message | {"do": "copy", "seller_signature": message["buyer_signature"]}
        await guest.refused(ORDER, canonical.encode(forged), "bad_signature")
        own = os.urandom(32)
        plain |= {"seller": ids.peer_id_of_seed(own)}
        message = canonical.decode(proposal(guest, plain))
        said = ids.sign(own, "order", bad.network, canonical.encode(plain))
        await guest.refused(
            ORDER, canonical.encode(message | {"do": "copy", "seller_signature": said}), "not_paid_yet"
        )
        stranger = message["order"] | {"buyer": seller.peer_id}
        forged = message | {"do": "copy", "order": stranger, "seller_signature": said}
        await guest.refused(ORDER, canonical.encode(forged), "not_a_party")


@case()
async def orders_of_others(bad: Bad) -> None:
    """Everything that is said about an order, about those that the honest have with each other just now."""
    found = [*bad.live["orders"][-3:], secrets.token_hex(32)]
    async with bad.guest() as guest:
        for order_id in found:
            message = {
                "network": bad.network,
                "order_id": order_id,
                "author": guest.peer_id,
                "seq": 1,
                "previous": "",
                "seen": [],
                "at": int(time.time()),
                "text": "Send the money elsewhere.",
            }
            sig = ids.sign(guest.seed, "message", bad.network, canonical.encode(message))
            entry = message | {
                "kind": "cancel",
                "code": "",
                "words": "",
                "previous": order_id,
                "seen": order_id,
            }
            del entry["text"]
            signed = {
                "entry": entry,
                "signature": ids.sign(guest.seed, "transcript", bad.network, canonical.encode(entry)),
            }
            for do in ("say", "evidence"):
                said = {"do": do, "order_id": order_id, "message": message, "signature": sig}
                await guest.refused(TALK, canonical.encode(said), "no_such_order")
            for entries in ([signed], []):
                said = {"do": "tell", "order_id": order_id, "entries": entries}
                await guest.refused(ORDER, canonical.encode(said), "no_such_order")
            await guest.refused(RECOVER, canonical.encode({"order_id": order_id}), "no_such_order")
            for do in ("delivery", "rows", "training", "openings", "verdict"):
                said = {"do": do, "order_id": order_id, "attempt": 1, "statement": "", "signature": ""}
                await guest.refused(
                    CUSTOM, canonical.encode(said), "no_such_order", "bad_schema", "bad_message"
                )
            await nothing_comes(guest, JOB, canonical.encode({"follow": order_id}))
            await nothing_comes(
                guest,
                JOB,
                canonical.encode({"follow": order_id}),
                canonical.encode({"voucher_micro": 10**9, "voucher_signature": "0x" + "ab" * 65}),
            )
            await nothing_comes(guest, SERVE, b'{"order":"' + order_id.encode() + b'"}')


async def nothing_comes(guest: Guest, protocol: str, *frames: bytes) -> None:
    """The stream is broken off without a word."""
    told, got = await guest.talk(protocol, *frames)
    if told not in BROKEN_OFF:
        raise NotRefused(f"{protocol}: {told} {got[:200]!r} to {frames[0][:200]!r}")


@case(against=["provider"])
async def messages_out_of_turn(bad: Bad) -> None:
    """A real order of the bad peer's own, agreed and never paid: vouchers of nothing, early ends."""
    async with bad.guest() as guest:
        plain, raw = await agreed(bad, guest)
        answers = {await guest.ask(ORDER, raw) for _ in range(3)}
        bad.told[ANSWERED] += 3
        signature = Answer.read(next(iter(answers))).signature
        if len(answers) != 1 or not signature:
            raise NotRefused(f"the same proposal has several answers, or none: {answers}")
        contract = read_contract(canonical.encode(plain))

        def told(kind: Any, *, at: int = 0, words: str = "") -> dict[str, Any]:
            moment = at or int(time.time())
            made = next_entry(
                contract, [], kind, author=guest.peer_id, seed=guest.seed, at=moment, words=words
            )
            return {"do": "tell", "order_id": contract.order_id, "entries": [made.as_dict()]}

        await guest.refused(ORDER, canonical.encode(told("cancel")), "unexpected_message")
        await guest.refused(
            ORDER, canonical.encode(told("reason", words="No.")), "unexpected_message", "no_such_order"
        )
        await false_vouchers(guest, contract)
        inputs = [("M" + contract.compute.inputs[0].blob.cid).encode()]
        shown, got = await guest.talk("/openstall/blob/1", *inputs)
        if shown != ANSWERED or got[:1] != b"\1":
            raise NotRefused("a file is given that is not there")
        gone = told("withdraw")
        for _ in range(3):
            await guest.ask(ORDER, canonical.encode(gone))
        other = told("withdraw", at=int(time.time()) - 5)
        await guest.refused(ORDER, canonical.encode(other), "two_chains")
        await guest.refused(ORDER, canonical.encode(told("cancel")), "unexpected_message", "two_chains")
        await nothing_comes(guest, JOB, canonical.encode({"follow": contract.order_id}))


async def agreed(bad: Bad, guest: Guest) -> tuple[Plain, bytes]:
    """A job that the provider has signed; while the honest use its machine it says that it is busy."""
    with trio.move_on_after(PATIENCE_S):
        while True:
            plain = await job(bad, guest, Wallet(os.urandom(32)).address)
            raw = proposal(guest, plain)
            answer = Answer.read(await guest.ask(ORDER, raw))
            if answer.signature or answer.entries[-1]["entry"]["code"] != "machine_busy":
                return plain, raw
            await trio.sleep(2)
    raise NotRefused("the provider is busy all the time")


async def false_vouchers(guest: Guest, contract: Contract) -> None:
    """Promises signed by nobody, by another wallet, above the cap, for a channel that was never opened."""
    for amount, said in ((1, "0x" + "ab" * 65), (10**15, "0x" + "00" * 65), (5, "0x"), (1, "nonsense")):
        stream = await guest.stream(JOB)
        voucher = {"voucher_micro": amount, "voucher_signature": said}
        told = HANGS
        try:
            async with stream:
                await stream.send(canonical.encode({"follow": contract.order_id}))
                await stream.send(canonical.encode(voucher))
                while (raw := await stream.receive(timeout_s=30)) is not None:
                    if set(canonical.decode(raw)) & {"tick", "report", "lines", "entries"}:
                        raise NotRefused(f"a job that nobody paid says {raw[:200]!r}")
                told = NOTHING
        except PeerError as error:
            told = HANGS if error.code == "peer_silent" else CUT
        guest.bad.told[told] += 1
        if told == HANGS:
            raise NotRefused(f"a false voucher is taken: {voucher}")


@case(against=["provider"])
async def services_without_a_right(bad: Bad) -> None:
    """Challenges, complaints, service levels and rigs by somebody who has no order and no pairing."""
    sha, nonce = secrets.token_hex(32), secrets.token_hex(16)
    async with bad.guest() as guest:
        asked = {"do": "status", "order": sha, "nonce": nonce}
        told = await guest.says(SERVICE, canonical.encode(asked))
        if told in (ANSWERED, "internal", HANGS):
            raise NotRefused(f"a stranger asks how a job is: {told}")
        challenge = {
            "network": bad.network,
            "claim": "b" + "a" * 58,
            "provider": guest.target.peer_id,
            "challenger": guest.peer_id,
            "order": "",
            "seed": sha,
            "secret_sha256": sha,
            "at": int(time.time()),
        }
        for seed in (guest.seed, os.urandom(32)):
            said = {
                "doc": challenge,
                "sig": ids.sign(seed, "challenge", bad.network, canonical.encode(challenge)),
            }
            told, got = await guest.talk("/openstall/challenge/1", canonical.encode(said))
            if told == HANGS or (told == ANSWERED and got[:1] != b"\1"):
                raise NotRefused(f"a challenge about nothing: {told} {got[:100]!r}")
        hello = {"hello": {"name": "A rig", "proof": sha, "v": 1}}
        told, got = await guest.talk("/openstall/rig/1", canonical.encode(hello))
        if told == HANGS or (told == ANSWERED and b"refusal" not in got):
            raise NotRefused(f"a rig that was never paired is welcome: {told} {got[:200]!r}")
        record = statements.plain_order("sale")
        await guest.refused(ORDER, proposal(guest, record), "not_the_buyer")
