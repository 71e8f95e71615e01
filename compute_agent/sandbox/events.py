"""What comes out of a sandbox on its event pipe, decoded strictly: a hostile job may write anything there."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

EVENT_CAP_BYTES: Final = 16 * 1024
"""Longest event."""


class Ready(msgspec.Struct, tag_field="t", tag="ready", forbid_unknown_fields=True):
    """The sandbox is finished: its Landlock ABI (0 for none), and the process id that the job has inside."""

    landlock: int
    pid: int


class Stage1(msgspec.Struct, tag_field="t", tag="stage1", forbid_unknown_fields=True):
    """The sandbox could not be finished, in words."""

    words: str


class Begin(msgspec.Struct, tag_field="t", tag="begin", forbid_unknown_fields=True):
    """The proper work starts: metering begins."""


class Step(msgspec.Struct, tag_field="t", tag="progress", forbid_unknown_fields=True):
    """`done` of `total` steps."""

    done: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    total: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Saved(msgspec.Struct, tag_field="t", tag="checkpoint", forbid_unknown_fields=True):
    """The file `checkpoint<slot>.safetensors` holds the state after `done` steps."""

    slot: Annotated[int, msgspec.Meta(ge=0, le=1)]
    done: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Fault(msgspec.Struct, tag_field="t", tag="fault", forbid_unknown_fields=True):
    """What the workload says of its own failure."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}\Z")]
    words: Annotated[str, msgspec.Meta(max_length=2000)]
    what_next: Annotated[str, msgspec.Meta(max_length=2000)] = ""


EVENTS: Final = msgspec.json.Decoder(Ready | Stage1 | Begin | Step | Saved | Fault)
