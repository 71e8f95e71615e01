"""A cable with a delay, out of two TUN devices (a kernel may lack netem).

Arguments: place, card, card at the core's end, settings as JSON.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
MAX_WAITING = 20_000


def tun(name: str, place: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", place], check=True)
    return device


def main() -> None:
    place, card, other, how = sys.argv[1:5]
    delay_s = json.loads(how)["delay_ms"] / 1000
    ends = tun(card, place), tun(other, "core")
    across = {ends[0]: ends[1], ends[1]: ends[0]}
    print("ready", flush=True)
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(waiting)
            try:
                os.write(target, packet)
            except OSError:
                continue  # the device is not up yet, or full: a lost packet
        pause = max(0.0, waiting[0][0] - now) if waiting else None
        for end in select.select(ends, [], [], pause)[0]:
            while True:
                try:
                    packet = os.read(end, 65_536)
                except OSError:
                    break
                if len(waiting) < MAX_WAITING:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + delay_s, number, across[end], packet))


main()
