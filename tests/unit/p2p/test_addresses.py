from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.market.errors import PeerError
from openstall.p2p import addresses
from openstall.p2p.identity import peer_id_from_seed

PEER = peer_id_from_seed(bytes(32))


def test_an_address_is_split_into_transport_and_peer() -> None:
    assert addresses.split(f" /ip4/192.0.2.7/tcp/4001/p2p/{PEER} ") == ("/ip4/192.0.2.7/tcp/4001", PEER)
    assert addresses.split("/dns4/stall.example/tcp/4001") == ("/dns4/stall.example/tcp/4001", "")
    assert addresses.split("/ip6/2001:db8::1/tcp/4001")[0] == "/ip6/2001:db8::1/tcp/4001"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "stall.example:4001",
        "/ip4/192.0.2.7/udp/4001",
        "/ip4/192.0.2.7/tcp/4001/ws",
        "/ip4/300.0.2.7/tcp/4001",
        "/ip4/192.0.2.7/tcp/70000",
        "/ip4/192.0.2.7/tcp/x",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}x",
        "/ip4/192.0.2.7/tcp/4001/p2p/../../etc",
        "/unix/tmp/x/tcp/1",
        "/ip4/192.0.2.7/tcp/4001/p2p/" + "A" * 300,
    ],
)
def test_what_is_no_peer_address_is_refused(text: str) -> None:
    with pytest.raises(PeerError) as caught:
        addresses.split(text)
    assert caught.value.code in ("bad_address", "bad_peer_id")


RELAY = peer_id_from_seed(bytes([1]) * 32)
WAY = f"/ip4/45.0.0.1/tcp/4001/p2p/{RELAY}/p2p-circuit"


def test_the_way_through_a_relay_is_split_too() -> None:
    assert addresses.split(f"{WAY}/p2p/{PEER}") == (WAY, PEER)
    assert addresses.split(WAY) == (WAY, "")
    assert addresses.is_circuit(WAY)
    assert not addresses.is_circuit("/ip4/45.0.0.1/tcp/4001")
    assert addresses.relay_of(WAY) == ("/ip4/45.0.0.1/tcp/4001", RELAY)
    assert addresses.dialable(WAY)
    for wrong in (
        "/ip4/45.0.0.1/tcp/4001/p2p/x/p2p-circuit",
        f"/ip4/45.0.0.1/tcp/4001/x/{RELAY}/p2p-circuit",
        f"{WAY}/p2p/{PEER}/p2p-circuit/p2p/{PEER}",
        f"{WAY}/x",
        f"/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
    ):
        with pytest.raises(PeerError):
            addresses.split(wrong)


@pytest.mark.parametrize(
    ("address", "remote", "fits"),
    [
        ("/ip4/45.0.0.9/tcp/1", "/ip4/45.0.0.1/tcp/2", True),
        ("/ip4/45.0.0.9/tcp/1", "", True),
        ("/ip4/192.168.1.1/tcp/80", "/ip4/45.0.0.1/tcp/2", False),
        ("/ip4/192.168.1.1/tcp/80", "", False),
        ("/ip4/192.168.1.1/tcp/80", "/ip4/192.168.1.7/tcp/2", True),
        ("/ip4/192.168.1.1/tcp/80", f"{WAY}/p2p/{PEER}", False),
        ("/ip4/192.168.1.1/tcp/80", f"/ip4/192.168.1.2/tcp/1/p2p/{RELAY}/p2p-circuit", False),
        ("/ip4/127.0.0.1/tcp/80", "/ip4/192.168.1.7/tcp/2", False),
        ("/ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/2", True),
        ("/ip4/169.254.1.1/tcp/80", "/ip4/127.0.0.1/tcp/2", False),
        (WAY, "/ip4/45.0.0.1/tcp/2", True),
        (WAY.replace("45.0.0.1", "10.0.0.1"), "/ip4/45.0.0.1/tcp/2", False),
        ("rubbish", "/ip4/127.0.0.1/tcp/2", False),
    ],
)
def test_who_may_tell_us_which_address(address: str, remote: str, fits: bool) -> None:
    assert addresses.fits(address, remote) is fits


@given(st.text(max_size=300) | st.text(alphabet="/ip4tcdnsx0123456789.:", max_size=60))
def test_no_text_breaks_the_splitter(text: str) -> None:
    try:
        addresses.split(text)
    except PeerError:
        return
    assert addresses.dialable(text) in (True, False)


def test_only_addresses_that_somebody_else_can_dial_are_worth_keeping() -> None:
    assert addresses.dialable("/ip4/192.0.2.7/tcp/4001")
    assert not addresses.dialable("/ip4/0.0.0.0/tcp/4001")
    assert not addresses.dialable("/ip4/192.0.2.7/tcp/0")
    assert not addresses.dialable("/ip4/224.0.0.1/tcp/5")
    assert addresses.is_loopback("/ip4/127.0.0.1/tcp/5")


def test_a_wildcard_becomes_the_addresses_of_this_machine() -> None:
    found = addresses.expand(["/ip4/0.0.0.0/tcp/4001"])
    assert "/ip4/127.0.0.1/tcp/4001" in found
    assert not any("0.0.0.0" in one for one in found)
