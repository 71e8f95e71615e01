"""The columns of the table: bare, a common recipe, each layer alone, each layer missing, and the product."""

from __future__ import annotations

import os
from dataclasses import dataclass

from openstall.compute_agent.sandbox.plan import Layer, Mode

NAIVE = (
    "bwrap",
    "--unshare-all",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--tmpfs",
    "/tmp",
)
"""What one finds when one looks for how to use bubblewrap."""


PRIVATE = (
    *("unshare", "--user", "--map-root-user", "--net", "--mount"),
    *("{python}", "{here}/private_net.py"),
)
"""A network of its own, in which the outside is played."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One way to run the attempts. `mode` None: outside of the product."""

    name: str
    mode: Mode | None = None
    without: frozenset[Layer] = frozenset()
    boxed_filter: bool = True
    allow_fork: bool = True
    command: tuple[str, ...] = ()
    as_root: bool = False
    product: bool = False
    outside_only: bool = False

    @property
    def own_network(self) -> bool:
        """Whether other machines are out of reach by construction, so that reaching for them may be tried."""
        return bool(self.command) or self.mode not in {None, "no_namespaces"} or self.filtered

    @property
    def filtered(self) -> bool:
        """Whether the system-call filter is in force."""
        return self.mode is not None and "seccomp" not in self.without


def _without(*names: Layer) -> frozenset[Layer]:
    return frozenset(names)


BARE = Column(name="bare")
OUTSIDE = Column(name="bare, outside played", command=PRIVATE, outside_only=True)
NAIVE_COLUMN = Column(name="common recipe", command=NAIVE)
ONLY = {
    "namespaces": Column(
        name="namespaces only", mode="user_namespace", without=_without("seccomp", "landlock", "limits")
    ),
    "seccomp": Column(name="filter only", mode="no_namespaces", without=_without("landlock", "limits")),
    "landlock": Column(name="Landlock only", mode="no_namespaces", without=_without("seccomp", "limits")),
}
NO_FILTER = Column(name="no filter", mode="user_namespace", without=_without("seccomp"))
NO_LANDLOCK = Column(name="no Landlock", mode="user_namespace", without=_without("landlock"))
REDUCED = Column(name="reduced", mode="no_namespaces", boxed_filter=False, allow_fork=False, product=True)
FULL_FORK = Column(name="full, may fork", mode="user_namespace", product=True)
FULL = Column(name="full", mode="user_namespace", allow_fork=False, product=True)
ROOT_BARE = Column(name="bare, root", as_root=True)
ROOT_FULL = Column(name="full, root", mode="dropped_root", allow_fork=False, as_root=True, product=True)

USER_COLUMNS = (
    BARE, OUTSIDE, NAIVE_COLUMN, *ONLY.values(), NO_FILTER, NO_LANDLOCK, REDUCED, FULL_FORK, FULL,
)  # fmt: skip
ROOT_COLUMNS = (ROOT_BARE, ROOT_FULL)


def columns_here() -> tuple[Column, ...]:
    """Those that belong to the user who runs this process."""
    return ROOT_COLUMNS if os.geteuid() == 0 else USER_COLUMNS


# Attacks that need a sandbox each are made where a limit is to be shown, and bare to show that they work.
BOMB_COLUMNS = frozenset({"bare", "reduced", "full, may fork", "full", "bare, root", "full, root"})

KNOWN_OPEN = {
    "full": {},
    "full, root": {},
    "full, may fork": {"start a process": "that is what it may"},
    "reduced": {
        "see that a file of the owner exists, and its size": "Landlock does not hide what exists",
        "see where a link of the owner leads": "as above",
        "free space of the owner's disk": "as above",
        "enter the home folder": "as above; nothing in it can be listed or read",
        "name of the host": "there is no namespace to hide it in",
        "user id of the owner": "the job runs under it",
        "learn that a process id is in use": "it can be asked about, not signalled or read",
        "see su, sudo or pkexec": "seen, but nothing can be started",
    },
}
"""What the product leaves open, and why: nothing in the full tier, metadata in the reduced one."""
