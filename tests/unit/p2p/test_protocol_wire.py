"""The part “On the wire” of docs/protocol.md is compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from openstall.app.services import gateway
from openstall.app.services.contests import talk as contests
from openstall.app.services.custom import talk as custom
from openstall.app.services.disputes import talk
from openstall.app.services.orders import negotiation
from openstall.p2p import (
    blob_manifest,
    blob_transfer,
    blob_wire,
    catalogue,
    discovery,
    gossip,
    hello,
    limits,
    record_wire,
)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def rows(heading: str) -> list[list[str]]:
    lines = re.findall(r"^\|(.*)\|$", section(heading), re.MULTILINE)[2:]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("hello", hello.Hello), ("announcement", catalogue._News), ("known peer", discovery._Shared)],
)
def test_every_field_is_on_the_page(heading: str, schema: type[msgspec.Struct]) -> None:
    assert [row[0] for row in rows(heading)] == list(schema.__struct_fields__)


def test_the_rates_are_those_of_the_code() -> None:
    told = {
        row[0].strip("`"): limits.Rate(per_s=float(row[1]), burst=float(row[2])) for row in rows("Limits")
    }
    assert told["announcements"] == gossip.RATE
    records = next(rate for name, rate in told.items() if "/records/digests/2" in name)
    assert records == record_wire.RATE
    assert told[blob_wire.PROTOCOL + "` (streams)"] == blob_transfer.RATE
    for module, name in (
        (negotiation, "order"), (custom, "custom"), (talk, "talk"), (contests, "contest"), (gateway, "chain"),
    ):  # fmt: skip
        assert told[f"/openstall/{name}/1"] == module.RATE


def test_the_limits_are_those_of_the_code() -> None:
    own = limits.HostLimits()
    text = " ".join(section("Limits").split())
    assert f"{limits.BAN_SCORE:.0f} points" in text
    assert (
        f"at most {own.max_connections} connections, {own.max_streams_per_connection} streams on one" in text
    )
    assert own.max_handlers_per_peer == own.max_conversations_per_peer == 24
    assert f"within {own.request_read_s:.0f} seconds, its answer within {own.handler_s:.0f}" in text
    assert f"for {own.idle_stream_s:.0f} seconds ends" in text


def test_every_protocol_id_of_the_code_is_on_the_page() -> None:
    ids: set[str] = set()
    for folder in ("p2p", "app"):
        for file in (ROOT / folder).rglob("*.py"):
            ids |= set(re.findall(r'"(/openstall/[a-z-]+/1)"', file.read_text(encoding="utf-8")))
    assert len(ids) > 10
    assert [one for one in sorted(ids) if f"| `{one}` |" not in PAGE] == []


def test_sizes_of_blobs() -> None:
    text = section("Blobs")
    assert "chunks of 1 MiB" in text
    assert blob_manifest.CHUNK == 2**20
    assert f"{blob_wire.MAX_RUN}: the answer" in text
    assert blob_manifest.MAX_CHUNKS * blob_manifest.CHUNK == 256 * 2**30
