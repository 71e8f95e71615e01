"""What the local API answers about the files of the market, as typed values."""

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document


class Blob(Document, frozen=True, kw_only=True):
    """One file; `kept` are the reasons why it stays, `why` the same in words."""

    cid: str = ""
    size: int = 0
    used_at: int = 0
    kept: list[str] = field(default_factory=list)
    why: str = ""
    sealed: bool = False
    shared: bool = False
    ipfs: str = ""
    """Its address in IPFS, where it is pinned there."""


class Pinned(Document, frozen=True, kw_only=True):
    """A file that was pinned in IPFS."""

    cid: str = ""
    ipfs: str = ""


class Ipfs(Document, frozen=True, kw_only=True):
    """The owner's IPFS gateway and node; empty where none was named."""

    gateway: str = ""
    node: str = ""
    pins: list[Pinned] = field(default_factory=list)


class Limits(Document, frozen=True, kw_only=True):
    """Bytes a second and on the disk; 0 is no limit."""

    up_per_s: int = 0
    down_per_s: int = 0
    quota_bytes: int = 0
    share: bool = False


class Blame(Document, frozen=True, kw_only=True):
    """A source that did wrong."""

    cid: str = ""
    source: str = ""
    reason: str = ""
    at: int = 0


class Blobs(Document, frozen=True, kw_only=True):
    """All files, and how they come and go."""

    items: list[Blob] = field(default_factory=list)
    used_bytes: int = 0
    can_go_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    limits: Limits = field(default_factory=Limits)
    ipfs: Ipfs = field(default_factory=Ipfs)
    blamed: list[Blame] = field(default_factory=list)


class Collected(Document, frozen=True, kw_only=True):
    """What was removed."""

    removed: int = 0
    freed_bytes: int = 0
