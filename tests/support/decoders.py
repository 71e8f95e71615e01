"""Every place where bytes of a stranger become something: what fuzzers and their quick tests read with.

A decoder returns, or raises an `OpenstallError`. Anything else, and any answer that contradicts what was
read, is a bug that somebody could end a node with.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Final

import msgspec
import statements
from decoding import CID, Decoder
from nacl.bindings import sodium_pad, sodium_unpad
from network_decoders import (
    address_seeds,
    answer_seeds,
    blob_seeds,
    digest_seeds,
    gossip_seeds,
    hello_seeds,
    news_seeds,
    peers_seeds,
    read_address,
    read_blob,
    read_digests,
    read_frames,
    read_gossip,
    read_hello,
    read_news,
    read_peers,
)
from service_decoders import ask_seeds, read_asks, read_served, served_seeds

from openstall.app.services.capacity import wire as challenge_wire
from openstall.app.services.rigs import code as rig_code
from openstall.compute_agent.workloads import formats
from openstall.ledger import gateway, invitation, transport
from openstall.market import canonical, capacity, contradictions, letters
from openstall.market import exchange as objects
from openstall.market.disputes.evidence import MAX_BUNDLE, Item, read_bundle, sign_manifest, write_bundle
from openstall.market.disputes.messages import Message, read_message
from openstall.market.metering import read_tick
from openstall.market.orders import papers as papers_of_orders
from openstall.market.orders.documents import read_contract, sign_contract
from openstall.market.orders.results import read_report
from openstall.market.orders.transcript import next_entry, read_chain
from openstall.market.records import parse_record
from openstall.market.requests.assessment import read_statement
from openstall.market.requests.delivery import read_delivery
from openstall.market.requests.openings import read_openings
from openstall.p2p import (
    discovery,
    exchange,
    gossip,
    hello,
    record_wire,
)

# --- what is signed ---


def _canonical(data: bytes) -> object:
    value = canonical.decode(data)
    assert canonical.encode(value) == data
    return value


def _record(data: bytes) -> object:
    return parse_record(data, network=statements.network(), now=statements.now())


def _record_seeds() -> list[bytes]:
    return [statements.signed_record(kind).raw for kind in statements.kinds()]


def _sign_record(text: bytes) -> bytes:
    plain = msgspec.json.decode(text)["record"]
    return statements.signed(plain, str(plain["type"]), name="record")


def _proof(data: bytes) -> object:
    return contradictions.parse_proof(data, network=statements.network(), now=statements.now())


def _proof_seeds() -> list[bytes]:
    plain = statements.plain_record("listing")
    other = plain | {"body": plain["body"] | {"title": "Another classifier"}}
    both = [statements.signed(one, "listing", name="record") for one in (plain, other)]
    return [contradictions.join(*both), contradictions.join(both[1], both[0])]


def _order(data: bytes) -> object:
    found = read_contract(data)
    assert found.raw == data
    assert found.amount_micro > 0
    return found.terms


def _order_seeds() -> list[bytes]:
    return [canonical.encode(statements.plain_order(kind)) for kind in ("sale", "compute", "custom")]


def _message(data: bytes) -> object:
    value = canonical.decode(data)
    inner, signature = (value.get("message"), value.get("sig")) if isinstance(value, dict) else (value, "")
    return read_message(inner, signature if isinstance(signature, str) else "")


def _message_of() -> dict[str, Any]:
    made = Message(
        network=statements.network(),
        order_id="ab" * 32,
        author=statements.peer_id("seller"),
        seq=1,
        previous="",
        seen=[],
        at=statements.now(),
        text="Is it there?\nWe wait.",
    )
    plain: dict[str, Any] = msgspec.to_builtins(made)
    return plain


def _sign_message(text: bytes) -> bytes:
    return statements.signed(msgspec.json.decode(text)["message"], "message", name="message")


def _bundle_seeds() -> list[bytes]:
    made = statements.contract("sale")
    buyer = statements.seed("buyer")
    both = (sign_contract(made, buyer), sign_contract(made, statements.seed("seller")))
    items = [
        Item(kind="step", doc={"at": 1, "event": "create", "state": "agreed", "tx": ""}),
        Item(
            kind="transaction", doc={"purpose": "fund", "tx": "0x" + "ab" * 32, "state": "mined", "block": 3}
        ),
    ]
    signed = sign_manifest(made, items, author=statements.peer_id("buyer"), seed=buyer, at=statements.now())
    return [write_bundle(made, both, items, signed, signed)]


def _papers(data: bytes) -> object:
    """Papers of an order, and the entries of both parties in them."""
    papers, made = papers_of_orders.read_papers(data)
    read_chain(papers.buyer_entries, made, made.order.buyer)
    read_chain(papers.seller_entries, made, made.order.seller)
    return papers


def _papers_seeds() -> list[bytes]:
    made, seeds = statements.contract("sale"), (statements.seed("buyer"), statements.seed("seller"))
    said = next_entry(
        made, [], "withdraw", author=made.order.buyer, seed=seeds[0], at=statements.now(), words="No."
    )
    held = papers_of_orders.Papers(
        order=msgspec.to_builtins(made.order),
        buyer_signature=sign_contract(made, seeds[0]),
        seller_signature=sign_contract(made, seeds[1]),
        buyer_entries=[said.as_dict()],
        seller_entries=[],
        tick={},
        report={},
        voucher_micro=0,
        voucher_signature="",
        deliveries=[],
        verdicts=[],
        messages=[],
    )
    return [papers_of_orders.write_papers(held)]


def _metered(data: bytes) -> object:
    """A tick of the meter or the report of a job, whichever it is."""
    job = statements.contract("compute")
    if b'"tick"' in data:
        found = read_tick(data, job, last=None, elapsed_s=20)
        assert found.owed_micro <= job.compute.cap_micro
        return found
    return read_report(data, job)


def _sign_metered(text: bytes) -> bytes:
    plain = msgspec.json.decode(text)
    name, context = ("tick", "tick") if "tick" in plain else ("report", "job-report")
    return statements.signed(plain[name], context, name=name)


def _assessed(data: bytes) -> object:
    """What an evaluator and a developer show of a model made to order."""
    if b'"opened"' in data:
        return read_openings(data)
    if b'"predicate"' in data:
        return read_statement(data)
    value = canonical.decode(data)
    # Whatever it says, the chain names it: so the reader goes on behind that check.
    named = hashlib.sha256(canonical.encode(value)).digest()
    return read_delivery(value, request=CID, model_hash=named)


def _assessed_seeds() -> list[bytes]:
    blob = {"cid": CID, "size": 4200, "sha256": "ab" * 32}
    files = [{"name": "model.onnx", "size": 4096, "sha256": "ab" * 32}]
    delivery = {"request": CID, "files": files, "blob": blob, "key_sha256": "ab" * 32}
    sealed = {"cells": ["1", "2"], "salt": "ab" * 16, "proof": ["ab" * 32]}
    openings = {
        "network": statements.network(),
        "statement": "ab" * 32,
        "block_hash": "ab" * 32,
        "opened": [{"index": 0, "row": sealed, "output": sealed}],
    }
    return [canonical.encode(delivery), canonical.encode(openings)]


def _challenge(data: bytes) -> object:
    value = challenge_wire.decode(data)
    kinds: dict[capacity.Context, Any] = {
        "challenge": capacity.Challenge,
        "commitment": capacity.Commitment,
        "verdict": capacity.Verdict,
        "case": capacity.Case,
    }
    inner = value.get("doc") if isinstance(value, dict) else None
    shape = set(inner) if isinstance(inner, dict) else set()
    what = max(kinds, key=lambda one: len(shape & set(kinds[one].__struct_fields__)))
    author = statements.peer_id("seller")
    return capacity.read_document(value, kinds[what], what=what, network=statements.network(), author=author)


# --- links that people paste ---


def _link(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    if text.startswith(rig_code.PREFIX):
        return rig_code.read_code(text, now=0)
    found = invitation.read_invitation(text)
    assert invitation.read_invitation(invitation.write_invitation(found)) == found
    return found


def _link_seeds() -> list[bytes]:
    code = rig_code.PairingCode(
        node=statements.peer_id("seller"), addrs=["/ip4/192.0.2.7/tcp/4001"], secret="ab" * 16, expires=9
    )
    asked = invitation.Invitation(
        name="Friends",
        chain_id=2**40,
        genesis_hash="0x" + "ab" * 32,
        host_peer=statements.peer_id("seller"),
        addrs=["/ip4/192.0.2.7/tcp/4001"],
        credit="0x" + "a1" * 20,
        escrow="0x" + "a2" * 20,
        channel="0x" + "a3" * 20,
    )
    return [rig_code.write_code(code).encode(), invitation.write_invitation(asked).encode()]


def _open_link(data: bytes) -> bytes:
    text = data.decode().rpartition(":")[2]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _close_link(text: bytes) -> bytes:
    prefix = rig_code.PREFIX if b'"secret"' in text else invitation.PREFIX
    return prefix.encode() + base64.urlsafe_b64encode(text).rstrip(b"=")


# --- letters and files of signed objects ---


def _letter(data: bytes) -> object:
    recipient = statements.peer_id("buyer")
    return letters.read_letter(data, recipient=recipient, network=statements.network(), now=statements.now())


def _letter_seeds() -> list[bytes]:
    letter = letters.Letter(
        id="ab" * 16,
        network=statements.network(),
        sender=statements.peer_id("seller"),
        recipient=statements.peer_id("buyer"),
        written=statements.now() - 9,
        expires=statements.now() + 9,
        protocol="/openstall/talk/1",
        answers="",
        body="aGVsbG8=",
    )
    return [letters.write_letter(letter, statements.seed("seller"))]


def _open_letter(data: bytes) -> bytes:
    return bytes(sodium_unpad(data, len(data)))


def _close_letter(text: bytes) -> bytes:
    plain = msgspec.json.decode(text)["letter"]
    signed = statements.signed(plain, "letter", name="letter").replace(b'"sig":', b'"signature":')
    fitting = next((one for one in letters.CLASSES if len(signed) < one), letters.CLASSES[-1])
    return bytes(sodium_pad(signed, fitting))


def _objects(data: bytes) -> object:
    """A file of signed objects, or one as a text."""
    if data.startswith(objects.PREFIX.encode()):
        return objects.read_text(data.decode("utf-8", "replace"))
    return objects.read_file(data, network=statements.network())


def _objects_seeds() -> list[bytes]:
    record = objects.record_item(statements.signed_record("listing").raw)
    accepted = objects.AcceptanceItem(network=statements.network(), order_id="ab" * 32, signature="A" * 86)
    letter = objects.LetterItem(to=statements.peer_id("buyer"), expires=7, letter="YQ==")
    file = objects.write_file(statements.network(), [record, accepted, letter])
    return [file, objects.write_text(accepted).encode()]


# --- the chain and files ---


def _chain(data: bytes) -> object:
    """An answer of a chain, a call of its gateway, and a raw transaction."""
    kind, rest = data[:1], data[1:]
    if kind == b"a":
        return transport.read_answer(rest)
    if kind == b"t":
        return gateway.read_raw_tx(["0x" + rest.hex()], chain_id=4242)
    found = gateway.answer(lambda method, params: [method, gateway.check_call(method, params)], rest)
    return json.loads(found)


def _chain_seeds() -> list[bytes]:
    from eth_account import Account

    fields = {
        "chainId": 4242,
        "nonce": 0,
        "gas": 21_000,
        "maxFeePerGas": 1,
        "maxPriorityFeePerGas": 1,
        "to": bytes.fromhex("a1" * 20),
        "value": 1,
    }
    signed = Account.sign_transaction(fields, "0x" + "11" * 32)
    return [
        b"t" + bytes(signed.raw_transaction),
        b'a{"jsonrpc":"2.0","id":1,"result":"0x1"}',
        b'a{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"reverted","data":"0x"}}',
        b'c{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}',
        b'c{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x' + b"a1" * 20 + b'","latest"]}',
    ]


def _file(data: bytes) -> object:
    """What a file is by its beginning, and the header of safetensors."""
    found = formats.recognise(data[: formats.HEAD_BYTES], len(data))
    if found.name == "safetensors":
        try:
            return formats.strict_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        except (ValueError, RecursionError):
            return None
    return found


def _file_seeds() -> list[bytes]:
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return [len(header).to_bytes(8, "little") + header + bytes(8), b"\x08\x09\x12\x04test", b"\x80\x04pickle"]


DECODERS: Final = (
    Decoder(
        name="framing",
        about="frames of a stream",
        read=read_frames,
        json=False,
        most=8192,
        seeds=lambda: [b"\x05\0\0\0\x03abc\0\0\0\0", b"\xff\0\0\x10\0" + bytes(4096)],
    ),
    Decoder(name="canonical", about="canonical JSON", read=_canonical, seeds=_order_seeds),
    Decoder(name="record", about="signed records", read=_record, seeds=_record_seeds, close=_sign_record),
    Decoder(name="order", about="documents of orders", read=_order, seeds=_order_seeds),
    Decoder(name="proof", about="proofs of contradiction", read=_proof, seeds=_proof_seeds, json=False),
    Decoder(name="hello", about="greetings", read=read_hello, seeds=hello_seeds, most=hello.MAX_BYTES + 8),
    Decoder(name="news", about="announcements", read=read_news, seeds=news_seeds, most=gossip.MAX_MESSAGE),
    Decoder(
        name="digests",
        about="digests, lists of cids, batches of records",
        read=read_digests,
        seeds=digest_seeds,
        json=False,
        most=record_wire.MAX_ANSWER // 8,
    ),
    Decoder(
        name="peers", about="peer exchange", read=read_peers, seeds=peers_seeds, most=discovery.MAX_ANSWER
    ),
    Decoder(
        name="message",
        about="messages of a dispute",
        read=_message,
        close=_sign_message,
        seeds=lambda: [statements.signed(_message_of(), "message", name="message")],
    ),
    Decoder(
        name="bundle",
        about="bundles of evidence",
        read=read_bundle,
        seeds=_bundle_seeds,
        most=MAX_BUNDLE // 16,
    ),
    Decoder(
        name="papers",
        about="papers of an order, with both parties' entries",
        read=_papers,
        seeds=_papers_seeds,
        most=papers_of_orders.MAX_PAPERS // 16,
    ),
    Decoder(
        name="blob", about="manifests and questions for blobs", read=read_blob, seeds=blob_seeds, json=False
    ),
    Decoder(
        name="link",
        about="invitations and pairing codes (openstall: links)",
        read=_link,
        seeds=_link_seeds,
        open=_open_link,
        close=_close_link,
        most=8192,
    ),
    Decoder(name="gossip", about="RPCs of gossipsub", read=read_gossip, seeds=gossip_seeds, json=False),
    Decoder(
        name="answer",
        about="answers and refusals",
        read=exchange.decode_answer,
        seeds=answer_seeds,
        json=False,
        most=exchange.MAX_REFUSAL + 8,
    ),
    Decoder(name="asks", about="requests and frames of every service", read=read_asks, seeds=ask_seeds),
    Decoder(
        name="letter",
        about="letters that were opened",
        read=_letter,
        seeds=_letter_seeds,
        open=_open_letter,
        close=_close_letter,
        most=letters.CLASSES[-1],
    ),
    Decoder(name="objects", about="files of signed objects", read=_objects, seeds=_objects_seeds, json=False),
    Decoder(
        name="metered",
        about="ticks and reports of jobs",
        read=_metered,
        close=_sign_metered,
        seeds=lambda: [statements.tick(), statements.report()],
    ),
    Decoder(
        name="assessed", about="assessments, openings, deliveries", read=_assessed, seeds=_assessed_seeds
    ),
    Decoder(
        name="served",
        about="questions and answers of a served model",
        read=read_served,
        seeds=served_seeds,
        json=False,
    ),
    Decoder(
        name="address", about="multiaddresses", read=read_address, seeds=address_seeds, json=False, most=400
    ),
    Decoder(
        name="chain",
        about="chain answers, gateway calls, raw transactions",
        read=_chain,
        seeds=_chain_seeds,
        json=False,
    ),
    Decoder(name="file", about="beginnings of model files", read=_file, seeds=_file_seeds, json=False),
)


def decoder(name: str) -> Decoder:
    """The decoder of that name."""
    return next(one for one in DECODERS if one.name == name)
