"""What another peer may make us dial by hole punching."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openstall.p2p.circuits import HolePunch
from openstall.p2p.engine import Multiaddr
from openstall.p2p.identity import peer_id_from_seed
from openstall.p2p.punch import MAX_ADDRS, _named

RELAY = peer_id_from_seed(bytes(32))


def named(*addrs: str) -> list[str]:
    raw = [Multiaddr(one).to_bytes() for one in addrs]
    return _named(HolePunch(type=HolePunch.CONNECT, ObsAddrs=raw))


def test_only_addresses_in_the_internet_of_two_hosts_are_dialled() -> None:
    assert named("/ip4/45.0.0.1/tcp/4001", "/ip4/45.0.0.1/tcp/4001") == ["/ip4/45.0.0.1/tcp/4001"]
    inside = ["/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/22", "/ip6/::1/tcp/80"]
    assert named(*inside, "/ip4/224.0.0.1/tcp/1", "/ip4/45.0.0.1/tcp/0", "/dns4/stall.example/tcp/1") == []
    assert named("/ip4/45.0.0.1/udp/4001", f"/ip4/45.0.0.1/tcp/1/p2p/{RELAY}/p2p-circuit") == []
    many = [f"/ip4/45.0.0.{number}/tcp/4001" for number in range(1, 7)]
    assert named(*many) == many[:2]
    ports = [f"/ip4/45.0.0.1/tcp/{number}" for number in range(1, 12)]
    assert named(*ports) == ports[:MAX_ADDRS]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_garbage_names_nothing(raw: list[bytes]) -> None:
    assert len(_named(HolePunch(type=HolePunch.CONNECT, ObsAddrs=raw))) <= MAX_ADDRS
