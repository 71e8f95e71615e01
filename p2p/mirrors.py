"""Web mirrors: a blob's bytes at an HTTPS address, fetched in parts and checked like those of any peer."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpcore

from openstall.market.errors import PeerError
from openstall.p2p.blob_manifest import CHUNK, Manifest
from openstall.p2p.blob_sources import FAR_LANES, Came, ChunkSource, OpenLane, Quiet, too_quiet
from openstall.p2p.web_guard import Web, WebError, give_up, header, web_errors

_RANGE = re.compile(r"^bytes ([0-9]{1,20})-([0-9]{1,20})/([0-9]{1,20}|\*)\Z")
QUIET_S = 30.0


class Mirror:
    """One address; `url + ".manifest"` may hold the manifest, for buyers whom no peer gives it."""

    def __init__(self, url: str, *, web: Web, quiet_s: float = QUIET_S) -> None:
        self.url = url
        self.name = f"{urlsplit(url).hostname}"
        self._web = web
        self._quiet_s = quiet_s

    async def manifest(self, cid: str, *, most: int) -> bytes:  # noqa: ARG002 - the address says which
        """The manifest beside the file.

        Raises:
            PeerError: there is none, or more than `most` bytes.
        """
        got = bytearray()
        quiet = Quiet(quiet_s=self._quiet_s, size=most, came=lambda _: None)
        with quiet.scope:
            async with self._web.get(f"{self.url}.manifest") as response:
                if response.status != 200:
                    raise WebError("web_missing", f"{self.name} has no description of the file.")
                parts = response.aiter_stream()
                async for data in parts:
                    quiet.came(len(data))
                    got += data
                    if len(got) > most:
                        await give_up(parts)
                        raise WebError("web_too_much", f"{self.name} sends more than was asked for.")
            return bytes(got)
        raise too_quiet()

    def chunks(self, manifest: Manifest) -> ChunkSource:
        """As in `FileServer`."""
        return _MirrorSource(self, manifest, self._web, self._quiet_s)


class _MirrorSource:
    ahead = 1
    lanes = FAR_LANES

    def __init__(self, mirror: Mirror, manifest: Manifest, web: Web, quiet_s: float) -> None:
        self.name = mirror.name
        self.url = mirror.url
        self.size = manifest.size
        self.web = web
        self.quiet_s = quiet_s

    def holds(self, index: int) -> bool:  # noqa: ARG002 - all of it, or it is of no use
        return True

    def part(self) -> Sequence[int]:
        return ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenLane]:
        async with AsyncExitStack() as stack:
            lane = _MirrorLane(self)
            stack.push_async_callback(lane.end)
            yield lane

    def blame(self, points: float, reason: str) -> None:
        """A web server has no name to lose here; this fetch asks it no more."""


class _MirrorLane:
    """One request for each run."""

    def __init__(self, source: _MirrorSource) -> None:
        self._source = source
        self._runs: deque[range] = deque()
        self._left: deque[int] = deque()
        self._stack = AsyncExitStack()
        self._parts: AsyncIterator[bytes] | None = None
        self._ahead = bytearray()

    async def ask(self, run: range) -> None:
        self._runs.append(run)

    async def refresh(self) -> Sequence[int]:
        return ()

    async def next_chunk(self, came: Came) -> bytes:
        quiet = Quiet(quiet_s=self._source.quiet_s, size=CHUNK, came=came)
        with quiet.scope:
            if not self._left:
                await self._begin(self._runs.popleft())
            size = min(CHUNK, self._source.size - self._left.popleft() * CHUNK)
            chunk = await self._exactly(size, quiet)
            if not self._left:
                await self._finish()
            return chunk
        raise too_quiet()

    async def _begin(self, run: range) -> None:
        first, last = run.start * CHUNK, min(run.stop * CHUNK, self._source.size) - 1
        response = await self._stack.enter_async_context(
            self._source.web.get(self._source.url, part=(first, last))
        )
        self._check(response, first, last)
        self._parts = response.aiter_stream()
        self._left.extend(run)

    def _check(self, response: httpcore.Response, first: int, last: int) -> None:
        name = self._source.name
        if response.status == 200:
            raise WebError("web_no_ranges", f"{name} cannot send parts of a file.")
        if response.status != 206:
            raise WebError("web_missing", f"{name} does not have the file (status {response.status}).")
        found = _RANGE.match(header(response, b"content-range"))
        if found is None or (int(found[1]), int(found[2])) != (first, last):
            raise WebError("web_wrong_part", f"{name} sends another part than was asked for.")
        if found[3] not in ("*", str(self._source.size)):
            raise WebError("web_wrong_part", f"{name} has another file at this address.")

    async def _exactly(self, size: int, quiet: Quiet) -> bytes:
        while len(self._ahead) < size:
            with web_errors():
                data = await anext(self._parts, b"") if self._parts is not None else b""
            if not data:
                raise PeerError("stream_cut", f"{self._source.name} ended in the middle.", "Try again later.")
            quiet.came(len(data))
            self._ahead += data
        chunk = bytes(self._ahead[:size])
        del self._ahead[:size]
        return chunk

    async def _finish(self) -> None:
        """Read the end of the answer, so that the connection can be used again; no more than that."""
        if self._parts is not None and not self._ahead:
            with web_errors():
                if await anext(self._parts, b"") == b"":
                    self._parts = None
        await self.end()

    async def end(self) -> None:
        """Close the request, whatever more it would send."""
        self._left.clear()
        self._ahead.clear()
        parts, self._parts = self._parts, None
        try:
            if parts is not None:
                await give_up(parts)
        finally:
            await self._stack.aclose()
