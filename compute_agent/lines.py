"""Lines with a cap over a trio byte stream: the framing of the agent's pipes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from openstall.compute_agent.wire import LINE_CAP_BYTES
from openstall.market.errors import SandboxError

_READ_BYTES = 64 * 1024


async def lines_of(
    stream: trio.abc.ReceiveStream, *, cap_bytes: int = LINE_CAP_BYTES
) -> AsyncGenerator[bytes, None]:
    """Each complete line without its newline, until the other side closes.

    Raises SandboxError `agent_line_too_long` as soon as more than `cap_bytes` arrive without a
    newline; an unfinished last line is dropped, because its writer died in the middle of it.
    """
    pending = bytearray()
    while True:
        try:
            data = await stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        if not data:
            return
        pending += data
        while (end := pending.find(b"\n")) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            if len(line) > cap_bytes:
                raise _too_long(len(line), cap_bytes)
            yield line
        if len(pending) > cap_bytes:
            raise _too_long(len(pending), cap_bytes)


def _too_long(size: int, cap_bytes: int) -> SandboxError:
    return SandboxError(
        "agent_line_too_long",
        f"A message on the compute agent's pipe has at least {size} bytes; the cap is {cap_bytes}.",
        "Restart the node; if it persists, node and agent are of different versions.",
    )
