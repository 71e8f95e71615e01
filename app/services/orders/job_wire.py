"""Protocol `/openstall/job/1`: one stream per follower of a job, canonical JSON frames.

The buyer opens the stream and says from which log line on it wants to hear; the provider sends log
lines, progress, meter ticks and at last its signed report; the buyer sends vouchers. A stream that
breaks is opened again and goes on at the next line, so nothing is lost and nothing comes twice.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from openstall.market import canonical
from openstall.market.errors import InvalidRecord, PeerError
from openstall.market.fields import BlobRef
from openstall.market.orders.transcript import MOST_ENTRIES

PROTOCOL = "/openstall/job/1"
MAX_FRAME = 128 * 1024
"""Room for a signed report of 32 KiB, or for a page of log lines."""
MAX_LINES = 200
MAX_LINE_CHARS = 400


M = TypeVar("M")


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a job's log; `seq` counts from 0 without gaps."""

    seq: Annotated[int, Meta(ge=0)]
    text: Annotated[str, Meta(max_length=4096)]


class JobCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state of the job after `done` steps, to be fetched once `owed_micro` is covered by a voucher."""

    blob: BlobRef
    done: Annotated[int, Meta(ge=0)]
    owed_micro: Annotated[int, Meta(ge=0)]


class FromProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the provider tells: any of these, in one frame."""

    entries: Annotated[list[dict[str, Any]], Meta(max_length=MOST_ENTRIES)] = []
    """The provider's chain in the order's transcript: `start`, once the job has."""
    lines: Annotated[list[Line], Meta(max_length=MAX_LINES)] = []
    done: Annotated[int, Meta(ge=0)] = 0
    total: Annotated[int, Meta(ge=0)] = 0
    checkpoint: JobCheckpoint | None = None
    phase: Annotated[str, Meta(pattern=r"^(waiting|working|paused)?\Z")] = ""
    ahead: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """While it waits: how many jobs start before this one."""
    tick: dict[str, Any] = {}
    report: dict[str, Any] = {}


class FromBuyer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the buyer tells: first what to follow, later vouchers."""

    follow: Annotated[str, Meta(max_length=64)] = ""
    from_log: Annotated[int, Meta(ge=0)] = 0
    voucher_micro: Annotated[int, Meta(ge=0)] = 0
    voucher_signature: Annotated[str, Meta(max_length=140)] = ""


def write(message: FromProvider | FromBuyer) -> bytes:
    """The frame of a message, without what is at its default."""
    plain = msgspec.to_builtins(message)
    return canonical.encode({name: value for name, value in plain.items() if value})


def read_from_provider(raw: bytes) -> FromProvider:
    """A checked frame from the provider.

    Raises:
        PeerError: the frame does not fit its schema.
    """
    return _read(raw, FromProvider)


def read_from_buyer(raw: bytes) -> FromBuyer:
    """A checked frame from the buyer.

    Raises:
        PeerError: the frame does not fit its schema.
    """
    return _read(raw, FromBuyer)


def clip(text: str) -> str:
    """A log line as it is kept: printable, because a job printed it, and at most `MAX_LINE_CHARS` long."""
    text = "".join(one if one.isprintable() else " " for one in text[: MAX_LINE_CHARS + 1])
    return text if len(text) <= MAX_LINE_CHARS else text[: MAX_LINE_CHARS - 1] + "…"


def _read(raw: bytes, schema: type[M]) -> M:
    try:
        return msgspec.convert(canonical.decode(raw, max_bytes=MAX_FRAME), schema)
    except (InvalidRecord, msgspec.ValidationError) as error:
        raise PeerError(
            "bad_frame", "The other peer sent something about the job that makes no sense."
        ) from error
