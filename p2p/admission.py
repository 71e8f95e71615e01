"""The entrances for those who call: how many, how many of one network, how long a handshake may last.

Those who come through a relay are counted by the relay: their own networks are not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Self

from openstall.p2p.limits import HostLimits
from openstall.p2p.prefixes import LOCAL, network_of


class Slot:
    """The place of one connection from its first byte to its end, as a context manager."""

    def __init__(self, entrance: Entrance, network: str) -> None:
        self._entrance = entrance
        self._network = network
        self._shaking = True

    def established(self) -> None:
        """The handshake is over."""
        if self._shaking:
            self._shaking = False
            _less(self._entrance.shaking, self._network)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.established()
        _less(self._entrance.inside, self._network)


class Entrance:
    """Counts inbound connections by network. Strangers of one network can never take all places."""

    def __init__(self, limits: HostLimits, *, shut_out: Callable[[str], bool]) -> None:
        """`shut_out` says whether an address is banned."""
        self._limits = limits
        self.is_shut_out = shut_out
        self.inside: Counter[str] = Counter()
        self.shaking: Counter[str] = Counter()
        self.refused = 0

    @property
    def handshake_s(self) -> float:
        """How long a handshake may last in all, however steadily it drips."""
        return self._limits.handshake_s

    def slot(self, remote: str) -> Slot | None:
        """A place for a connection from a multiaddress, or None: it is to be closed at once."""
        network = network_of(remote, local=self._limits.local_networks_count)
        if self.is_shut_out(remote) or not self._has_place(network):
            self.refused += 1
            return None
        self.inside[network] += 1
        self.shaking[network] += 1
        return Slot(self, network)

    def _has_place(self, network: str) -> bool:
        if sum(self.shaking.values()) >= self._limits.max_handshakes:
            return False
        if network == LOCAL:
            return True
        handshakes = self.shaking[network] < self._limits.max_handshakes_per_network
        return handshakes and self.inside[network] < self._limits.max_inbound_per_network


class Passage:
    """The place of one connection that a relay brings, as a context manager."""

    def __init__(self, entrance: RelayEntrance, relay_id: str) -> None:
        self._entrance = entrance
        self._relay_id = relay_id
        self._peer_id = ""
        self._shaking = True

    def claimed(self, peer_id: str) -> bool:
        """The relay has said who calls; False where this peer has as many connections as it may."""
        if self._entrance.callers[peer_id] >= self._entrance.limits.max_relayed_per_peer:
            self._entrance.refused += 1
            return False
        self._peer_id = peer_id
        self._entrance.callers[peer_id] += 1
        return True

    def established(self) -> None:
        """The handshake is over."""
        if self._shaking:
            self._shaking = False
            _less(self._entrance.shaking, self._relay_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.established()
        _less(self._entrance.inside, self._relay_id)
        if self._peer_id:
            _less(self._entrance.callers, self._peer_id)


class RelayEntrance:
    """Counts connections that relays bring: by relay, and by the peer that calls."""

    def __init__(self, limits: HostLimits) -> None:
        self.limits = limits
        self.inside: Counter[str] = Counter()
        self.shaking: Counter[str] = Counter()
        self.callers: Counter[str] = Counter()
        self.refused = 0

    def slot(self, relay_id: str) -> Passage | None:
        """A place for one more circuit of this relay, or None."""
        full = self.inside[relay_id] >= self.limits.max_inbound_per_relay
        if full or self.shaking[relay_id] >= self.limits.max_handshakes_per_relay:
            self.refused += 1
            return None
        self.inside[relay_id] += 1
        self.shaking[relay_id] += 1
        return Passage(self, relay_id)


def _less(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
