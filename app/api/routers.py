"""The list of route groups; each module has `router(node) -> APIRouter`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from openstall.app.api import (
    autoprice,
    bans,
    basics,
    batches,
    blobs,
    capacity,
    catalogue,
    compute,
    contests,
    custom,
    developer,
    disputes,
    exchange,
    group,
    identity,
    machines,
    mail,
    models,
    network,
    orders,
    reliability,
    renting,
    service_levels,
    serving,
    wallet,
    wanted,
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
        bans.router,
        mail.router,
        exchange.router,
        blobs.router,
        compute.router,
        renting.router,
        machines.router,
        capacity.router,
        reliability.router,
        autoprice.router,
        service_levels.router,
        models.router,
        serving.router,
        custom.router,  # before the orders, whose routes take any word as an action
        disputes.router,  # as above
        orders.router,
        batches.router,
        wanted.router,
        contests.router,
        developer.router,
    ]
