"""What a rig remembers: whom it works for, how it is called, how many jobs at once, how it was last."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from openstall.market.errors import Conflict
from openstall.market.text import clean
from openstall.store.settings import Settings

_OWNER, _NAME, _JOBS, _STATE = "rig.owner", "rig.name", "rig.jobs_at_once", "rig.state"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The node that this rig works for, and where it was when they were paired."""

    peer_id: str
    addrs: Annotated[tuple[str, ...], Meta(max_length=16)]
    name: str
    paired_at: int


class RigBook:
    """Blocking: call it on a worker thread, or from the command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def owner(self) -> Owner | None:
        """Whom the rig works for."""
        kept = self._settings.get(_OWNER)
        return None if kept is None else msgspec.convert(kept, Owner)

    def need_owner(self) -> Owner:
        """The same; Conflict where it works for nobody."""
        owner = self.owner
        if owner is None:
            raise Conflict(
                "not_paired",
                "This machine works for no node yet.",
                "Run `openstall compute rigs pair` on the node's computer, then `openstall rig pair` here.",
            )
        return owner

    def pair(self, owner: Owner) -> None:
        """Work for this node from now on."""
        self._settings.set(_OWNER, msgspec.to_builtins(owner))

    def unpair(self) -> None:
        """Work for nobody."""
        self._settings.remove(_OWNER)

    @property
    def name(self) -> str:
        """What the node shows; the computer's own name where none was given."""
        return str(self._settings.get(_NAME) or clean(platform.node())[:60] or "rig")

    def call_it(self, name: str) -> None:
        """Give it a name.

        Raises:
            Conflict: none that can be shown.
        """
        words = " ".join(clean(name).split())
        if not 1 <= len(words) <= 60:
            raise Conflict("bad_name", "A name has 1 to 60 printable characters.")
        self._settings.set(_NAME, words)

    @property
    def jobs_at_once(self) -> int:
        """How many jobs may run side by side."""
        return int(self._settings.get(_JOBS, 1))

    def allow(self, jobs_at_once: int) -> None:
        """Set that."""
        self._settings.set(_JOBS, jobs_at_once)

    @property
    def state(self) -> dict[str, Any]:
        """How the running rig was when it last wrote that down."""
        return dict(self._settings.get(_STATE) or {})

    def note(self, state: dict[str, Any]) -> None:
        """Write down how it is."""
        self._settings.set(_STATE, state)
