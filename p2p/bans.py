"""Who is shut out: by the owner for good or for a time, by this node for longer each time.

The list survives restarts. A ban names a peer, or a network (`192.0.2.0/24`): peer ids cost nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from openstall.market.errors import PeerError, StoreError
from openstall.market.schema import NONSENSE
from openstall.p2p.identity import check_peer_id
from openstall.p2p.limits import BAN_S, Clock, Scores

LONGEST_S = 86_400
REMEMBERED_S = 7 * 86_400
"""A peer that was shut out in the last days is shut out for twice as long the next time."""
MAX_BANS = 4096
MAX_REASON = 200
_MAX_FILE = 4 * 1024 * 1024
_RECENT = 200

Owner = Literal["you", "node"]


class Ban(Struct, kw_only=True, frozen=True):
    """One entry. `until` 0 is for good; `times` counts how often this node has shut the peer out."""

    what: Annotated[str, Meta(min_length=1, max_length=100)]
    by: Owner
    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""
    since: Annotated[int, Meta(ge=0)]
    until: Annotated[int, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=0)] = 0


class Penalty(Struct, kw_only=True, frozen=True):
    """What a peer did, and what it cost."""

    peer_id: str
    reason: str
    points: int
    at: int


def check_target(what: str) -> str:
    """A peer id, or a network such as `192.0.2.0/24`, as it stands in the list.

    Raises:
        PeerError: `bad_ban`.
    """
    text = what.strip()
    if "/" not in text and ":" not in text:
        return check_peer_id(text)
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        found = None
    if found is None or found.prefixlen < (16 if found.version == 4 else 32):
        raise PeerError(
            "bad_ban",
            "That is neither a peer id nor a network of addresses.",
            "Give the id of a peer, or a network such as 192.0.2.0/24 (at most a /16, or a /32 of IPv6).",
        )
    return str(found)


class BanList:
    """The list of one node. Not thread-safe: used from the event loop only, but for `save`."""

    def __init__(self, path: Path | None, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._bans: OrderedDict[str, Ban] = OrderedDict()
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]] = []
        self._changed = False
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            raw = path.read_bytes() if path.stat().st_size <= _MAX_FILE else b""
            found = msgspec.json.decode(raw, type=list[Ban])
        except (OSError, *NONSENSE):
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return
        for one in found[:MAX_BANS]:
            with contextlib.suppress(PeerError):
                self._bans[check_target(one.what)] = one
        self._index()

    def _index(self) -> None:
        self._networks = [(ipaddress.ip_network(what), what) for what in self._bans if "/" in what]

    def _runs(self, ban: Ban) -> bool:
        return ban.until == 0 or self._now() < ban.until

    def all(self) -> list[Ban]:
        """The bans that run, the newest first."""
        return sorted(filter(self._runs, self._bans.values()), key=lambda ban: -ban.since)

    def holds_peer(self, peer_id: str) -> Ban | None:
        """The ban of a peer that runs."""
        ban = self._bans.get(peer_id)
        return ban if ban is not None and self._runs(ban) else None

    def holds_address(self, address: str) -> Ban | None:
        """The ban of the network in which a multiaddress lies."""
        parts = address.split("/")
        if not self._networks or len(parts) < 3 or not parts[1].startswith("ip"):
            return None
        try:
            ip = ipaddress.ip_address(parts[2])
        except ValueError:
            return None
        for network, what in self._networks:
            if ip in network and self._runs(self._bans[what]):
                return self._bans[what]
        return None

    def shut_out(self, what: str, *, by: Owner, reason: str, for_s: int = 0) -> Ban:
        """Add or replace a ban; the owner's word is not replaced by the node's.

        Raises:
            PeerError: `bad_ban`, `bad_peer_id`.
        """
        what = check_target(what)
        now = int(self._now())
        old = self._bans.get(what)
        if by == "node" and old is not None and old.by == "you" and self._runs(old):
            return old
        times = 0
        if by == "node":
            times = 1 + (old.times if old is not None and now - old.since < REMEMBERED_S else 0)
            for_s = int(min(BAN_S * 2 ** min(times - 1, 20), LONGEST_S))
        until = now + for_s if for_s else 0
        ban = Ban(what=what, by=by, reason=reason[:MAX_REASON], since=now, until=until, times=times)
        self._bans.pop(what, None)
        self._bans[what] = ban
        if len(self._bans) > MAX_BANS:
            # The owner's entries stay; of the node's the oldest go first.
            mine = next((key for key, one in self._bans.items() if one.by == "node"), None)
            self._bans.pop(mine if mine is not None else next(iter(self._bans)))
        self._index()
        self._changed = True
        return ban

    def readmit(self, what: str) -> bool:
        """Take a ban back, and forget what came before it; False where there was none."""
        found = self._bans.pop(check_target(what), None)
        self._index()
        self._changed = self._changed or found is not None
        return found is not None and self._runs(found)

    def save(self) -> None:
        """Write the file if anything changed; blocking, so called from a worker thread.

        Raises:
            StoreError: the disk is full or the folder is gone.
        """
        if self._path is None or not self._changed:
            return
        self._changed = False
        kept = [one for one in self._bans.copy().values() if self._runs(one) or self._recent(one)]
        part = self._path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            self._changed = True
            raise StoreError("ban_list", f"The list of bans cannot be saved: {error.strerror}.") from error

    def _recent(self, ban: Ban) -> bool:
        return self._now() - ban.since < REMEMBERED_S


class Bouncer:
    """Scores and bans together: who may come in, and what misbehaviour costs."""

    def __init__(self, path: Path | None, *, clock: Clock) -> None:
        self.list = BanList(path)
        self._scores = Scores(clock=clock)
        self.recent: deque[Penalty] = deque(maxlen=_RECENT)

    def penalise(self, peer_id: str, points: float, reason: str) -> bool:
        """Count bad behaviour; True when this shuts the peer out."""
        self.recent.append(
            Penalty(peer_id=peer_id, reason=reason[:MAX_REASON], points=round(points), at=int(time.time()))
        )
        if not self._scores.penalise(peer_id, points):
            return False
        self.list.shut_out(peer_id, by="node", reason=reason)
        return True

    def score(self, peer_id: str) -> float:
        """The points that have not faded yet."""
        return self._scores.score(peer_id)

    def is_banned(self, peer_id: str) -> bool:
        """Whether the peer is shut out at present."""
        return self.list.holds_peer(peer_id) is not None

    def shuts_out(self, address: str) -> bool:
        """Whether calls from there are refused at present."""
        return self.list.holds_address(address) is not None

    def readmit(self, what: str) -> bool:
        """Take a ban back: the peer starts without points."""
        self._scores.forget(what.strip())
        return self.list.readmit(what)
