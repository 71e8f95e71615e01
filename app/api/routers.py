"""The list of route groups; each module has `router(node) -> APIRouter`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter

from openstall.app.api import basics, identity

if TYPE_CHECKING:
    from openstall.app.node import Node


def all_routers() -> list[Callable[[Node], APIRouter]]:
    """Every group of routes that this version has."""
    return [basics.router, identity.router]
