"""Blocking work (SQLite, the chain, hashing) on bounded worker threads, away from the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")

STORE_THREADS = 4
CHAIN_THREADS = 6
WORK_THREADS = 2


class Workers:
    """One limiter per kind of work, so that a slow chain never keeps the store waiting."""

    def __init__(self) -> None:
        self._store = trio.CapacityLimiter(STORE_THREADS)
        self._chain = trio.CapacityLimiter(CHAIN_THREADS)
        self._work = trio.CapacityLimiter(WORK_THREADS)

    async def store(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that waits for the disk; not abandoned on cancellation."""
        return await trio.to_thread.run_sync(lambda: fn(*args, **kwargs), limiter=self._store)

    async def chain(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that waits for a chain."""
        return await trio.to_thread.run_sync(lambda: fn(*args, **kwargs), limiter=self._chain)

    async def work(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run long computation: scrypt, hashing, encryption of files."""
        return await trio.to_thread.run_sync(lambda: fn(*args, **kwargs), limiter=self._work)
