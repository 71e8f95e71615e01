"""Protocol `/openstall/rig/1`: one stream from a rig to its owner's node, canonical JSON frames.

The rig opens it and says who it is; the node answers with a welcome or a refusal. From then on the node
sends commands, the rig its state and what its jobs do. Files go over `/openstall/rig-files/1`, which is
the blob protocol with stores of their own on both sides.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from openstall.compute_agent.specs import JobResult, JobSpec, Tier, Usage, is_plain_file_name
from openstall.market import canonical
from openstall.market.errors import InvalidRecord, OpenstallError, PeerError

PROTOCOL = "/openstall/rig/1"
FILES_PROTOCOL = "/openstall/rig-files/1"
MAX_FRAME = 128 * 1024
HELLO_BYTES = 1024
BEAT_S = 5.0
"""Both sides say something at least this often."""
LOST_S = 20.0
"""Who has said nothing for so long is gone."""
MAX_FILES = 32

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Cap = Annotated[int, Meta(ge=0, le=2**50)]
JobId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,60}\Z")]
Words = Annotated[str, Meta(max_length=2000)]
Short = Annotated[str, Meta(max_length=120)]
Name = Annotated[str, Meta(min_length=1, max_length=60)]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
M = TypeVar("M", bound=Struct)


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every part of a frame is strict."""


class FileRef(Body, frozen=True, kw_only=True):
    """A file of a job: its plain name, and its address in the sender's store of rig files."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    cid: Annotated[str, Meta(pattern=r"^[a-z2-7]{59}\Z")]
    size: Cap
    sha256: Hex32


class Hello(Body, frozen=True, kw_only=True):
    """The rig's first frame; `proof` only while it is being paired."""

    name: Name
    proof: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""


class RigGpu(Body, frozen=True, kw_only=True):
    """A graphics processor, as its driver names it."""

    name: Short
    memory_bytes: Cap


class State(Body, frozen=True, kw_only=True):
    """The rig now. Sizes and threads are the most that its owner gives to all jobs on it together."""

    house: Literal["open", "full", "closed", "paused"]
    words: Words
    next_words: Words
    tier: Tier
    places: Annotated[int, Meta(ge=0, le=64)]
    threads: Annotated[int, Meta(ge=0, le=4096)]
    memory_bytes: Cap
    disk_bytes: Cap
    job_threads: Annotated[int, Meta(ge=0, le=4096)]
    job_memory_bytes: Cap
    """What one job may have of that: a job runs on one machine, also where the rig speaks for a cluster."""
    closes_at: Count
    """Unix seconds at which its rules will stop jobs; 0 where nothing says so."""
    stated_w: Annotated[int, Meta(ge=0, le=10_000)]
    """What it draws more while it works, by its owner's word; 0 where that is not said."""
    cpu: Short
    cores: Annotated[int, Meta(ge=0, le=4096)]
    load_percent: Annotated[int, Meta(ge=0, le=100)]
    memory_total_bytes: Cap
    memory_free_bytes: Cap
    disk_free_bytes: Cap
    gpus: Annotated[tuple[RigGpu, ...], Meta(max_length=16)]


class Log(Body, frozen=True, kw_only=True, tag="log"):
    """A line of a job's log."""

    seq: Count
    text: Annotated[str, Meta(max_length=1000)]


class Begun(Body, frozen=True, kw_only=True, tag="begun"):
    """The job does its proper work from now on."""

    start_ms: Count


class Steps(Body, frozen=True, kw_only=True, tag="steps"):
    """How far it is."""

    done: Count
    total: Count


class Saved(Body, frozen=True, kw_only=True, tag="saved"):
    """A checkpoint that the node may fetch; it takes the place of the one before."""

    file: FileRef
    done: Count


class Used(Body, frozen=True, kw_only=True, tag="used"):
    """What the job has used so far."""

    seconds_useful: Count
    cpu_s: Count
    peak_memory_bytes: Count


class Stood(Body, frozen=True, kw_only=True, tag="stood"):
    """The rig's house rules make the job stand still, or let it go on; words for the buyer's log."""

    still: bool
    words: Words


