"""What two peers tell each other right after they connect: name, network, where they listen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from openstall.market.errors import PeerError
from openstall.market.schema import NONSENSE
from openstall.p2p import addresses
from openstall.p2p.exchange import printable

PROTOCOL = "/openstall/hello/1"
MAX_BYTES = 8192
MAX_NAME = 60
MAX_ADDRS = 12


class Hello(Struct, kw_only=True, frozen=True):
    """The greeting. `seen` is where the sender sees the receiver; `relay`: the sender relays for others."""

    v: int = 1
    network: Annotated[str, Meta(max_length=80)] = ""
    name: Annotated[str, Meta(max_length=200)] = ""
    addrs: Annotated[
        list[Annotated[str, Meta(max_length=addresses.MAX_LENGTH)]], Meta(max_length=MAX_ADDRS)
    ] = []
    seen: Annotated[str, Meta(max_length=addresses.MAX_LENGTH)] = ""
    relay: bool = False


def encode(hello: Hello) -> bytes:
    """The greeting as it is sent."""
    return msgspec.json.encode(hello)


def decode(raw: bytes) -> Hello:
    """A greeting from anybody, with its name made harmless.

    Raises:
        PeerError: `bad_hello`.
    """
    bad = PeerError("bad_hello", "The other peer's greeting makes no sense.")
    if len(raw) > MAX_BYTES:
        raise bad
    try:
        hello = msgspec.json.decode(raw, type=Hello)
    except NONSENSE as error:
        raise bad from error
    return msgspec.structs.replace(hello, name=printable(hello.name, MAX_NAME))


def useful_addrs(hello: Hello, *, remote: str) -> list[str]:
    """The addresses worth dialling later.

    Private addresses count only from a peer in a private network, loopback ones only from a peer on this
    machine. The remote end of the connection with each claimed port comes last: behind a forwarded port it is
    the one that works.
    """
    claimed = [addresses.split(one)[0] for one in hello.addrs if addresses.dialable(one)]
    usable = [one for one in claimed if addresses.fits(one, remote)]
    return list(dict.fromkeys([*usable, *_observed(remote, claimed)]))


def _observed(remote: str, claimed: Sequence[str]) -> list[str]:
    if not remote or addresses.is_circuit(remote):
        return []
    base = "/".join(remote.split("/")[:4])
    ports = [addresses.port_of(one) for one in claimed if not addresses.is_circuit(one)]
    return [f"{base}/{port}" for port in dict.fromkeys(ports)][:2]
