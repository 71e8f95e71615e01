"""Cases of the campaign: records and catalogues that lie. Each comes beside a good one, which is taken."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from typing import Any

import mutators
import trio
from bad_peer import CUT, DAY_S, PATIENCE_S, Bad, Guest, NotRefused, Plain, case

from openstall.market import canonical, ids
from openstall.market.errors import PeerError
from openstall.p2p import engine, record_wire
from openstall.p2p.circuits import BROKEN
from openstall.p2p.host import PeerHost, Rate

EASY = Rate(per_s=1000, burst=1000)
SMALL_ORDER = bytes(32), bytes([1]) + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"
NOT_BUILT = (
    *("review", "rating", "label", "labeler", "denylist", "notice", "takedown", "certificate", "checkpoint"),
    *("rotation", "revocation", "round", "update", "assessment"),
)


async def none_is_taken(bad: Bad, records: dict[str, bytes], *, shut_out: bool = False) -> None:
    """Offer them; the target takes none, and shuts out who brought them where that is promised."""

    async def gone(guest: Guest) -> None:
        await guest.shut_out()

    taken = await bad.bring(records, then=gone if shut_out else None)
    if taken:
        raise NotRefused(f"taken: {[records[one][:400] for one in taken[:3]]}")


def under_own_name(raws: list[bytes]) -> dict[str, bytes]:
    """Bytes that have no address, each under an invented one."""
    return {ids.cid_of(os.urandom(32)): raw for raw in raws}


def listings(bad: Bad, *bodies: Plain) -> dict[str, bytes]:
    """Signed listings that differ from a good one."""
    seed = os.urandom(32)
    found = [
        bad.record(seed, "listing", key=f"model-{number}", body=bad.body("listing") | body)
        for number, body in enumerate(bodies, 1)
    ]
    return dict(found)


@case()
async def forged_signatures(bad: Bad) -> None:
    """One bit of the words or of the signature is another; eleven of those, and who brings them is out."""
    seed = os.urandom(32)
    cid, raw = bad.record(seed, "listing")
    value = canonical.decode(raw)
    forged: dict[str, bytes] = {}
    for bit in range(11):
        sig = bytearray(value["sig"].encode())
        sig[7 * bit] = ord("A") if sig[7 * bit] != ord("A") else ord("B")
        plain = value["record"] | {"key": f"forged-{bit}"}
        forged[ids.cid_of(canonical.encode(plain))] = mutators.encode({"record": plain, "sig": value["sig"]})
        if not bit:
            forged[cid] = mutators.encode({"record": value["record"], "sig": sig.decode()})
    await none_is_taken(bad, forged, shut_out=True)


@case()
async def records_of_another_group(bad: Bad) -> None:
    """Signed for another network, in its own words or only in its signature."""
    seed = os.urandom(32)
    foreign = bad.record(seed, "listing", network="openstall-elsewhere")
    moved = bad.sign(seed, bad.plain(seed, "listing", key="moved"), network="openstall-elsewhere")
    await none_is_taken(bad, dict([foreign, moved]))


@case()
async def keys_that_anybody_signs_with(bad: Bad) -> None:
    """Authors whose key has a small order, or is no canonical one: every signature would hold."""
    found = []
    for key in SMALL_ORDER:
        plain = bad.plain(os.urandom(32), "listing", author=ids.peer_id_of(key))
        found += [(plain, sig) for sig in (bytes(64), key + bytes(32))]
    records = {
        ids.cid_of(canonical.encode(plain)): mutators.encode({"record": plain, "sig": _spelled(sig)})
        for plain, sig in found
    }
    await none_is_taken(bad, records)


def _spelled(sig: bytes) -> str:
    return base64.urlsafe_b64encode(sig).decode().rstrip("=")


@case()
async def statements_of_another_kind(bad: Bad) -> None:
    """A signature that was made for an offer, an order or a message stands under a listing."""
    seed = os.urandom(32)
    records = [
        bad.sign(seed, bad.plain(seed, "listing", key=f"model-{context}"), context=context)
        for context in ("offer", "order", "message", "tick", "letter", "transcript", "peer")
    ]
    await none_is_taken(bad, dict(records))


@case()
async def dates_that_make_no_sense(bad: Bad) -> None:
    """From the future, run out, ended before it began, for ten years."""
    seed, now = os.urandom(32), int(time.time())
    dates = [
        (now + 3_600, now + DAY_S),
        (now + 3_650 * DAY_S, now + 3_700 * DAY_S),
        (now - 10 * DAY_S, now - 9 * DAY_S),
        (now - 60, now - 120),
        (now - 60, now + 3_650 * DAY_S),
        (-1, now + DAY_S),
    ]
    records = [
        bad.record(seed, "listing", key=f"model-{number}", issued=issued, expires=expires)
        for number, (issued, expires) in enumerate(dates)
    ]
    await none_is_taken(bad, dict(records))


@case()
async def records_without_sense(bad: Bad) -> None:
    """Deep, doubled, endless, not a number, not canonical, not text, too large, or not a record at all."""
    seed = os.urandom(32)
    _, raw = bad.record(seed, "listing")
    _, large = bad.record(seed, "listing", body=bad.body("listing") | {"summary": "x" * 70_000})
    changed = [
        b"",
        b"{}",
        b"[" * 20_000 + b"]" * 20_000,
        b'{"record":' * 200 + b"1" + b"}" * 200,
        raw.replace(b'"seq":1', b'"seq":1,"seq":2'),
        raw.replace(b'"seq":1', b'"seq":1.0'),
        raw.replace(b'"seq":1', b'"seq":NaN'),
        raw.replace(b'"seq":1', b'"seq":1e400'),
        raw.replace(b'"seq":1', b'"seq":' + b"9" * 5_000),
        raw.replace(b'"title":"Tumour', b'"title":"\\ud800'),
        raw.replace(b'"title":"Tumour', b'"title":"\xff'),
        b" " + raw,
        b"\xef\xbb\xbf" + raw,
        raw + b"\n",
        raw[:-1],
        large,
        os.urandom(5_000),
    ]
    await none_is_taken(bad, under_own_name(changed), shut_out=True)


@case()
async def text_that_hides(bad: Bad) -> None:
    """Characters that turn round, hide or command: none of them comes into a catalogue."""
    odd = ("\u202etxet", "a\u200bb", "\x1b[2J", "\u2066x", "a\u00adb", "\U000e0041x", "a\x00b", "a\nb")
    await none_is_taken(bad, listings(bad, *({"title": f"A model {one}"} for one in odd)))


@case()
async def terms_of_the_attackers_own(bad: Bad) -> None:
    """Listings that send the money to another contract or chain, or that name a party as the judge."""
    wallet = bad.body("listing")["wallet"]
    await none_is_taken(
        bad,
        listings(
            bad,
            {"escrow": "0x" + "e7" * 20},
            {"chain_id": bad.chain_id + 1},
            {"arbiter": wallet},
            {"wallet": bad.settings["contracts"]["escrow"]},
            {"wallet": "0x" + "0" * 40},
            {"price_micro": 0},
            {"price_micro": -5},
            {"price_micro": 10**15 + 1},
            {"review_s": 1},
            {"files": [{"name": "../../x", "size": 1, "sha256": "ab" * 32}]},
            {"files": [{"name": one, "size": 1, "sha256": "ab" * 32} for one in ("a.onnx", "A.onnx")]},
            {"files": [{"name": "CON", "size": 1, "sha256": "ab" * 32}]},
            {"mirrors": ["http://127.0.0.1/x"]},
        ),
    )


@case()
async def kinds_that_are_not_built(bad: Bad) -> None:
    """Reviews, labels, notices, certificates, rotations of keys, and listings that name a parent."""
    seed = os.urandom(32)
    body = {"about": bad.settings["listing"], "says": "bad"}
    records = dict(bad.record(seed, kind, key=kind, body=body) for kind in NOT_BUILT)
    records |= listings(
        bad,
        {"parents": [bad.settings["listing"]]},
        {"certificate": bad.settings["listing"]},
        {"licence_of": bad.settings["listing"]},
    )
    records |= dict(
        [bad.record(seed, "listing", key="v2", v=2), bad.record(seed, "listing", key="x", more=1)]
    )
    await none_is_taken(bad, records)


@case()
async def one_statement_in_many_spellings(bad: Bad) -> None:
    """The signature of a good record spelled otherwise: no record; the good one stands once."""
    seed = os.urandom(32)
    cid, raw = bad.developer(seed)
    sig = canonical.decode(raw)["sig"]
    plain = canonical.decode(raw)["record"]
    last = sig[:-1] + chr(ord(sig[-1]) + 1)
    spelled = [last, sig + "==", sig.replace("-", "+").replace("_", "/") + "=", " " + sig, sig + "\n"]
    twisted = [mutators.encode({"record": plain, "sig": one}) for one in spelled]
    if await bad.bring(under_own_name(twisted)):
        raise NotRefused("another spelling of a signature was taken")
    async with bad.guest() as scout:
        if await bad.held(scout, [cid]):
            raise NotRefused("a record came in under a twisted signature")
    if await bad.bring({cid: raw}) != [cid]:
        raise NotRefused("the record with the right spelling was not taken")


@case()
async def an_old_version_again(bad: Bad) -> None:
    """The first version comes after the second, by another peer: the second stays live."""
    seed = os.urandom(32)
    old = bad.developer(seed)
    new = bad.developer(seed, seq=2, prev=old[0], issued=int(time.time()) - 3_600)
    await bad.bring(dict([new]))
    await bad.bring(dict([old]))
    async with bad.guest() as scout:
        live = await bad.live_of(scout, [old[0], new[0]])
    if live != [new[0]]:
        raise NotRefused(f"after a replay {live} is live")


@case()
async def withdrawing_what_is_anothers(bad: Bad) -> None:
    """Tombstones on the honest listing and the offer, by somebody else: both stay on sale."""
    seed = os.urandom(32)
    honest = {"listing": bad.settings["listing"], "offer": bad.settings["offer"]}
    async with bad.guest() as scout:
        stones = {}
        for number, (kind, cid) in enumerate(honest.items(), 1):
            key = (await bad.public(scout, cid)).record.key
            body = {"target_type": kind, "target_key": key}
            stones |= dict([bad.record(seed, "tombstone", seq=number, key=f"{kind}.{key}", body=body)])
        await bad.bring(stones)
        live = await bad.live_of(scout, list(honest.values()))
    if live != list(honest.values()):
        raise NotRefused("somebody else's tombstone withdrew an honest record")


@case()
async def two_records_with_one_number(bad: Bad) -> None:
    """An author who says two things: one of them is live, and the proof is listed for everybody."""
    seed = os.urandom(32)
    one = bad.record(seed, "listing")
    two = bad.record(seed, "listing", body=bad.body("listing") | {"title": "Another model"})
    await bad.bring(dict([one]))
    await bad.bring(dict([two]))
    proof = f"contradiction-{ids.peer_id_of_seed(seed)}"
    async with bad.guest() as scout:
        live = await bad.live_of(scout, [one[0], two[0]])
        with trio.move_on_after(PATIENCE_S):
            while not await bad.live_of(scout, [proof]):  # noqa: ASYNC110 - another process
                await trio.sleep(0.2)
        if live != [min(one[0], two[0])]:
            raise NotRefused(f"two records with one number: {live} live")
        if not await bad.live_of(scout, [proof]):
            raise NotRefused("an author who contradicts itself is not known as such")


@case()
async def false_proof_of_a_contradiction(bad: Bad) -> None:
    """A proof against the honest seller out of its own record and a forged one."""
    async with bad.guest() as scout:
        honest = await bad.public(scout, bad.settings["listing"])
        plain = canonical.decode(honest.raw)["record"]
        forged = bad.sign(os.urandom(32), plain | {"key": "other"})[1]
        made = [
            record_wire.write_bodies([honest.raw, forged]),
            record_wire.write_bodies([honest.raw, honest.raw]),
            record_wire.write_bodies([honest.raw]),
        ]
        name = f"contradiction-{honest.record.author}"
        for raw in made:
            await bad.bring({name: raw})
        if await bad.live_of(scout, [name]):
            raise NotRefused("a false proof was taken")


@case(quick=False)
async def more_than_an_author_may_have(bad: Bad) -> None:
    """270 offers of one key: 250 of them count, the latest."""
    seed = os.urandom(32)
    records: dict[str, bytes] = {}
    before = ""
    for number in range(1, 271):
        cid, raw = bad.record(seed, "offer", seq=number, key=f"offer-{number}", prev=before)
        records[cid], before = raw, cid
    await bad.bring(records)
    async with bad.guest() as scout:
        live = await bad.live_of(scout, list(records))
    if len(live) > 250 or next(iter(records)) in live:
        raise NotRefused(f"{len(live)} offers of one author are live")


@case()
async def announcing_what_is_not_there(bad: Bad) -> None:
    """Fifty addresses are listed that nobody gives; the good record between them comes in all the same."""
    await bad.bring({}, withheld=[ids.cid_of(os.urandom(32)) for _ in range(50)])


@case()
async def questions_about_the_catalogue_without_sense(bad: Bad) -> None:
    """Twenty points each: soon the peer is out."""
    async with bad.guest() as guest:
        asked = [
            ("digests", b"x"),
            ("leaves", b"x" * 65),
            ("cids", b"\xff"),
            ("bodies", b"\xc1"),
            ("digests", b""),
            ("leaves", b""),
        ]
        for number, (name, raw) in enumerate(asked):
            last = number == len(asked) - 1  # what makes it a hundred may cost the answer too
            await guest.refused(bad.records(name), raw, "bad_request", *((CUT,) if last else ()))
        await guest.shut_out()


@case(quick=False)
async def answers_about_the_catalogue_without_sense(bad: Bad) -> None:
    """Digests of a wrong length, answers that are none, frames without end."""
    for answer in (b"x" * 17, b"\xc1" * 5_000, b"x" * 2**21):
        asked = trio.Event()

        async def lie(_peer: str, _raw: bytes, answer: bytes = answer, asked: trio.Event = asked) -> bytes:
            asked.set()
            return answer

        def serve(host: PeerHost, lie: Any = lie) -> None:
            for name in ("digests", "leaves", "cids", "bodies"):
                host.serve(bad.records(name), lie, max_request=2**16, max_response=2**22, per_peer_rate=EASY)

        async with bad.guest(serve=serve) as liar:
            for _ in range(8):
                with contextlib.suppress(PeerError):
                    await liar.ask(f"/openstall/{bad.network}/records/news/1", b"", wait_s=10)
                with trio.move_on_after(20):
                    await asked.wait()
                await trio.sleep(1)
                if liar.host.peer(liar.target.peer_id) is None:
                    break
            bad.told["lied to"] += 1
            await liar.shut_out()
    if await bad.bring(dict([bad.developer(os.urandom(32))])) == []:
        raise NotRefused("after that no good record is taken")


@case(quick=False)
async def syncs_that_never_come(bad: Bad) -> None:
    """A crowd asks to be compared with and says nothing: honest news travel on, good records come in."""
    asked = 0

    async def say_nothing(_peer: str, _raw: bytes) -> bytes:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()
        raise AssertionError

    def serve(host: PeerHost) -> None:
        host.serve(bad.records("digests"), say_nothing, max_request=99, max_response=9, per_peer_rate=EASY)

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(bad.guest(serve=serve))
        with trio.move_on_after(PATIENCE_S):
            while asked < 2:  # noqa: ASYNC110 - another process
                await trio.sleep(0.2)
        await trio.sleep(15)  # meanwhile the honest trade
        bad.told["asked in vain"] += asked
    if await bad.bring(dict([bad.developer(os.urandom(32))])) == []:
        raise NotRefused("after that no good record is taken")


@case()
async def announcements_without_sense(bad: Bad) -> None:
    """Gossip that names no author, no topic, or too much: ten points each."""
    async with bad.guest() as guest:
        stream = await engine.negotiate_stream(guest.host.engine_host, guest.target.peer_id, "/meshsub/1.1.0")
        with contextlib.suppress(*BROKEN):
            for number in range(14):
                await stream.write(_rpc(bad.network, os.urandom(3_000 if number % 2 else 100)))
                bad.told["announced"] += 1
        await guest.shut_out()


def _rpc(network: str, data: bytes) -> bytes:
    from libp2p.pubsub.pb import rpc_pb2
    from libp2p.utils.varint import encode_varint_prefixed

    rpc = rpc_pb2.RPC()
    message = rpc.publish.add()
    message.data, message.seqno = data, os.urandom(8)
    message.topicIDs.append(f"/openstall/{network}/records/1")
    return encode_varint_prefixed(rpc.SerializeToString())
