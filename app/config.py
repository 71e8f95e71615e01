"""What a person may choose when a node starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openstall.app.paths import Home

DEFAULT_LISTEN = ("/ip4/0.0.0.0/tcp/0",)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Options of `openstall node run`. Secrets come from files or the local API, never from here."""

    home: Home
    listen: tuple[str, ...] = DEFAULT_LISTEN
    bootstrap: tuple[str, ...] = ()
    mdns: bool = True
    passphrase_file: Path | None = None
    log_level: str = "info"
    agent: bool = True
