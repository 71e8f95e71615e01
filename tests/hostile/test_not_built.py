"""What this version has no record for: reviews, labels, certificates, lineage. None is taken from anybody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import statements

from openstall.app.services.door import new_record
from openstall.market import canonical, ids
from openstall.market.errors import InvalidRecord
from openstall.market.records import BODIES, parse_record
from openstall.store.database import Store
from openstall.store.records import Records
from openstall.store.search import Search

ABSENT = {
    "reviews and ratings": ("review", "rating", "receipt", "feedback", "vouch"),
    "keys that follow other keys": ("rotation", "recovery", "revocation"),
    "labels of moderators": ("label", "retraction", "policy"),
    "lists of forbidden things": ("denylist", "blocklist"),
    "notices": ("notice", "takedown", "counter-notice"),
    "certificates of auditors": ("certificate", "assessment", "audit"),
    "checkpoints of a log": ("checkpoint", "tree-head", "witness"),
    "rounds of learning together": ("round", "contribution", "update"),
    "lineage of models": ("lineage", "derived", "parent"),
    "the program itself": ("release", "version", "software-update", "manifest"),
}


@pytest.mark.parametrize("kinds", ABSENT.values(), ids=[name.replace(" ", "-") for name in ABSENT])
def test_a_record_of_a_kind_that_is_not_built_is_refused_whoever_signs_it(kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        assert kind not in BODIES
        plain = statements.plain_record("listing") | {"type": kind}
        raw = statements.signed(plain, kind, name="record")
        with pytest.raises(InvalidRecord) as caught:
            parse_record(raw, network=statements.network(), now=statements.now())
        assert caught.value.code == "unknown_type"


def test_no_listing_says_of_what_it_was_made_or_who_certified_it() -> None:
    """A field that nobody checks would be believed: there is none, and none can be added."""
    for name in ("parents", "derived_from", "certificate", "rating", "label", "sha256_of_code"):
        plain = statements.plain_record("listing")
        plain["body"][name] = "b" + "a" * 58
        with pytest.raises(InvalidRecord) as caught:
            parse_record(
                statements.signed(plain, "listing", name="record"),
                network=statements.network(),
                now=statements.now(),
            )
        assert caught.value.code == "bad_schema"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    store = Store(tmp_path / "store.sqlite")
    yield Records(store)
    store.close()


def admit(records: Records, **changes: Any) -> str:
    """The cid of the example listing, as it comes in by the door."""
    raw = statements.signed(statements.plain_record("listing") | changes, "listing", name="record")
    signed = parse_record(raw, network=statements.network(), now=statements.now())
    records.add_many([new_record(signed)], now=statements.now())
    return signed.cid


def test_the_date_of_a_record_decides_nothing_but_its_end(records: Records) -> None:
    """Backdated or not, the higher number is live; nothing is reckoned from when an author says it wrote."""
    admit(records, seq=1, issued=statements.now())
    backdated = admit(records, seq=2, issued=statements.now() - 300 * 86_400)
    author = statements.peer_id("seller")
    live = records.live(statements.network(), author, "listing", "model-1", now=statements.now())
    assert live is not None
    assert live.cid == backdated


def test_a_search_asks_nobody(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads this node's own copy of the catalogue: no other peer learns what somebody looks for."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a search went out to the network")

    admit(records)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    store = Store(tmp_path / "store.sqlite")
    found = Search(store).find(statements.network(), now=statements.now(), query="tumour")
    store.close()
    assert found.total == 1


UPDATERS = ("pypi.org", "releases/latest", "update_feed", "appcast")


def test_nothing_looks_for_a_newer_version_of_the_program() -> None:
    """There is no update channel to roll back, freeze or take over: nothing asks for a newer one."""
    root = Path(__file__).parents[2]
    asked = [
        str(path.relative_to(root))
        for room in ("app", "ui", "p2p", "store")
        for path in (root / room).rglob("*.py")
        if any(word in path.read_text("utf-8") for word in UPDATERS)
    ]
    assert asked == []


def test_a_record_is_known_by_its_content_whatever_its_signature_looks_like() -> None:
    """Another spelling of a signature makes no second record, so none escapes a ban or a count by it."""
    plain = statements.plain_record("listing")
    raw = statements.signed(plain, "listing", name="record")
    said = canonical.decode(raw)["sig"]
    now, network = statements.now(), statements.network()
    for other in (said[:-1] + chr(ord(said[-1]) ^ 1), said + "==", said + " ", said.swapcase()):
        with pytest.raises(InvalidRecord):
            parse_record(canonical.encode({"record": plain, "sig": other}), network=network, now=now)
    assert parse_record(raw, network=network, now=now).cid == ids.cid_of(canonical.encode(plain))
