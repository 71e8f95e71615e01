"""The jobs of strangers on this machine, as its house rules see them."""

from __future__ import annotations

from typing import Protocol


class Guests(Protocol):
    """The jobs of others on this machine."""

    @property
    def running(self) -> int:
        """How many there are, those that stand still included."""

    @property
    def waiting(self) -> int:
        """How many of them stand still."""

    async def hold(self, words: str) -> int:
        """Make them stand still; returns how many did not before, once none uses the processor."""

    async def let_go(self) -> None:
        """Let them go on."""

    async def end_overdue(self, wait_s: int, why: str) -> None:
        """End those that have waited for longer."""

    async def end_all(self) -> int:
        """End them on the owner's word; how many there were."""

    async def tell(self, words: str) -> None:
        """Say something to their buyers."""

    def note_energy(self, millijoules: int, milliseconds: int) -> None:
        """Those that work have used so much together, in a time in which it was measured."""


class NoGuests:
    """While this node does not trade."""

    running = waiting = 0

    async def hold(self, words: str) -> int:  # noqa: ARG002 - see Guests
        """Nobody is here."""
        return 0

    async def let_go(self) -> None:
        """Nobody is here."""

    async def end_overdue(self, wait_s: int, why: str) -> None:
        """Nobody is here."""

    async def end_all(self) -> int:
        """Nobody is here."""
        return 0

    async def tell(self, words: str) -> None:
        """Nobody is here."""

    def note_energy(self, millijoules: int, milliseconds: int) -> None:
        """Nobody is here."""
