"""The peers of a NAT cell, each in a process of its own.

Run as a program this waits for JSON lines `{place, folder, settings}` on standard input, and for each forks a
peer into the network namespace `place`: what is imported once need not be imported by each. In `folder` lie
the pipes `in` (commands, JSON lines) and `out` (events, JSON lines), and the file `log`.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import trio

from openstall.market.errors import OpenstallError
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore
from openstall.p2p.discovery import Discovery, DiscoverySettings
from openstall.p2p.host import PeerHost
from openstall.p2p.reachability import Reach, Reachability
from openstall.p2p.upnp import Router

PROGRESS = 4 << 20
CLONE_NEWNET = 0x40000000


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def tell_reach(reach: Reach) -> None:
    say(event="reach", state=reach.state, relays=len(reach.relays), vary=reach.ports_vary)


def bytes_by_path(host: PeerHost, peer_id: str) -> str:
    peer = host.peer(peer_id)
    return peer.path if peer else "none"


async def fetch(host: PeerHost, transfer: BlobTransfer, cid: str, source: str) -> None:
    began, told, paths = time.monotonic(), 0, []

    def progress(done: int, total: int) -> None:
        nonlocal told
        path = bytes_by_path(host, source)
        if path != "none" and path not in paths[-1:]:
            paths.append(path)
        if done - told >= PROGRESS or done == total:
            told = done
            say(event="progress", done=done, path=path)

    while True:
        try:
            info = await transfer.fetch(cid, [source], expected_size_max=1 << 30, on_progress=progress)
        except OpenstallError as error:
            say(event="again", code=error.code)
            if time.monotonic() - began > 400:
                say(event="failed", code=error.code)
                return
            await trio.sleep(1)
            continue
        say(event="fetched", sha256=info.sha256, s=time.monotonic() - began, paths=paths)
        return


async def obey(host: PeerHost, transfer: BlobTransfer) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        command = json.loads(line)
        if command["do"] == "quit":
            return
        if command["do"] == "fetch":
            await fetch(host, transfer, command["cid"], command["source"])
        elif command["do"] == "peers":
            say(event="peers", peers=[[one.peer_id, one.addr, one.path] for one in host.peers()])


async def main(settings: dict[str, Any]) -> None:
    home = Path(settings["home"])
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - before anything runs
    blobs = BlobStore(home / "blobs")
    shared = [await blobs.add_file(Path(one)) for one in settings.get("share", [])]
    host = PeerHost(
        seed=bytes.fromhex(settings["seed"]),
        listen=["/ip4/0.0.0.0/tcp/4001"],
        peerstore_path=home / "peers.json",
        network="test",
        name=settings["name"],
    )
    transfer = BlobTransfer(host=host, store=blobs, allow=lambda _cid, _peer: True)
    router = Router() if settings.get("upnp") else None
    reach = Reachability(host=host, serve=settings.get("serve", "auto"), router=router, on_change=tell_reach)
    discovery = Discovery(
        host=host,
        settings=DiscoverySettings(
            bootstrap=settings["bootstrap"],
            lan=settings.get("lan", False),
            enough_peers=settings.get("enough", 3),
        ),
    )
    async with host, trio.open_nursery() as nursery:
        nursery.start_soon(reach.run)
        await nursery.start(discovery.run)
        say(event="ready", peer_id=host.peer_id, blobs=[one.cid for one in shared])
        await obey(host, transfer)
        nursery.cancel_scope.cancel()


def enter(place: str) -> None:
    """Move this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", place).open("rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def fork_peer(place: str, folder: Path, settings: dict[str, Any]) -> None:
    """A child that is the peer; returns in the parent alone."""
    if os.fork():
        return
    try:
        with (folder / "log").open("wb", buffering=0) as log:
            os.dup2(log.fileno(), 2)
        for name, number, way in (("out", 1, os.O_WRONLY), ("in", 0, os.O_RDONLY)):
            pipe = os.open(folder / name, way)
            os.dup2(pipe, number)
            os.close(pipe)
        sys.stdin = os.fdopen(0)
        enter(place)
        trio.run(main, settings)
    except BaseException:  # noqa: BLE001 - a child must never go on where its parent is
        traceback.print_exc()
    finally:
        os._exit(0)


def spawn() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        wanted = json.loads(line)
        fork_peer(wanted["place"], Path(wanted["folder"]), wanted["settings"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(message)s")
    logging.getLogger("openstall").setLevel(logging.DEBUG)
    spawn()