class Drawn(Body, frozen=True, kw_only=True, tag="drawn"):
    """What the job has drawn, in a time in which it was measured."""

    millijoules: Count
    milliseconds: Count


class Ended(Body, frozen=True, kw_only=True, tag="ended"):
    """Always the last of a job. The files wait for the node until it says `forget`."""

    state: Literal["done", "failed", "cancelled", "refused", "limit"]
    reason: Code
    words: Words
    what_next: Words
    outputs: Annotated[tuple[FileRef, ...], Meta(max_length=MAX_FILES)]
    used: Used


Event = Log | Begun | Steps | Saved | Used | Stood | Drawn | Ended


class Refusal(Body, frozen=True, kw_only=True):
    """An error in words."""

    code: Code
    message: Words
    what_next: Words


class FromRig(Body, frozen=True, kw_only=True):
    """Any of these in one frame; nothing at all is a sign of life."""

    hello: Hello | None = None
    state: State | None = None
    answer: Count | None = None
    """The number of the command that was carried out, or refused if `refusal` says why."""
    refusal: Refusal | None = None
    job: JobId | None = None
    event: Event | None = None
    leave: bool = False
    """The rig's user has ended the pairing."""


class Run(Body, frozen=True, kw_only=True):
    """A job with its input files, which the rig fetches from the node."""

    spec: JobSpec
    inputs: Annotated[tuple[FileRef, ...], Meta(max_length=MAX_FILES)]


class Command(Body, frozen=True, kw_only=True):
    """What the node wants; `job` where it is about one."""

    id: Count
    do: Literal["run", "cancel", "forget", "pause", "resume"]
    run: Run | None = None
    job: JobId | None = None


class FromNode(Body, frozen=True, kw_only=True):
    """Any of these in one frame; nothing at all is a sign of life."""

    welcome: Name | None = None
    """Whose machine the rig works for now."""
    refusal: Refusal | None = None
    command: Command | None = None
    unpaired: bool = False
    """The owner has ended the pairing."""


def write(message: FromRig | FromNode) -> bytes:
    """The frame of a message, without the fields that say nothing."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return canonical.encode(
        {name: value for name, value in plain.items() if value is not None and value is not False}
    )


def read_from_rig(raw: bytes) -> FromRig:
    """A checked frame from a rig.

    Raises:
        PeerError: it does not fit its schema.
    """
    return _read(raw, FromRig)


def read_from_node(raw: bytes) -> FromNode:
    """A checked frame from the node.

    Raises:
        PeerError: it does not fit its schema.
    """
    return _read(raw, FromNode)


def check_names(files: tuple[FileRef, ...]) -> None:
    """Every file once, by a plain name.

    Raises:
        PeerError: else.
    """
    names = [one.name for one in files]
    if len(set(names)) != len(names) or not all(map(is_plain_file_name, names)):
        raise PeerError("bad_file_names", "The other machine named files that no job can have.")


def refusal_of(error: OpenstallError) -> Refusal:
    """An error as it goes over the wire."""
    return Refusal(code=error.code[:60], message=error.message[:2000], what_next=error.what_next[:2000])


def used_of(usage: Usage) -> Used:
    """The agent's figures as they go over the wire."""
    return Used(
        seconds_useful=usage.seconds_useful,
        cpu_s=usage.cpu_s,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def usage_of(used: Used) -> Usage:
    """And back."""
    return Usage(
        seconds_useful=used.seconds_useful,
        cpu_s=used.cpu_s,
        peak_memory_bytes=used.peak_memory_bytes,
    )


def ended_of(result: JobResult, outputs: tuple[FileRef, ...]) -> Ended:
    """How a job ended, as it goes over the wire."""
    return Ended(
        state=result.state,
        reason=result.reason[:60],
        words=result.words[:2000],
        what_next=result.what_next[:2000],
        outputs=outputs,
        used=used_of(result.usage),
    )


def _read(raw: bytes, schema: type[M]) -> M:
    try:
        return msgspec.convert(canonical.decode(raw, max_bytes=MAX_FRAME), schema)
    except (InvalidRecord, msgspec.ValidationError) as error:
        raise PeerError(
            "bad_frame",
            "The other machine sent something that makes no sense.",
            "Node and rig are perhaps of different versions: update both.",
        ) from error
