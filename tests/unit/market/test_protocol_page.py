"""docs/protocol.md says what the code does: its tables and its worked example are read and compared."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from openstall.market import canonical, capacity, ids, letters, metering, quotas, records, sightings
from openstall.market.disputes import evidence, messages
from openstall.market.orders import documents, machine, papers, protocols, results, transcript
from openstall.market.requests import assessment, bodies, openings, ranking

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
SCHEMAS: dict[str, type[msgspec.Struct]] = {
    "record": records.Record,
    "listing": records.Listing,
    "offer": records.Offer,
    "capacity": records.Capacity,
    "service": records.Service,
    "service level": records.ServiceLevel,
    "telemetry": sightings.Telemetry,
    "service case": sightings.ServiceCase,
    "figure": records.Figure,
    "work": records.Work,
    "challenge": capacity.Challenge,
    "commitment": capacity.Commitment,
    "opening": capacity.Opening,
    "verdict": capacity.Verdict,
    "case": capacity.Case,
    "request": bodies.RequestBody,
    "developer": bodies.DeveloperBody,
    "peer": records.Peer,
    "tombstone": records.Tombstone,
    "file entry": records.FileEntry,
    "blob reference": records.BlobRef,
    "card": records.Card,
    "metric": records.Metric,
    "gpu": records.Gpu,
    "binding": records.Binding,
    "order": documents.Order,
    "sale terms": documents.SaleTerms,
    "custom terms": documents.CustomTerms,
    "compute terms": documents.ComputeTerms,
    "input file": documents.InputFile,
    "limits": documents.Limits,
    "tick": metering.Tick,
    "job report": results.JobReport,
    "assessment": assessment.Assessment,
    "assessed figure": assessment.Figure,
    "sheet": ranking.Sheet,
    "line": ranking.Line,
    "openings": openings.Openings,
    "opened row": openings.OpenedRow,
    "sealed entry": openings.Sealed,
    "message": messages.Message,
    "bundle": evidence.Bundle,
    "signed manifest": evidence.SignedManifest,
    "manifest": evidence.Manifest,
    "item": evidence.Item,
    "step": evidence.Step,
    "transaction": evidence.Transaction,
    "event": evidence.ChainEvent,
    "letter": letters.Letter,
    "entry": transcript.Entry,
    "papers": papers.Papers,
    "delivery paper": papers.DeliveryPaper,
    "verdict paper": papers.VerdictPaper,
}


def section(heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table below its head and rule."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()[2:]]
        for block in blocks
    ]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_field_is_on_the_page(name: str) -> None:
    (rows,) = tables(section(name))
    assert [row[0] for row in rows] == list(SCHEMAS[name].__struct_fields__)
    assert all(len(row) == 2 and row[1] for row in rows)


def test_the_quotas_of_authors_are_on_the_page() -> None:
    quotas_table, *_ = tables(section("The catalogue"))
    assert {type_: int(most) for type_, most in quotas_table} == dict(quotas.LIVE_PER_AUTHOR)
    assert set(quotas.LIVE_PER_AUTHOR) == set(records.BODIES) - {"tombstone"}


def test_no_statement_is_missing() -> None:
    assert set(records.BODIES) <= set(SCHEMAS)
    assert {f"{kind} terms" for kind in documents.TERMS} <= set(SCHEMAS)


def test_every_signing_context_is_on_the_page() -> None:
    (rows,) = tables(section("Keys, signatures, addresses"))
    named = [*records.BODIES, "order", "tick", "job-report", *capacity.CONTEXTS]
    named += [messages.CONTEXT, evidence.CONTEXT, letters.CONTEXT, transcript.CONTEXT]
    assert [row[0] for row in rows] == named


def test_every_fault_of_a_model_is_on_the_page() -> None:
    listed = re.search(r"^Faults: (.*?)\.\n", section("assessment"), re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert re.findall(r"`(\w+)`", listed[1]) == [code for code in get_args(assessment.Fault) if code]


@pytest.mark.parametrize("kind", machine.MACHINES)
def test_the_state_tables(kind: str) -> None:
    table = machine.MACHINES[kind]
    text = section(kind)
    steps, exits = tables(text)
    assert [tuple(row) for row in steps] == [
        (step.state, step.event, step.target, step.by, step.source, step.when) for step in table.steps
    ]
    held = {True: "yes", False: "no"}
    assert [(row[0], *row[2:]) for row in exits] == [
        (state, way.event, way.by, held[state in table.money_held]) for state, way in table.exits.items()
    ]
    assert f"Final: {', '.join(sorted(table.final))}." in text


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_the_tables_of_messages(name: str) -> None:
    (rows,) = tables(section(f"messages of {name}"))
    assert rows == [
        [
            row.message,
            "all" if row.kinds == tuple(machine.MACHINES) else ", ".join(row.kinds),
            *("anybody in it" if len(who) == 4 else ", ".join(who) for who in (row.senders, row.receivers)),
            states_of(row),
            row.answer,
            row.causes or "-",
            row.clock or "-",
            row.passed or "-",
        ]
        for row in protocols.PROTOCOLS[name]
    ]


def states_of(row: protocols.Row) -> str:
    """The states of a row, as the page shortens them."""
    every = {name for kind in row.kinds for name in states_named(kind)}
    if set(row.states) == every | {protocols.NEW}:
        return "any"
    return "any but new" if set(row.states) == every else ", ".join(row.states)


def states_named(kind: str) -> set[str]:
    table = machine.MACHINES[kind]
    return {step.state for step in table.steps} | table.final


def worked_example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", section("Worked example"), re.DOTALL)
    assert found is not None
    example: dict[str, Any] = json.loads(found[1])
    return example


def test_the_worked_example_with_our_own_code() -> None:
    example = worked_example()
    seed = bytes.fromhex(example["seed_hex"])
    record = msgspec.convert(example["record"], records.Record)
    signed = records.sign_record(record, seed)
    content = canonical.encode(example["record"])
    assert signed.raw == example["wire"].encode()
    assert signed.cid == example["cid"]
    assert content == example["canonical"].encode() == bytes.fromhex(example["canonical_hex"])
    assert json.loads(signed.raw)["sig"] == example["sig"]
    assert ids.public_key_of(record.author).hex() == example["public_key_hex"]
    assert records.parse_record(signed.raw, network=record.network, now=record.issued) == signed


def test_the_worked_example_with_other_libraries() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    example = worked_example()
    content = json.dumps(
        example["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(example["seed_hex"]))
    prefix = f"openstall-{example['record']['type']}-v1\0{example['record']['network']}\0".encode()
    digest = hashlib.sha256(content).digest()
    signature = key.sign(prefix + content)
    assert content.hex() == example["canonical_hex"]
    assert prefix.hex() == example["signed_prefix_hex"]
    assert digest.hex() == example["sha256"]
    assert signature.hex() == example["signature_hex"]
    assert base64.urlsafe_b64encode(signature).decode().rstrip("=") == example["sig"]
    cid = base64.b32encode(bytes.fromhex("0180041220") + digest).decode().lower().rstrip("=")
    assert example["cid"] == "b" + cid
