from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from openstall.ledger.chain import ChainParams
from openstall.ledger.invitation import (
    MAX_INVITATION_CHARS,
    PREFIX,
    invite,
    read_invitation,
    write_invitation,
)
from openstall.market import canonical
from openstall.market.errors import Refused
from openstall.market.ids import peer_id_of

PARAMS = ChainParams(
    chain_id=2**48 + 5,
    genesis_hash="0x" + "ab" * 32,
    name="Garden",
    credit="0x" + "01" * 20,
    escrow="0x" + "02" * 20,
    channel="0x" + "03" * 20,
    kind="group",
)
PEER = peer_id_of(bytes(SigningKey(b"\x01" * 32).verify_key))
GOOD = invite(PARAMS, host_peer=PEER, addrs=["/ip4/127.0.0.1/tcp/4001"])


def packed(value: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(canonical.encode(value)).decode().rstrip("=")


def plain() -> dict[str, object]:
    text = write_invitation(GOOD).removeprefix(PREFIX)
    value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert isinstance(value, dict)
    return value


def test_round_trip_also_with_line_breaks() -> None:
    text = write_invitation(GOOD)
    assert read_invitation(text) == GOOD
    assert read_invitation(f"  {text[:60]}\n{text[60:]}\n") == GOOD
    assert GOOD.params() == PARAMS


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"chain_id": 0},
        {"chain_id": "5"},
        {"genesis_hash": "0x12"},
        {"host_peer": "12D3KooWnothing" * 4},
        {"addrs": ["not an address"]},
        {"addrs": ["/ip4/127.0.0.1/tcp/1"] * 17},
        {"credit": "0x" + "02" * 20},
        {"extra": 1},
        {"name": ""},
    ],
)
def test_malformed_invitations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refused) as error:
        read_invitation(packed(plain() | change))
    assert error.value.code == "bad_invitation"


@pytest.mark.parametrize("text", ["", "hello", "https://x", PREFIX, PREFIX + "!!!", PREFIX + "A" * 100_000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_invitation(text)


@given(st.integers(0, 400), st.characters(codec="ascii"))
def test_a_changed_character_is_refused_or_harmless(place: int, letter: str) -> None:
    text = write_invitation(GOOD)
    place %= len(text)
    changed = text[:place] + letter + text[place + 1 :]
    with suppress(Refused):
        assert read_invitation(changed).chain_id > 0


def test_a_group_with_bonds_says_where_they_are_and_an_older_one_leaves_it_out() -> None:
    assert "bond" not in plain()
    newer = replace(PARAMS, bond="0x" + "04" * 20)
    text = write_invitation(invite(newer, host_peer=PEER, addrs=[]))
    assert read_invitation(text).params() == newer
    for wrong in (PARAMS.escrow, "0x12", ""):
        with pytest.raises(Refused):
            read_invitation(packed({**plain(), "bond": wrong}))


def test_a_group_with_requests_says_where_their_contracts_are_and_an_older_one_leaves_them_out() -> None:
    names = ("auction", "model_escrow", "contest")
    assert not plain().keys() & set(names)
    newer = replace(PARAMS, auction="0x" + "05" * 20, model_escrow="0x" + "06" * 20, contest="0x" + "07" * 20)
    text = write_invitation(invite(newer, host_peer=PEER, addrs=[]))
    assert read_invitation(text).params() == newer
    for name in names:
        for wrong in (PARAMS.escrow, "0x12", "", 5):
            with pytest.raises(Refused):
                read_invitation(packed({**plain(), name: wrong}))


def test_an_invitation_begins_as_one_and_is_measured_before_it_is_read() -> None:
    text = write_invitation(GOOD)
    assert read_invitation(" \n".join(text)) == GOOD
    for wrong in (text.removeprefix(PREFIX), text + " " * 2 * MAX_INVITATION_CHARS):
        with pytest.raises(Refused) as caught:
            read_invitation(wrong)
        assert caught.value.code == "bad_invitation"
