"""The list of route groups; each module has `router(node) -> APIRouter`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from openstall.app.api import (
    basics,
    batches,
    capacity,
    catalogue,
    compute,
    group,
    identity,
    models,
    network,
    orders,
    renting,
    serving,
    wallet,
)
from openstall.app.node import Node


def all_routers() -> list[Callable[[Node], APIRouter]]:
    """Every group of routes that this version has."""
    return [
        basics.router,
        identity.router,
        group.router,
        wallet.router,
        catalogue.router,
        network.router,
        compute.router,
        renting.router,
        capacity.router,
        models.router,
        serving.router,
        orders.router,
        batches.router,
    ]
