"""What the local API answers about all machines of the owner."""

# ruff: noqa: RUF012 - msgspec makes a list default anew for each value

from __future__ import annotations

from openstall.ui.documents import Document


class MachineJob(Document, frozen=True, kw_only=True):
    """A job that runs on a machine."""

    order_id: str = ""
    title: str = ""
    stage: str = ""


class Machine(Document, frozen=True, kw_only=True):
    """One machine; `key` is `this`, or the peer id of a rig. `most_…` is what one job may have there."""

    key: str = ""
    name: str = ""
    this: bool = False
    connected: bool = False
    state: str = ""
    words: str = ""
    next_words: str = ""
    tier: str = "none"
    places: int = 0
    cpu: str = ""
    threads: int = 0
    load_percent: int = 0
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    most_threads: int = 0
    most_memory_bytes: int = 0
    gpus: list[str] = []
    jobs: list[MachineJob] = []
    seen_at: int = 0


class Trouble(Document, frozen=True, kw_only=True):
    """What kept one of several machines from doing as it was told."""

    machine: str = ""
    message: str = ""
    what_next: str = ""


class Machines(Document, frozen=True, kw_only=True):
    """This machine first, then the rigs in the order of pairing."""

    items: list[Machine] = []
    troubles: list[Trouble] = []


class PairingCode(Document, frozen=True, kw_only=True):
    """A code for one rig; `expires_at` is Unix seconds."""

    code: str = ""
    expires_at: int = 0
