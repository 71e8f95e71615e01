"""The cells of the NAT matrix, each a small internet with one transfer in it.

Run inside namespaces of its own as `python cells.py NAME SIZE`; the result is one JSON line.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from world import Peer, World

MIB = 1 << 20
CELLS: dict[str, tuple[str, str, Callable[[World, Path, int], dict[str, Any]]]] = {}
Cell = Callable[[World, Path, int], dict[str, Any]]
NEEDS = {"upnp": ("miniupnpd",), "loss": (), "far": (), "move": ("tc",)}
"""Programs that a cell needs besides those of all."""


def cell(name: str, what: str, expected: str) -> Callable[[Cell], Cell]:
    """`expected` is the path on which the transfer ends."""

    def add(make: Cell) -> Cell:
        CELLS[name] = (what, expected, make)
        return make

    return add


def core(world: World) -> list[str]:
    """Three public peers that know each other; those that are dialled back relay."""
    first = world.public("first", bootstrap=[], serve="on")
    known = [world.address(first)]
    second = world.public("second", bootstrap=known, serve="on")
    known.append(world.address(second))
    world.public("third", bootstrap=known, serve="off")
    return known


def transfer(
    seller: Peer, buyer: Peer, wanted: Path, *, meanwhile: Callable[[], None] | None = None
) -> dict[str, Any]:
    buyer.order(do="fetch", cid=seller.blobs[0], source=seller.peer_id)
    if meanwhile is not None:
        while buyer.wait_for("progress", within_s=120)["done"] < 8 * MIB:
            continue
        meanwhile()
    done = buyer.wait_for("fetched", within_s=500)
    buyer.order(do="peers")
    peers = {one[0]: one[2] for one in buyer.wait_for("peers")["peers"]}
    whole = done["sha256"] == hashlib.sha256(wanted.read_bytes()).hexdigest()
    again = sum(one["event"] == "again" for one in buyer.events)
    return {
        "complete": whole,
        "seconds": round(done["s"], 1),
        "paths": done["paths"],
        "path": peers.get(seller.peer_id, "none"),
        "again": again,
    }


def pair(
    world: World, wanted: Path, *, seller_at: str, buyer_at: str, state: str, **how: Any
) -> dict[str, Any]:
    known = core(world)
    seller = world.peer(seller_at, bootstrap=known, share=[str(wanted)], **how)
    buyer = world.peer(buyer_at, bootstrap=known, **how)
    seller.wait_for("reach", state=state, within_s=90)
    if state == "relayed":
        buyer.wait_for("reach", state=state, within_s=90)
    return transfer(seller, buyer, wanted)


def homes(world: World, how_seller: str, how_buyer: str, **slow: Any) -> None:
    world.router("r1", how=how_seller, **slow)
    world.router("r22", how=how_buyer)
    world.behind(world.place("seller"), "r1")
    world.behind(world.place("buyer"), "r22")


@cell("public", "both public", "direct")
def public(world: World, wanted: Path, _: int) -> dict[str, Any]:
    for name in ("seller", "buyer"):
        world.cable(world.place(name), "eth0")
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="direct")


@cell("one-side", "seller public, buyer behind a router", "direct")
def one_side(world: World, wanted: Path, _: int) -> dict[str, Any]:
    world.cable(world.place("seller"), "eth0")
    world.router("r22")
    world.behind(world.place("buyer"), "r22")
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="direct")


@cell("other-side", "seller behind a router, buyer public", "direct")
def other_side(world: World, wanted: Path, _: int) -> dict[str, Any]:
    world.cable(world.place("buyer"), "eth0")
    world.router("r1")
    world.behind(world.place("seller"), "r1")
    known = core(world)
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)])
    seller.wait_for("reach", state="relayed", within_s=90)
    buyer = world.peer("buyer", bootstrap=known)
    return transfer(seller, buyer, wanted)


@cell("cone", "both behind routers that keep ports (cone)", "punched")
def cone(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "", "")
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")


@cell("upnp", "seller behind a router that opens ports (UPnP), buyer behind another", "direct")
def upnp(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "", "")
    world.upnp("r1")
    known = core(world)
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)], upnp=True)
    seller.wait_for("reach", state="upnp", within_s=90)
    buyer = world.peer("buyer", bootstrap=known)
    result = transfer(seller, buyer, wanted)
    assert world.opened("r1"), "the router has opened a port"
    seller.order(do="quit")
    seller.wait_for("ended")
    assert not world.opened("r1"), "and it was given back"
    return result


@cell("symmetric", "both behind routers with random ports (symmetric)", "relayed")
def symmetric(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "fully-random", "fully-random")
    result = pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")
    seller = world.peers["seller"]
    if not any(one.get("vary") for one in seller.events):
        seller.wait_for("reach", vary=True)
    return result


@cell("mixed", "seller symmetric, buyer cone", "relayed")
def mixed(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "fully-random", "")
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")


@cell("double", "seller behind two routers, buyer behind one", "punched")
def double(world: World, wanted: Path, _: int) -> dict[str, Any]:
    world.router("r1")
    world.inner_router("r333", "r1")
    world.router("r22")
    world.behind(world.place("seller"), "r333")
    world.behind(world.place("buyer"), "r22")
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")


@cell("lan", "both behind the same router, found by mDNS", "direct")
def lan(world: World, wanted: Path, _: int) -> dict[str, Any]:
    world.router("r1")
    for name in ("seller", "buyer"):
        world.behind(world.place(name), "r1")
    known = core(world)
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)], lan=True)
    buyer = world.peer("buyer", bootstrap=known, lan=True)
    return transfer(seller, buyer, wanted)


def steady(world: World) -> list[str]:
    """A public seller, a buyer at home, 40 Mbit/s: the transfer lasts long enough to be disturbed."""
    known = core(world)
    world.router("r22")
    world.router("r333")
    world.behind(world.place("buyer"), "r22")
    world.cable(world.place("seller"), "eth0")
    world.narrow("r22", 40)
    world.narrow("r333", 40)
    return known


@cell("move", "the buyer's computer changes its network in the middle", "direct")
def move(world: World, wanted: Path, _: int) -> dict[str, Any]:
    known = steady(world)
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)])
    seller.wait_for("reach", state="direct")
    buyer = world.peer("buyer", bootstrap=known)

    def change() -> None:
        world.unplug("buyer")
        world.behind("buyer", "r333")

    return transfer(seller, buyer, wanted, meanwhile=change)


@cell("move-punched", "the same, where the seller is behind a router as well", "punched")
def move_punched(world: World, wanted: Path, _: int) -> dict[str, Any]:
    known = core(world)
    for name in ("r1", "r22", "r333"):
        world.router(name)
        world.narrow(name, 40)
    world.behind(world.place("buyer"), "r22")
    world.behind(world.place("seller"), "r1")
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)])
    seller.wait_for("reach", state="relayed")
    buyer = world.peer("buyer", bootstrap=known)
    buyer.wait_for("reach", state="relayed")

    def change() -> None:
        world.unplug("buyer")
        world.behind("buyer", "r333")

    return transfer(seller, buyer, wanted, meanwhile=change)


@cell("flapping", "the buyer's cable fails four times for 3 s", "direct")
def flapping(world: World, wanted: Path, _: int) -> dict[str, Any]:
    known = steady(world)
    seller = world.peer("seller", bootstrap=known, share=[str(wanted)])
    seller.wait_for("reach", state="direct")
    buyer = world.peer("buyer", bootstrap=known)
    return transfer(seller, buyer, wanted, meanwhile=lambda: world.flap("buyer", 4, 3.0))


@cell("loss", "both behind cone routers, 5 of 100 packets lost", "punched")
def loss(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "", "")
    world.lose(5)
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")


@cell("far", "both behind cone routers, 200 ms round trip", "punched")
def far(world: World, wanted: Path, _: int) -> dict[str, Any]:
    homes(world, "", "", slow={"delay_ms": 100})
    return pair(world, wanted, seller_at="seller", buyer_at="buyer", state="relayed")


def main() -> None:
    name, size = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "blob")
        wanted.write_bytes(os.urandom(size))
        world = World(Path(folder))
        began = time.monotonic()
        result = CELLS[name][2](world, wanted, size)
        print(json.dumps({"cell": name, "whole_s": round(time.monotonic() - began, 1), **result}), flush=True)


if __name__ == "__main__":
    main()
