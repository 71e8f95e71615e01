"""The node's end of the pipe to an agent that does not read for a while."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio
import trio.testing

from openstall.compute_agent.client import AgentClient
from openstall.compute_agent.serving import as_question

STANDS = """
import sys
from pathlib import Path
from openstall.compute_agent.wire import HELLO, Reply, decode_request, encode_line

def say(reply):
    sys.stdout.buffer.write(encode_line(reply))
    sys.stdout.flush()

say(Reply(hello=HELLO))
with Path(sys.argv[1]).open() as gate:
    gate.read()
for line in sys.stdin.buffer:
    say(Reply(id=decode_request(line).id))
"""
"""Reads nothing until somebody has opened and closed the named pipe; ends at a line that makes no sense."""


async def test_an_ask_that_is_cancelled_in_its_middle_leaves_no_half_line(tmp_path: Path) -> None:
    """Half a line would end the agent, and every job in it: any buyer of a served model could do that."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    question = as_question({"prompt": "x" * 60_000})
    async with trio.open_nursery() as nursery:
        client = AgentClient(command=(sys.executable, "-P", "-c", STANDS, str(gate)))
        await client.start(nursery)
        pid = client.pid
        async with trio.open_nursery() as asking:
            for _ in range(3):  # more than a pipe holds
                asking.start_soon(client.ask, "a" * 64, question)
            await trio.testing.wait_all_tasks_blocked(0.1)
            nursery.start_soon(trio.to_thread.run_sync, gate.write_text, "read on")
            asking.cancel_scope.cancel()
        await client.ask("a" * 64, question)  # it has understood every line so far
        assert client.pid == pid
        await client.aclose()
