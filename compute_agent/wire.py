"""The pipe between the node and its compute agent: JSON lines, requests one way, replies and events back."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from openstall.compute_agent.serving import Question
from openstall.compute_agent.specs import (
    GIB,
    Check,
    Inventory,
    JobEvent,
    JobKind,
    JobResult,
    JobSpec,
    Limits,
    RuntimeState,
    Tier,
    Usage,
)
from openstall.market.errors import OpenstallError, SandboxError
from openstall.market.house import Facts

HELLO: Final = "openstall-agent/1"
"""First line of the agent: name and version of this protocol."""

LINE_CAP_BYTES: Final = 256 * 1024
"""Longest JSON line in either direction on the agent's pipes."""

_T = TypeVar("_T")
_DeviceId = Annotated[str, msgspec.Meta(max_length=120)]

Op = Literal["probe", "doctor", "runtime", "run", "cancel", "suspend", "resume", "sense", "warm", "ask"]


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An `OpenstallError` on the wire."""

    code: str
    message: str
    what_next: str = ""


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sensors the house rules need; `apps` are the programs to look for."""

    input: bool = False
    battery: bool = False
    network: bool = False
    load: bool = False
    heat: bool = False
    power: bool = False
    devices: bool = False
    apps: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()


class WarmStock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sandboxes to hold ready, one for each kind, while they fit into `memory_bytes` together.

    `limits` are the widest that a job may have; `folder` is an absolute path for the agent's own use.
    """

    kinds: Annotated[tuple[JobKind, ...], msgspec.Meta(max_length=8)]
    limits: Limits
    memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=4096 * GIB)]
    folder: Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]+\Z", max_length=4096)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Node to agent. `inputs`, `outputs`, `checkpoints` are folders of this job alone, absolute paths.

    `gpus` are the devices that jobs may use, by the driver's ids: a job gets those that it rents of them.
    """

    id: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    op: Op
    spec: JobSpec | None = None
    inputs: str | None = None
    outputs: str | None = None
    checkpoints: str | None = None
    job_id: str | None = None
    watch: Watch | None = None
    warm: WarmStock | None = None
    gpus: Annotated[tuple[_DeviceId, ...], msgspec.Meta(max_length=64)] = ()
    question: Question | None = None
    fresh: bool = False
    """Of `doctor`: take nothing from an earlier self-test."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Agent to node: the answer to request `id`, or an `event` of job `job_id`."""

    id: int | None = None
    job_id: str | None = None
    event: JobEvent | None = None
    inventory: Inventory | None = None
    checks: tuple[Check, ...] | None = None
    tier: Tier | None = None
    held: tuple[str, ...] | None = None
    runtime: RuntimeState | None = None
    facts: Facts | None = None
    error: ErrorReply | None = None
    hello: str | None = None


_REQUESTS: Final = msgspec.json.Decoder(Request)
_REPLIES: Final = msgspec.json.Decoder(Reply)
_ENCODER: Final = msgspec.json.Encoder()


def encode_line(message: Request | Reply) -> bytes:
    """One JSON line with its newline. Raises SandboxError `agent_line_too_long` past the cap."""
    line = _ENCODER.encode(message) + b"\n"
    if len(line) > LINE_CAP_BYTES:
        raise SandboxError(
            "agent_line_too_long",
            f"A message to or from the compute agent has {len(line)} bytes; the cap is {LINE_CAP_BYTES}.",
            "Make the job's parameters smaller.",
        )
    return line


def decode_request(line: bytes) -> Request:
    """Raises SandboxError `bad_agent_message` on anything that is not a valid request."""
    return _decode(line, _REQUESTS)


def decode_reply(line: bytes) -> Reply:
    """Raises SandboxError `bad_agent_message` on anything that is not a valid reply."""
    return _decode(line, _REPLIES)


def _decode(line: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    if len(line) > LINE_CAP_BYTES:
        raise _bad_message(f"{len(line)} bytes in one line")
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_message(str(error)) from error


def _bad_message(words: str) -> SandboxError:
    return SandboxError(
        "bad_agent_message",
        f"The compute agent and the node do not understand each other: {words}.",
        "Restart the node; if it persists, node and agent are of different versions.",
    )


def error_reply(error: OpenstallError) -> ErrorReply:
    """`error` as it goes over the pipe."""
    return ErrorReply(code=error.code, message=error.message, what_next=error.what_next)


def lost(
    usage: Usage, words: str = "The compute agent on the provider's machine stopped while the job ran."
) -> JobResult:
    """The result of a job whose agent is gone, or the whole machine that it ran on."""
    return JobResult(
        state="failed",
        reason="agent_lost",
        words=words,
        what_next="Send the job again; only the seconds already counted can be owed.",
        usage=usage,
    )
