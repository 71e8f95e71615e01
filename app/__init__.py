"""Composition root: node, services, local API, command line, demo."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Version of the installed program."""
    return metadata.version("openstall")
