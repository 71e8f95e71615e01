from __future__ import annotations

import pytest
import trio.testing

from openstall.compute_agent.lines import lines_of
from openstall.market.errors import SandboxError


async def test_lines_are_cut_at_newlines_however_they_arrive() -> None:
    send, receive = trio.testing.memory_stream_one_way_pair()
    async with trio.open_nursery() as nursery:

        async def feed() -> None:
            for piece in (b"on", b"e\ntwo\n", b"\n", b"thr", b"ee\nunfinished"):
                await send.send_all(piece)
            await send.aclose()

        nursery.start_soon(feed)
        assert [line async for line in lines_of(receive)] == [b"one", b"two", b"", b"three"]


@pytest.mark.parametrize("tail", [b"", b"\n"])
async def test_a_line_past_the_cap_is_refused(tail: bytes) -> None:
    send, receive = trio.testing.memory_stream_one_way_pair()
    await send.send_all(b"x" * 101 + tail)
    with pytest.raises(SandboxError) as caught:
        async for _ in lines_of(receive, cap_bytes=100):
            pass
    assert caught.value.code == "agent_line_too_long"
