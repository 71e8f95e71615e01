"""Opens and closes endpoints: each a listener on 127.0.0.1 with a key of its own, while its job runs."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypercorn.trio
import trio
from hypercorn.config import Config

from openstall.app.api.guard import Guard
from openstall.app.clock import Clock
from openstall.app.endpoint.application import make_application
from openstall.app.endpoint.kept import Kept, read_kept, write_kept
from openstall.app.logging import Secrets, get_logger
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, NotFound, OpenstallError, Refused, StoreError
from openstall.p2p.nurseries import single_errors

if TYPE_CHECKING:
    from trio_typing import TaskStatus

GRACE_S = 1.0
LOOK_S = 2.0
"""How often an endpoint looks whether its job has ended."""
MOST = 16
_WHERE = "The key was shown when the endpoint was opened; `openstall job serve ORDER` shows it again."

log = get_logger("openstall.endpoint")


@dataclass(slots=True, kw_only=True)
class _Endpoint:
    """One listener."""

    order_id: str
    key: str
    port: int = 0
    moved_from: int | None = None
    """The port before a restart, where another program had taken it."""
    closing: trio.Event = field(default_factory=trio.Event)
    closed: trio.Event = field(default_factory=trio.Event)

    def as_dict(self) -> dict[str, Any]:
        """What its user needs."""
        return {
            "order_id": self.order_id,
            "base_url": f"http://127.0.0.1:{self.port}/v1",
            "key": self.key,
            "model": model_name(self.order_id),
            "moved_from": self.moved_from,
        }


@dataclass(slots=True, kw_only=True)
class Endpoints:
    """All endpoints of this node. `run` must be running; they end with it."""

    lines: ServeLines
    clock: Clock
    secrets: Secrets
    workers: Workers
    file: Path
    ready: trio.Event = field(default_factory=trio.Event)
    """Whether those of before a restart are open again."""

    _open: dict[str, _Endpoint] = field(default_factory=dict)
    _later: list[Kept] = field(default_factory=list)
    """Those of before that could not be opened for a reason that may pass: the next restart tries again."""
    _opening: trio.Lock = field(default_factory=trio.Lock)
    _nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Hold the listeners, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                async with self._opening:
                    await self._bring_back()
                self.ready.set()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def open(self, order_id: str, port: int = 0) -> dict[str, Any]:
        """Open the endpoint of an order, on any free port if none is named; one that is open stays as it is.

        Raises:
            Refused: no order of ours for a served model.
            Conflict: its job has ended, the port is in use, or too many are open.
        """
        order = await self.lines.current(order_id)
        if order.final or order.data.get("report"):
            raise Conflict("job_ended", "The job has ended.", "Order it again.")
        async with self._opening:
            if order_id not in self._open:
                await self._listen(_Endpoint(order_id=order_id, key=_new_key()), port)
                await self._keep()
            return self._open[order_id].as_dict()

    async def close(self, order_id: str) -> None:
        """Close it. Raises NotFound."""
        await self._close(self._find(order_id))

    async def _close(self, endpoint: _Endpoint) -> None:
        endpoint.closing.set()
        await endpoint.closed.wait()
        async with self._opening:
            await self._keep()

    def show(self, order_id: str) -> dict[str, Any]:
        """The open endpoint of an order. Raises NotFound."""
        return self._find(order_id).as_dict()

    def _find(self, order_id: str) -> _Endpoint:
        if order_id not in self._open:
            raise NotFound("no_endpoint", "This order has no open endpoint.", "Open it first.")
        return self._open[order_id]

    async def _keep(self) -> None:
        """Write down what is open, so that a restart finds it; where that fails it works all the same."""
        kept = [one for one in self._later if one.order_id not in self._open]
        kept += [Kept(order_id=one.order_id, key=one.key, port=one.port) for one in self._open.values()]
        try:
            if set(kept) != set(await self.workers.store(read_kept, self.file)):
                await self.workers.store(write_kept, self.file, kept)
        except StoreError as error:
            log.warning("a restart will not know which endpoints are open now", code=error.code)

    async def _bring_back(self) -> None:
        """Open what was open before a restart, with the same key at the same port.

        Where another program has that port, clients show it their key: at the new port there is a new one.
        """
        before = await self.workers.store(read_kept, self.file)
        for kept in before[:MOST]:
            try:
                if self._over(await self.lines.current(kept.order_id)):
                    continue
                endpoint = _Endpoint(order_id=kept.order_id, key=kept.key)
                try:
                    await self._listen(endpoint, kept.port)
                except Conflict:
                    endpoint = _Endpoint(order_id=kept.order_id, key=_new_key(), moved_from=kept.port)
                    await self._listen(endpoint, 0)
                log.info("endpoint opened again", order=kept.order_id, moved=endpoint.moved_from is not None)
            except OpenstallError as error:
                log.warning("endpoint not opened again", order=kept.order_id, code=error.code)
                if not isinstance(error, NotFound | Refused):  # no such order, for good
                    self._later.append(kept)
        await self._keep()

    @staticmethod
    def _over(order: OpenOrder) -> bool:
        """Whether nobody will answer for this order any more."""
        return (order.final or bool(order.data.get("report"))) and not order.may_move_on

    async def _listen(self, endpoint: _Endpoint, port: int) -> None:
        if self._nursery is None:
            raise Conflict("starting", "The node is still getting ready to trade.", "Try again in a moment.")
        if len(self._open) >= MOST:
            raise Conflict("too_many", f"{MOST} endpoints are open already.", "Close one of them.")
        self.secrets.add(endpoint.key)
        try:
            await self._nursery.start(self._serve, endpoint, port)
        except OSError as error:
            raise Conflict(
                "port_in_use", f"This computer cannot listen on port {port}.", "Name another, or none."
            ) from error
        self._nursery.start_soon(self._close_at_end, endpoint)

    async def _serve(
        self, endpoint: _Endpoint, port: int, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        order_id = endpoint.order_id
        app = make_application(order_id, model=model_name(order_id), lines=self.lines, clock=self.clock)
        guard = Guard(app, token=endpoint.key, where=_WHERE)
        config = Config()
        listening = socket.create_server(("127.0.0.1", port))
        endpoint.port = listening.getsockname()[1]
        config.bind = [f"fd://{listening.detach()}"]  # hypercorn's from now on
        config.graceful_timeout = GRACE_S
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = 64 * 1024
        try:
            with single_errors():
                async with trio.open_nursery() as nursery:
                    await nursery.start(
                        lambda task_status: hypercorn.trio.serve(
                            guard,  # type: ignore[arg-type]  # as in app/api/server.py
                            config,
                            shutdown_trigger=endpoint.closing.wait,
                            task_status=task_status,
                            mode="asgi",
                        )
                    )
                    guard.listen_on(endpoint.port)
                    self._open[order_id] = endpoint
                    task_status.started()
                    await endpoint.closing.wait()
        finally:
            self._open.pop(order_id, None)
            endpoint.closed.set()

    async def _close_at_end(self, endpoint: _Endpoint) -> None:
        """An endpoint without a job is no use, and its port somebody else's."""
        while not endpoint.closing.is_set():
            order = await self.lines.current(endpoint.order_id)
            if self._over(order):
                log.info("endpoint closed with its job", order=endpoint.order_id)
                await self._close(endpoint)
            with trio.move_on_after(LOOK_S):
                await endpoint.closing.wait()


def _new_key() -> str:
    return f"sk-{secrets.token_urlsafe(32)}"


def model_name(order_id: str) -> str:
    """The name of the model for clients."""
    return f"openstall-{order_id[:12]}"
