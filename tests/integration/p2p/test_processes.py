"""Peers as real processes over loopback: late, restarted, killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from openstall.p2p.exchange import RefusedByPeer
from openstall.p2p.host import PeerHost, Rate

SCRIPT = Path(__file__).with_name("peer_process.py")
PATIENCE_S = 25
NewHost = Callable[..., Awaitable[PeerHost]]


class Peer:
    """A child process and the events it tells."""

    def __init__(self, home: Path, settings: dict[str, Any]) -> None:
        home.mkdir(exist_ok=True)
        command = [sys.executable, str(SCRIPT), json.dumps({"home": str(home), **settings})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = self.wait_for("ready")
        self.peer_id: str = ready["peer_id"]
        self.addrs: list[str] = ready["addrs"]
        self.blobs: list[str] = ready["blobs"]

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next event of that kind with these fields; fails when the process ends before."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        seen: list[dict[str, Any]] = []
        try:
            for line in self.process.stdout:
                seen.append(json.loads(line))
                if seen[-1]["event"] == event and fields.items() <= seen[-1].items():
                    return seen[-1]
        finally:
            watchdog.cancel()
            watchdog.join()
        raise AssertionError(f"no {event} {fields} in time, but {seen[-5:]}")

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    running: list[Peer] = []

    def make(name: str, **settings: Any) -> Peer:
        seed = hashlib.sha256(name.encode()).hexdigest()
        running.append(Peer(tmp_path / name, {"seed": seed, **settings}))
        return running[-1]

    yield make
    for peer in running:
        if peer.process.poll() is None:
            peer.end()


Start = Callable[..., Peer]


def test_a_late_joiner_gets_everything_and_a_restarted_peer_what_it_missed(start: Start) -> None:
    anna = start("anna", records=500)
    ben = start("ben", connect=[anna.addrs[0]])
    ben.wait_for("records", count=500)
    ben.end()
    chris = start("chris", connect=[anna.addrs[0]], records=501)
    anna.wait_for("records", count=501)
    chris.end()
    ben = start("ben", discovery={"lan": False})
    assert ben.wait_for("records")["count"] == 501, "it found Anna again in its address book"


def test_a_fetch_survives_kill_9_of_the_buyer(start: Start, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(48 << 20))
    seller = start("seller", share=[str(source)])
    wanted = {"cid": seller.blobs[0], "sources": [seller.peer_id], "size": 48 << 20}
    buyer = start("buyer", connect=[seller.addrs[0]], fetch=wanted)
    while (done := buyer.wait_for("progress")["done"]) < 10 << 20:
        continue
    buyer.end(signal.SIGKILL)
    buyer = start("buyer", connect=[seller.addrs[0]], fetch=wanted)
    assert buyer.wait_for("progress")["done"] >= done, "the verified chunks are still there"
    assert buyer.wait_for("fetched")["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_fetch_goes_on_with_another_source_after_kill_9_of_both_ends(start: Start, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(48 << 20))
    seller = start("seller", share=[str(source)])
    wanted = {"cid": seller.blobs[0], "sources": [seller.peer_id], "size": 48 << 20}
    buyer = start("buyer", connect=[seller.addrs[0]], fetch=wanted)
    while (done := buyer.wait_for("progress")["done"]) < 10 << 20:
        continue
    seller.end(signal.SIGKILL)
    buyer.end(signal.SIGKILL)
    other = start("other", share=[str(source)])
    buyer = start("buyer", connect=[other.addrs[0]], fetch={**wanted, "sources": [other.peer_id]})
    assert buyer.wait_for("progress")["done"] >= done, "the verified chunks are still there"
    assert buyer.wait_for("fetched")["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_seller_that_is_killed_and_comes_back_finishes_the_fetch(start: Start, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(64 << 20))
    seller = start("seller", share=[str(source)])
    wanted = {"cid": seller.blobs[0], "sources": [seller.peer_id], "size": 64 << 20}
    buyer = start("buyer", connect=[seller.addrs[0]], fetch=wanted)
    while buyer.wait_for("progress")["done"] < 5 << 20:
        continue
    seller.end(signal.SIGKILL)
    listen = [seller.addrs[0].split("/p2p/")[0]]
    start("seller", listen=listen, share=[str(source)])
    assert buyer.wait_for("fetched")["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_peers_find_each_other_through_one_that_both_know(start: Start) -> None:
    bootstrap = start("bootstrap", discovery={"lan": False})
    known = {"lan": False, "bootstrap": [bootstrap.addrs[0]]}
    anna = start("anna", discovery=known)
    anna.wait_for("connected", peer_id=bootstrap.peer_id)
    ben = start("ben", discovery=known)
    ben.wait_for("connected", peer_id=anna.peer_id)
    anna.wait_for("connected", peer_id=ben.peer_id)


async def test_hundreds_of_dial_ins_do_not_make_a_peer_deaf(new_host: NewHost) -> None:
    """libp2p's inbound slot leak: 250 connections in a life, and nobody gets in any more."""
    served = await new_host()

    async def echo(_: str, payload: bytes) -> bytes:
        return payload

    served.serve("/t/1", echo, max_request=10, max_response=10, per_peer_rate=Rate(per_s=99, burst=99))
    slots = trio.CapacityLimiter(12)
    answered = 0

    async def visit() -> None:
        nonlocal answered
        async with slots, PeerHost(seed=os.urandom(32), listen=[]) as guest:
            await guest.connect(served.addrs[0])
            try:
                await guest.request(served.peer_id, "/t/1", b"x", timeout_s=20, max_response=10)
                answered += 1
            except RefusedByPeer:
                pytest.fail("an honest guest was refused")

    async with trio.open_nursery() as nursery:
        for _ in range(310):
            nursery.start_soon(visit)
    assert answered == 310


def netns(*command: str) -> None:
    subprocess.run(["ip", *command], check=True)


@pytest.fixture
def lan() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable: two machines on one LAN."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    names = (f"stall-a-{os.getpid()}", f"stall-b-{os.getpid()}")
    try:
        for name in names:
            netns("netns", "add", name)
        netns(
            "link",
            "add",
            "stall0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "stall0",
            "netns",
            names[1],
        )
        for number, name in enumerate(names, 1):
            netns("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "stall0")
            netns("-n", name, "link", "set", "stall0", "up")
            netns("-n", name, "link", "set", "lo", "up")
            netns("-n", name, "route", "add", "224.0.0.0/4", "dev", "stall0")
    except (OSError, subprocess.CalledProcessError) as error:
        _tear_down(names)
        pytest.skip(f"this machine makes no network namespaces: {error}")
    yield names
    _tear_down(names)


def _tear_down(names: tuple[str, str]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def test_two_peers_on_one_lan_find_each_other_with_no_set_up(lan: tuple[str, str], tmp_path: Path) -> None:
    children = []
    for number, name in enumerate(lan, 1):
        settings = {
            "home": str(tmp_path / name),
            "seed": bytes([number] * 32).hex(),
            "listen": ["/ip4/0.0.0.0/tcp/0"],
            "records": number,
            "discovery": {},
        }
        (tmp_path / name).mkdir()
        command = ["ip", "netns", "exec", name, sys.executable, str(SCRIPT), json.dumps(settings)]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        for child in children:
            assert child.stdout is not None
            assert any(json.loads(line)["event"] == "connected" for line in child.stdout)
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
