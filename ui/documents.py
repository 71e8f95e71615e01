"""What the local API answers, as typed values.

Fields the desktop does not know are ignored and absent ones take their default, so that a desktop and
a node of neighbouring versions still understand each other; a field of the wrong type is refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

T = TypeVar("T")


class Failure(Struct, frozen=True, kw_only=True):
    """A refusal in words for people: what happened, and what to do next; `code` is for programs."""

    code: str = "unknown"
    message: str = "Something went wrong."
    what_next: str = ""


class UnreadableAnswer(Exception):
    """The answer does not have the form that this desktop knows."""


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def read(value: Any, kind: type[T]) -> T:
    """A decoded JSON value as `kind`; null means absent.

    Raises:
        UnreadableAnswer: a field has the wrong type.
    """
    try:
        return msgspec.convert(_without_nulls(value), kind, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UnreadableAnswer(str(error)) from error


class Document(Struct, frozen=True, kw_only=True):
    """Base of the answers: frozen, keyword-only, tolerant of unknown fields."""


class Nothing(Document, frozen=True, kw_only=True):
    """For calls whose answer does not matter."""


class OperationRef(Document, frozen=True, kw_only=True):
    """A long action was started."""

    operation_id: str = ""


class Operation(Document, frozen=True, kw_only=True):
    """A long action: `done` of `total` in `unit`; `result` when it is done, `error` when it failed."""

    id: str = ""
    kind: str = ""
    title: str = ""
    state: str = "running"
    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    result: Any = None
    error: Failure | None = None
    started_at: int = 0
    ended_at: int = 0

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.state == "running"


class IdentityState(Document, frozen=True, kw_only=True):
    """Who this node is; state is none, locked or open."""

    state: str = "none"
    peer_id: str = ""
    wallet: str = ""
    name: str = ""
    backup_tested: bool = False


class GroupState(Document, frozen=True, kw_only=True):
    """The group chain or public chain; state is none, hosting, member or public."""

    state: str = "none"
    name: str = ""
    chain_id: int = 0
    network: str = ""
    banner: str = ""
    invitation: str = ""
    height: int = 0
    host_peer: str = ""
    durable: bool = True


class NetworkState(Document, frozen=True, kw_only=True):
    """How many peers are connected and where this node listens."""

    peers: int = 0
    addrs: list[str] = []


class AgentState(Document, frozen=True, kw_only=True):
    """The compute agent; state is starting, ready, refused or off."""

    state: str = "off"
    reason: str = ""
    fix: str = ""


class Status(Document, frozen=True, kw_only=True):
    """The node at a glance."""

    version: str = ""
    home: str = ""
    started_at: int = 0
    identity: IdentityState = field(default_factory=IdentityState)
    group: GroupState = field(default_factory=GroupState)
    network: NetworkState = field(default_factory=NetworkState)
    agent: AgentState = field(default_factory=AgentState)
    selling: bool = False
    trading: bool = False
    warnings: list[Failure] = []


class NewIdentity(Document, frozen=True, kw_only=True):
    """A wallet just made; the words are shown once."""

    words: list[str] = []
    peer_id: str = ""
    wallet: str = ""


class BackupQuestion(Document, frozen=True, kw_only=True):
    """Which of the 24 words to ask for, counted from 1."""

    positions: list[int] = []


class Movement(Document, frozen=True, kw_only=True):
    """One line of the wallet's history; `amount_micro` is negative when it went out."""

    at: int = 0
    kind: str = ""
    amount_micro: int = 0
    other: str = ""
    tx: str = ""
    order_id: str = ""
    words: str = ""


class WalletBook(Document, frozen=True, kw_only=True):
    """Balance, money held in escrow, history."""

    address: str = ""
    balance_micro: int = 0
    held_micro: int = 0
    symbol: str = "credits"
    faucet_claimed: bool = True
    as_of: int = 0
    """When the chain said so, where it cannot be asked now."""
    history: list[Movement] = []
