"""Which network an address belongs to: the unit in which identities are cheap and addresses are not.

Somebody who makes a thousand peer ids has them all behind a few addresses. What is counted by network
(`/24` of IPv4, `/48` of IPv6) costs an attacker networks. Private addresses and those of this machine are
in none: who is on the same LAN, or the same computer, is not a crowd of strangers.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

LOCAL = ""
"""What `network_of` gives for addresses that nobody else can have."""


@lru_cache(maxsize=4096)
def network_of(address: str, *, wide: bool = False, local: bool = False) -> str:
    """The network of a multiaddress such as `/ip4/192.0.2.7/tcp/4001`, as text; `LOCAL` for private ones.

    Args:
        wide: the larger unit in which the peer book spreads its entries: `/16` and `/32`.
        local: give private addresses and loopback their network too.
    """
    parts = address.split("/")
    kind, host = (parts[1], parts[2]) if len(parts) > 2 else ("", "")
    if kind.startswith("dns"):
        return "name:" + ".".join(host.lower().rstrip(".").split(".")[-2:])
    try:
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host)
    except ValueError:
        return LOCAL
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if not local and (ip.is_loopback or ip.is_link_local or _at_home(ip)):
        return LOCAL
    lengths = {4: 16, 6: 32} if wide else {4: 24, 6: 48}
    return str(ipaddress.ip_network((ip, lengths[ip.version]), strict=False))


_HOME = tuple(
    ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _at_home(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(ip.version == one.version and ip in one for one in _HOME)
