from __future__ import annotations

import pytest

from openstall.p2p.prefixes import LOCAL, network_of


@pytest.mark.parametrize(
    ("address", "narrow", "wide"),
    [
        ("/ip4/192.0.2.77/tcp/4001", "192.0.2.0/24", "192.0.0.0/16"),
        ("/ip6/2001:db8:1:2::3/tcp/4001", "2001:db8:1::/48", "2001:db8::/32"),
        ("/ip6/::ffff:192.0.2.77/tcp/1", "192.0.2.0/24", "192.0.0.0/16"),
        ("/dns4/stall.shop.Example./tcp/443", "name:shop.example", "name:shop.example"),
        ("/ip4/127.0.0.1/tcp/1", LOCAL, LOCAL),
        ("/ip4/10.1.2.3/tcp/1", LOCAL, LOCAL),
        ("/ip6/fd00::1/tcp/1", LOCAL, LOCAL),
        ("/ip6/fe80::1/tcp/1", LOCAL, LOCAL),
        ("", LOCAL, LOCAL),
        ("/ip4/not an address/tcp/1", LOCAL, LOCAL),
    ],
)
def test_the_network_of_an_address(address: str, narrow: str, wide: str) -> None:
    assert network_of(address) == narrow
    assert network_of(address, wide=True) == wide


def test_private_networks_count_where_that_is_asked() -> None:
    assert network_of("/ip4/127.0.3.1/tcp/1", local=True) == "127.0.3.0/24"
