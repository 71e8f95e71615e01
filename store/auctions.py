"""The auctions that this node takes part in: those of its own requests, and those in which it bids."""

from __future__ import annotations

from typing import ClassVar

from openstall.store.parts import Parts


class Auctions(Parts):
    """Roles are `requester` and `bidder`, whose `data` has bid and salt.

    An auction ends as `awarded`, `won`, `lost`, `void` or `expired`.
    """

    table: ClassVar[str] = "auctions"
    noun: ClassVar[str] = "auction"
