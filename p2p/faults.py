"""What goes wrong between peers, in words."""

from __future__ import annotations

from openstall.market.errors import PeerError


def unreachable() -> PeerError:
    """Nobody answered at any known address."""
    return PeerError(
        "peer_unreachable",
        "The other peer is not reachable.",
        "Its computer may be off or offline. Try again later.",
    )


def silent() -> PeerError:
    """Connected, but no answer in time."""
    return PeerError("peer_silent", "The other peer does not answer.", "It may be busy. Try again later.")


def cannot_listen(address: str) -> PeerError:
    """The address is in use or not of this machine."""
    return PeerError(
        "cannot_listen",
        f"This computer cannot listen on {address}.",
        "The port may be in use by another program. Choose another port, or 0 for any.",
    )


def bad_address() -> PeerError:
    """An address without the peer's id."""
    return PeerError("bad_address", "The address does not name the peer.", "Add /p2p/<peer id> to it.")


def own_address() -> PeerError:
    """Dialling ourselves."""
    return PeerError("self_dial", "That is this peer's own address.", "Enter another peer's address.")


def banned() -> PeerError:
    """The peer is shut out."""
    return PeerError(
        "peer_banned",
        "That peer is shut out here.",
        "`openstall peers banned` says why and how long; `openstall peers unban` lets it in again.",
    )
