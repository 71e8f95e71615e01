"""Builds the HTTP application and serves it on an ephemeral loopback port."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import hypercorn.trio
import trio
from fastapi import FastAPI
from hypercorn.config import Config

from openstall.app import version
from openstall.app.api import failures, routers
from openstall.app.api.guard import Guard
from openstall.app.node import Node
from openstall.ledger.private_files import write_private

GRACE_S = 2.0


async def serve_api(node: Node, stopping: trio.Event, ready: Callable[[], None]) -> None:
    """Serve until `stopping`; `ready` is called when `api.json` tells clients where to connect."""
    token = secrets.token_urlsafe(32)
    node.secrets.add(token)
    guard = Guard(_application(node), token=token)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = GRACE_S
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = 64 * 1024
    config.keep_alive_timeout = 60
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(
            lambda task_status: hypercorn.trio.serve(
                guard,  # type: ignore[arg-type]  # hypercorn names its own kind of scope, ours is a plain mapping
                config,
                shutdown_trigger=stopping.wait,
                task_status=task_status,
                mode="asgi",
            )
        )
        port = urlsplit(urls[0]).port
        if port is None:
            raise RuntimeError(f"no port in {urls[0]}")
        guard.listen_on(port)
        content = {"port": port, "token": token, "pid": os.getpid()}
        try:
            write_private(node.home.api, json.dumps(content).encode())
            ready()
            await stopping.wait()
        finally:
            node.home.api.unlink(missing_ok=True)


def _application(node: Node) -> FastAPI:
    app = FastAPI(
        title="Openstall local API",
        version=version(),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    failures.install(app)
    for make in routers.all_routers():
        app.include_router(make(node))
    return app
