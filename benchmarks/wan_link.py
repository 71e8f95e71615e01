"""A TCP link with a delay, as a process of its own: what comes in goes out again some milliseconds later.

`python wan_link.py MS PORT` listens on a free port of 127.0.0.1, prints it, and passes connections on.
The kernels of many machines cannot delay packets (`sch_netem`); this needs nothing of them.
"""

from __future__ import annotations

import math
import sys

import trio

READ = 256 * 1024


async def one_way(source: trio.SocketStream, target: trio.SocketStream, delay_s: float) -> None:
    """Pass bytes on, each after the same time."""
    sender, receiver = trio.open_memory_channel[tuple[float, bytes]](math.inf)

    async def deliver() -> None:
        async for due, data in receiver:
            await trio.sleep_until(due)
            await target.send_all(data)
        await target.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver)
        async with sender:
            while data := await source.receive_some(READ):
                await sender.send((trio.current_time() + delay_s, data))


async def main(delay_s: float, port: int) -> None:
    """Half of the delay each way."""

    async def serve(here: trio.SocketStream) -> None:
        try:
            there = await trio.open_tcp_stream("127.0.0.1", port)
            async with there, trio.open_nursery() as nursery:
                nursery.start_soon(one_way, here, there, delay_s / 2)
                nursery.start_soon(one_way, there, here, delay_s / 2)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # one end has gone, as ends do

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) / 1000, int(sys.argv[2]))
