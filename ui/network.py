"""What the local API answers about the network: peers, ways, what is kept here, who is shut out."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from msgspec import field

from openstall.ui.documents import Document
from openstall.ui.people import NameMark


class SelfPeer(Document, frozen=True, kw_only=True):
    """This node on the network."""

    peer_id: str = ""
    addrs: list[str] = []
    name: str = ""


class PeerLine(Document, frozen=True, kw_only=True):
    """A connected peer; `path` is direct, punched or relayed."""

    peer_id: str = ""
    name: str = ""
    addr: str = ""
    direction: str = ""
    latency_ms: float | None = None
    path: str = "direct"
    received: int = 0
    sent: int = 0
    roles: list[str] = []
    marks: list[NameMark] = []


class Peers(Document, frozen=True, kw_only=True):
    """The network as this node sees it."""

    self: SelfPeer = field(default_factory=SelfPeer)
    items: list[PeerLine] = []
    catalogue: dict[str, int] = {}
    bootstrap: list[str] = []


class Seen(Document, frozen=True, kw_only=True):
    """An address under which so many peers see this node."""

    host: str = ""
    peers: int = 0


class RelayPeer(Document, frozen=True, kw_only=True):
    """A relay on which this node has a place."""

    peer_id: str = ""
    name: str = ""
    marks: list[NameMark] = []
    expires: float = 0


class RelayLimits(Document, frozen=True, kw_only=True):
    """What this node gives away as a relay."""

    reservations: int = 0
    circuits: int = 0
    circuit_s: int = 0
    circuit_bytes: int = 0
    circuit_bytes_per_s: float = 0
    peer_bytes_per_hour: float = 0


class RelayUse(Document, frozen=True, kw_only=True):
    """How much of it is used; `carried` is in bytes, since the start."""

    serving: bool = False
    reservations: int = 0
    circuits: int = 0
    carried: int = 0
    limits: RelayLimits = field(default_factory=RelayLimits)


class ReachSettings(Document, frozen=True, kw_only=True):
    """`relay` is auto, on or off."""

    relay: str = "auto"
    upnp: bool = True


class Way(Document, frozen=True, kw_only=True):
    """The way to one peer, and the bytes that went over it."""

    peer_id: str = ""
    path: str = "direct"
    received: int = 0
    sent: int = 0


class Reach(Document, frozen=True, kw_only=True):
    """Whether others can reach this node."""

    state: str = ""
    sentence: str = ""
    what_next: str = ""
    proven: list[str] = []
    seen: list[Seen] = []
    ports_vary: bool = False
    asked_at: int = 0
    relays: list[RelayPeer] = []
    settings: ReachSettings = field(default_factory=ReachSettings)
    relay: RelayUse = field(default_factory=RelayUse)
    peers: list[Way] = []


class Standing(Document, frozen=True, kw_only=True):
    """How the catalogue here stands beside that of a connected peer."""

    peer_id: str = ""
    name: str = ""
    marks: list[NameMark] = []
    checked_at: int = 0
    equal: bool = False
    complete: bool = False
    missing: int = 0
    admitted: int = 0


class Kept(Document, frozen=True, kw_only=True):
    """How much is kept of authors that are known so well."""

    authors: int = 0
    records: int = 0
    bytes: int = 0


class CatalogueState(Document, frozen=True, kw_only=True):
    """What the catalogue holds, how complete it is, and what it refused since the start."""

    joined: bool = False
    records: int = 0
    used_bytes: int = 0
    cap_bytes: int = 0
    file_bytes: int = 0
    by_trust: dict[str, Kept] = {}
    contradictions: int = 0
    counts: dict[str, int] = {}
    peers: list[Standing] = []
    complete: bool = False
    refused: dict[str, int] = {}


class Ban(Document, frozen=True, kw_only=True):
    """Somebody who is shut out; `until` 0 is for good. A network of addresses has no name."""

    what: str = ""
    name: str = ""
    marks: list[NameMark] = []
    by: str = ""
    reason: str = ""
    since: int = 0
    until: int = 0


class Penalty(Document, frozen=True, kw_only=True):
    """What a peer did, and the points that it cost."""

    peer_id: str = ""
    name: str = ""
    marks: list[NameMark] = []
    reason: str = ""
    points: int = 0
    at: int = 0


class Banned(Document, frozen=True, kw_only=True):
    """Who is shut out, and what was refused lately."""

    items: list[Ban] = []
    recent: list[Penalty] = []
    refused_connections: int = 0


class Liar(Document, frozen=True, kw_only=True):
    """An author that has signed two things which cannot both be."""

    author: str = ""
    author_name: str = ""
    author_marks: list[NameMark] = []
    words: str = ""
    found_at: int = 0


class Contradictions(Document, frozen=True, kw_only=True):
    """All of them."""

    items: list[Liar] = []
    total: int = 0
