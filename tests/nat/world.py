"""A small internet out of network namespaces, inside a user namespace of our own.

Nothing of it outlives us, and nothing of this machine's own network can be reached from it. Every public
machine and every router hangs on a cable of its own with its own network (`45.0.N.0/24`), so that no two of
them are neighbours. Routers translate addresses with real nftables rules.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

PEER = Path(__file__).with_name("peer.py")
SLOW = Path(__file__).with_name("slow_cable.py")
PATIENCE_S = 60.0

ROUTER = """
table ip nat {{
  chain post {{
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade {how}
  }}
}}
table ip filter {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" accept
    ct status dnat accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname {{ "lan", "lo" }} accept
  }}
}}
"""
UPNP_CHAINS = """
table inet filter {
  chain forward { type filter hook forward priority filter; policy accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept; jump postrouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
UPNP = """
ext_ifname=wan
listening_ip=lan
http_port=5000
enable_upnp=yes
enable_natpmp=no
lease_file=/run/upnp.leases
uuid=7a3f6b1e-58c4-4f39-9a53-1a2b3c4d5e6f
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
LOSS = """
table ip loss {{
  chain forward {{
    type filter hook forward priority -300; policy accept;
    numgen random mod 100 < {percent} drop
  }}
}}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def rules(place: str, text: str) -> None:
    subprocess.run(["ip", "netns", "exec", place, "nft", "-f", "-"], input=text, text=True, check=True)


class Peer:
    """A process in a place, its events, and its orders."""

    def __init__(self, place: str, settings: dict[str, Any], spawner: IO[str]) -> None:
        self.name = settings["name"]
        folder = Path(settings["home"])
        folder.mkdir()
        self.log = folder / "log"
        for pipe in ("in", "out"):
            os.mkfifo(folder / pipe)
        spawner.write(json.dumps({"place": place, "folder": str(folder), "settings": settings}) + "\n")
        spawner.flush()
        self._events = (folder / "out").open()
        self._orders = (folder / "in").open("w")
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        ready = self.wait_for("ready")
        self.peer_id: str = ready["peer_id"]
        self.blobs: list[str] = ready["blobs"]

    def _read(self) -> None:
        for line in self._events:
            self._queue.put(json.loads(line))
        self._queue.put({"event": "ended"})

    def order(self, **command: Any) -> None:
        self._orders.write(json.dumps(command) + "\n")
        self._orders.flush()

    def wait_for(self, kind: str, *, within_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """The next event of this kind with these fields."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(self._story(f"did not say {kind} {fields}")) from None
            self.events.append(event)
            if event["event"] == "ended" and kind != "ended":
                raise AssertionError(self._story("ended"))
            if event["event"] == kind and all(event.get(name) == value for name, value in fields.items()):
                return event

    def _story(self, what: str) -> str:
        return f"{self.name} {what}: {self.events[-12:]}\n{self.log.read_text()[-4000:]}"


class World:
    """The machines and cables; to be built inside `unshare --user --net --mount --pid --fork`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peers: dict[str, Peer] = {}
        self._cables = 0
        self._addresses: dict[str, str] = {}
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        self._spawner = subprocess.Popen([sys.executable, str(PEER)], stdin=subprocess.PIPE, text=True)
        ip("netns", "add", "core")
        ip("-n", "core", "link", "set", "lo", "up")
        self._in("core", "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def _in(self, place: str, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", place, *command], check=True)

    def place(self, name: str) -> str:
        """A machine without a cable."""
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def cable(self, place: str, card: str, *, slow: dict[str, Any] | None = None) -> str:
        """Join a machine to the core; its public address."""
        self._cables += 1
        number, other = self._cables, f"c{self._cables}"
        if slow is None:
            ip("link", "add", card, "netns", place, "type", "veth", "peer", "name", other, "netns", "core")
        else:
            self._slow(place, card, other, slow)
        ip("-n", "core", "addr", "add", f"45.0.{number}.1/24", "dev", other)
        ip("-n", "core", "link", "set", other, "up")
        ip("-n", place, "addr", "add", f"45.0.{number}.2/24", "dev", card)
        ip("-n", place, "link", "set", card, "up")
        ip("-n", place, "route", "add", "default", "via", f"45.0.{number}.1")
        self._addresses[place] = f"45.0.{number}.2"
        return self._addresses[place]

    def _slow(self, place: str, card: str, other: str, how: dict[str, Any]) -> None:
        words = [sys.executable, str(SLOW), place, card, other, json.dumps(how)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"

    def router(self, name: str, *, how: str = "", slow: dict[str, Any] | None = None) -> str:
        """A home router on the core: `how` is an nftables flag of masquerading."""
        self.place(name)
        self.cable(name, "wan", slow=slow)
        self._translate(name, how)
        return name

    def inner_router(self, name: str, outer: str, *, how: str = "") -> str:
        """A router behind another: double translation."""
        self.place(name)
        self.behind(name, outer, card="wan")
        self._translate(name, how)
        return name

    def _translate(self, name: str, how: str) -> None:
        self._in(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        number = len(name) + sum(map(ord, name)) % 100
        ip("-n", name, "link", "add", "lan", "type", "bridge")
        ip("-n", name, "addr", "add", f"192.168.{number}.1/24", "dev", "lan")
        ip("-n", name, "link", "set", "lan", "up")
        self._addresses[f"{name}/lan"] = f"192.168.{number}"
        self._addresses[f"{name}/next"] = "10"
        rules(name, ROUTER.format(how=how))

    def upnp(self, router: str) -> subprocess.Popen[bytes]:
        """Let the router open ports for those inside who ask: Debian's miniupnpd."""
        rules(router, UPNP_CHAINS)
        settings = self.folder / "miniupnpd.conf"
        settings.write_text(UPNP)
        with (self.folder / "miniupnpd.log").open("wb") as log:
            command = ["ip", "netns", "exec", router, "miniupnpd", "-d", "-f", str(settings)]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def opened(self, router: str) -> bool:
        """Whether the router has opened a port for somebody."""
        command = [
            "ip",
            "netns",
            "exec",
            router,
            "nft",
            "list",
            "chain",
            "inet",
            "filter",
            "prerouting_miniupnpd",
        ]
        return "dnat" in subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def behind(self, place: str, router: str, *, card: str = "eth0") -> str:
        """Plug a machine into a router's inner side."""
        number = int(self._addresses[f"{router}/next"])
        self._addresses[f"{router}/next"] = str(number + 1)
        prefix = self._addresses[f"{router}/lan"]
        port = f"p{number}"
        ip("link", "add", card, "netns", place, "type", "veth", "peer", "name", port, "netns", router)
        ip("-n", router, "link", "set", port, "master", "lan", "up")
        ip("-n", place, "addr", "add", f"{prefix}.{number}/24", "dev", card)
        ip("-n", place, "link", "set", card, "up")
        ip("-n", place, "route", "add", "default", "via", f"{prefix}.1")
        return f"{prefix}.{number}"

    def narrow(self, place: str, mbit: int) -> None:
        """Let no more than this reach a machine on the core."""
        other = "c" + self._addresses[place].split(".")[2]
        words = ["tc", "qdisc", "add", "dev", other, "root", "tbf", "rate", f"{mbit}mbit"]
        self._in("core", *words, "burst", "128kb", "latency", "100ms")

    def unplug(self, place: str, card: str = "eth0") -> None:
        """Take a machine off its router, cable and all."""
        ip("-n", place, "link", "del", card)

    def flap(self, place: str, times: int, pause_s: float, card: str = "eth0") -> None:
        """A bad plug: off and on again."""
        gateway = subprocess.run(
            ["ip", "-n", place, "-j", "route"], check=True, capture_output=True, text=True
        ).stdout
        way = next(one["gateway"] for one in json.loads(gateway) if one["dst"] == "default")
        for _ in range(times):
            ip("-n", place, "link", "set", card, "down")
            time.sleep(pause_s)
            ip("-n", place, "link", "set", card, "up")
            ip("-n", place, "route", "add", "default", "via", way)
            time.sleep(pause_s)

    def lose(self, percent: int) -> None:
        """Drop so many of a hundred packets in the middle of the internet, at random."""
        rules("core", LOSS.format(percent=percent))

    def public(self, name: str, **settings: Any) -> Peer:
        """A peer that anybody can dial."""
        self.place(name)
        self.cable(name, "eth0")
        return self.peer(name, **settings)

    def peer(self, place: str, **settings: Any) -> Peer:
        """Start a peer in a place."""
        seed = (place.encode() * 32)[:32].hex()
        assert self._spawner.stdin is not None
        home = str(self.folder / place)
        settings = {"name": place, "home": home, "seed": seed, **settings}
        self.peers[place] = Peer(place, settings, self._spawner.stdin)
        return self.peers[place]

    def address(self, peer: Peer) -> str:
        """The address of a public peer."""
        return f"/ip4/{self._addresses[peer.name]}/tcp/4001/p2p/{peer.peer_id}"
