"""The decoders of requests between services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import statements
from decoding import CID

from openstall.app.services.capacity import casefile
from openstall.app.services.contests import wire as contest_wire
from openstall.app.services.custom import wire as custom_wire
from openstall.app.services.disputes import wire as dispute_wire
from openstall.app.services.orders import job_wire, serve_wire, telling
from openstall.app.services.rigs import wire as rig_wire
from openstall.app.services.service_levels import wire as service_wire
from openstall.compute_agent import serving
from openstall.market import canonical
from openstall.market.errors import OpenstallError
from openstall.market.schema import from_wire
from openstall.p2p import (
    mailbox,
)

_ASKS: Final[tuple[tuple[Callable[[bytes], object], type[Any]], ...]] = (
    (lambda raw: msgspec.convert(canonical.decode(raw), telling.Ask), telling.Ask),
    (casefile.decode_ask, casefile.Ask),
    (service_wire.decode_ask, service_wire.Ask),
    (lambda raw: from_wire(raw, custom_wire.Ask, most=custom_wire.MAX_ASK), custom_wire.Ask),
    (lambda raw: from_wire(raw, contest_wire.Ask, most=contest_wire.MAX_ASK), contest_wire.Ask),
    (lambda raw: from_wire(raw, dispute_wire.Ask, most=dispute_wire.MAX_ASK), dispute_wire.Ask),
    (job_wire.read_from_provider, job_wire.FromProvider),
    (job_wire.read_from_buyer, job_wire.FromBuyer),
    (lambda raw: from_wire(raw, mailbox.Ask, most=mailbox.MAX_ASK), mailbox.Ask),
    (rig_wire.read_from_rig, rig_wire.FromRig),
    (rig_wire.read_from_node, rig_wire.FromNode),
)


def read_asks(data: bytes) -> list[object]:
    """One message, given to the reader of every service: none may stumble over another's."""
    found: list[object] = []
    for read, _ in _ASKS:
        try:
            found.append(read(data))
        except (OpenstallError, msgspec.ValidationError):
            continue
    return found


def ask_seeds() -> list[bytes]:
    plain: list[dict[str, Any]] = [
        {"do": "propose", "order": statements.plain_order("sale"), "buyer_signature": "A" * 86},
        {"do": "cancel_job", "order_id": "ab" * 32},
        {"do": "complain", "case": "ab" * 32},
        {"do": "delivery", "order_id": "ab" * 32, "attempt": 1, "statement": "", "signature": ""},
        {"do": "board", "request": CID, "wallet": "", "delivery": None, "key": ""},
        {"do": "evidence", "order_id": "ab" * 32, "message": {}, "signature": ""},
        {"do": "put", "to": "12D3KooW", "expires": 7, "letter": "YQ==", "ids": []},
        {"follow": "ab" * 32, "from_log": 3, "voucher_micro": 7, "voucher_signature": "0x" + "ab" * 65},
        {"started_at": 1, "done": 2, "total": 3, "phase": "working", "ahead": 1, "tick": {}, "report": {}},
        {"unpaired": True},
    ]
    return [canonical.encode(one) for one in plain]


def read_served(data: bytes) -> object:
    kind, rest = data[:1], data[1:]
    if kind == b"q":
        return serving.read_question(rest)
    return serving.read_answer(rest) if kind == b"a" else serve_wire.read_first(rest)


def served_seeds() -> list[bytes]:
    return [
        b'f{"order":"' + b"ab" * 32 + b'"}',
        b'q{"n":1,"prompt":"Hello","max_tokens":5,"stop":["."],"stream":true}',
        b'q{"n":1,"rows":[[1.5,2]]}',
        b'a{"type":"answer","n":1,"text":"Hi"}',
    ]
