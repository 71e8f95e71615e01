"""The home folder: where one node keeps everything that is its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from openstall.market.errors import StoreError


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one root; nothing outside it is written, so several nodes can share a machine."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The user's own data folder on this system."""
        return cls(Path(platformdirs.user_data_dir("openstall", appauthor=False)))

    @property
    def lock(self) -> Path:
        """Held by the running node."""
        return self.root / "node.lock"

    @property
    def api(self) -> Path:
        """Port and token of the local API, while a node runs."""
        return self.root / "api.json"

    @property
    def endpoints(self) -> Path:
        """Keys and ports of the open endpoints of served models."""
        return self.root / "endpoints.json"

    @property
    def wallet(self) -> Path:
        """The encrypted words."""
        return self.root / "wallet.json"

    @property
    def peer_key(self) -> Path:
        """The seed of the peer key."""
        return self.root / "peer.key"

    @property
    def store(self) -> Path:
        """The database."""
        return self.root / "store.sqlite"

    @property
    def peerstore(self) -> Path:
        """Addresses of other peers."""
        return self.root / "peerstore.sqlite"

    @property
    def blobs(self) -> Path:
        """Content-addressed files."""
        return self.root / "blobs"

    @property
    def chain(self) -> Path:
        """The hosted group's chain."""
        return self.root / "chain"

    @property
    def jobs(self) -> Path:
        """Work folders of jobs."""
        return self.root / "jobs"

    @property
    def library(self) -> Path:
        """Opened packages."""
        return self.root / "library"

    @property
    def requests(self) -> Path:
        """Sealed rows of own requests."""
        return self.root / "requests"

    @property
    def proofs(self) -> Path:
        """What proves that an evaluator's report was checked again, for an arbiter."""
        return self.root / "proofs"

    @property
    def log(self) -> Path:
        """The node's log."""
        return self.root / "log" / "node.jsonl"

    @property
    def rig(self) -> Home:
        """Where this machine keeps its own things as a rig, so that it never shares a key with a node."""
        return Home(self.root / "rig")

    def create(self) -> None:
        """Make the folders, readable by their owner only; raises StoreError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for folder in (self.blobs, self.chain, self.jobs, self.library, self.log.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "home_unavailable",
                f"The home folder {self.root} cannot be used: {error.strerror}.",
                "Choose another one with --home, or make it yours.",
            ) from error
