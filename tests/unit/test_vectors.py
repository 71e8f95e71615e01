"""The test vectors of docs/protocol.md are what the code does; tests/interop checks them in JavaScript."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from openstall.market import canonical, ids
from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.records import parse_record
from openstall.p2p import blob_manifest, blob_wire, exchange, hello

FOLDER = Path(__file__).parents[1] / "vectors"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()
NAMES = sorted(MAKER.FILES)


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_code_writes_what_is_committed(name: str) -> None:
    assert MAKER.text_of(name) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_no_file_is_left_over_and_the_page_names_each() -> None:
    assert sorted(one.stem for one in FOLDER.glob("*.json")) == NAMES
    page = (FOLDER.parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"tests/vectors/{name}.json" not in page] == []


def test_the_canonical_form_is_read_and_its_neighbours_are_not() -> None:
    given = vectors("canonical")
    for one in given["valid"]:
        assert canonical.decode(bytes.fromhex(one["hex"])) == one["value"]
    for one in given["refused"]:
        with pytest.raises(InvalidRecord):
            canonical.decode(bytes.fromhex(one["hex"]))


def test_signatures_hold_in_their_own_context_only() -> None:
    given = vectors("signatures")
    content = bytes.fromhex(given["content_hex"])
    for context, signature in given["signatures"].items():
        ids.verify(given["peer_id"], signature, context, given["network"], content)
    for one in given["refused"]:
        with pytest.raises(InvalidRecord):
            ids.verify(given["peer_id"], one["signature"], one["context"], given["network"], content)


def test_records_are_taken_and_refused_as_told() -> None:
    given = vectors("records")
    for one in given["valid"]:
        found = parse_record(one["wire"].encode(), network=given["network"], now=given["now"])
        assert (found.cid, found.record.type) == (one["cid"], one["type"])
    for one in given["refused"]:
        with pytest.raises(InvalidRecord) as caught:
            parse_record(bytes.fromhex(one["hex"]), network=given["network"], now=given["now"])
        assert caught.value.code == one["code"]


def test_manifests_frames_and_answers_are_read() -> None:
    for one in vectors("blobs")["blobs"]:
        raw = bytes.fromhex(one["manifest_hex"])
        assert blob_manifest.cid_of_manifest(raw) == one["cid"]
        assert blob_manifest.decode(raw).info().sha256 == one["sha256"]
    for one in vectors("blobs")["refused"]:
        with pytest.raises(PeerError):
            blob_manifest.decode(bytes.fromhex(one["hex"]))
    given = vectors("frames")
    for one in given["answers"]:
        if "refusal" in one:
            with pytest.raises(exchange.RefusedByPeer) as caught:
                exchange.decode_answer(bytes.fromhex(one["answer_hex"]))
            assert caught.value.code == one["refusal"]["code"]
        else:
            assert exchange.decode_answer(bytes.fromhex(one["answer_hex"])).hex() == one["result_hex"]
    assert hello.decode(bytes.fromhex(given["hello"]["payload_hex"])).name == given["hello"]["value"]["name"]
    for one in given["blob_questions"]:
        found = blob_wire.decode(bytes.fromhex(one["payload_hex"]))
        assert (found.cid, found.first, found.count) == (one["cid"], one["first"], one["count"])
