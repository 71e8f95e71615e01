"""Questions into a running sandbox and answers out of it, for the kind of job that serves a model.

Two pipes that no other kind has. What comes out is hostile: an answer that nobody asked for, or that is too
long or malformed, ends the job. What goes in waits here until the job takes it; it can be no more than the
job has open questions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import msgspec
import trio

from openstall.compute_agent.sandbox.launcher import Running
from openstall.compute_agent.serving import (
    LINE_CAP_BYTES,
    MOST_OPEN,
    Answer,
    OpenQuestions,
    Question,
    read_answer,
)
from openstall.market.errors import SandboxError

OnAnswer = Callable[[Answer], Awaitable[None]]
OnBroken = Callable[[SandboxError], None]


class Talk:
    """The conversation with one job."""

    def __init__(self) -> None:
        self._open = OpenQuestions()
        self._send, self._waiting = trio.open_memory_channel[bytes](MOST_OPEN)

    def put(self, question: Question) -> None:
        """Ask. Raises SandboxError `too_many_open`, `bad_question`."""
        self._open.put(question.n)
        try:
            self._send.send_nowait(msgspec.json.encode(question) + b"\n")
        except trio.WouldBlock as error:
            # a job that answers what it has not read makes room in the count, and none in the pipe
            self._open.forget(question.n)
            raise SandboxError(
                "too_many_open", "The job does not read its questions.", "Ask again when it has answered."
            ) from error

    async def write(self, running: Running) -> None:
        """Hand in what is asked, until cancelled or the job reads no more."""
        fd, running.questions_fd = running.questions_fd, -1
        async with trio.lowlevel.FdStream(fd) as stream:
            try:
                async for line in self._waiting:
                    await stream.send_all(line)
            except trio.BrokenResourceError:
                return  # it is ending: its exit status says why

    async def read(self, running: Running, on_answer: OnAnswer, on_broken: OnBroken) -> None:
        """Take answers until the job has closed its side; nonsense is told, and nothing more is read."""
        fd, running.answers_fd = running.answers_fd, -1
        pending = bytearray()
        async with trio.lowlevel.FdStream(fd) as stream:
            while data := await stream.receive_some(65536):
                pending += data
                try:
                    for line in _whole_lines(pending):
                        answer = read_answer(line)
                        self._open.take(answer, len(line))
                        await on_answer(answer)
                except SandboxError as error:
                    on_broken(error)
                    return


def _whole_lines(pending: bytearray) -> Iterator[bytes]:
    """Take the complete lines out. Raises SandboxError `bad_answer` where the rest is too long for one."""
    while (end := pending.find(b"\n")) >= 0:
        line = bytes(pending[:end])
        del pending[: end + 1]
        yield line
    if len(pending) > LINE_CAP_BYTES:
        raise SandboxError("bad_answer", "A line of an answer has no end.")
