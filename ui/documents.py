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


class OrderRef(Document, frozen=True, kw_only=True):
    """An order was opened."""

    order_id: str = ""


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
    history: list[Movement] = []


class Metric(Document, frozen=True, kw_only=True):
    """A figure the seller claims."""

    name: str = ""
    value: str = ""
    data: str = ""


class Card(Document, frozen=True, kw_only=True):
    """The short model card."""

    intended_use: str = ""
    training_data: str = ""
    limits: str = ""
    metrics: list[Metric] = []


class FileEntry(Document, frozen=True, kw_only=True):
    """A file of a package."""

    name: str = ""
    size: int = 0
    sha256: str = ""
    path: str = ""


class Blob(Document, frozen=True, kw_only=True):
    """The encrypted bytes that peers serve."""

    cid: str = ""
    size: int = 0
    sha256: str = ""


class Gpu(Document, frozen=True, kw_only=True):
    """A graphics processor."""

    name: str = ""
    memory_bytes: int = 0


class Body(Document, frozen=True, kw_only=True):
    """What a listing or an offer says; the fields of the other kind keep their defaults."""

    title: str = ""
    summary: str = ""
    licence: str = ""
    format: str = ""
    files: list[FileEntry] = []
    blob: Blob = field(default_factory=Blob)
    card: Card = field(default_factory=Card)
    price_micro: int = 0
    wallet: str = ""
    escrow: str = ""
    arbiter: str = ""
    deliver_s: int = 0
    review_s: int = 0
    kinds: list[str] = []
    cpu: str = ""
    threads: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: list[Gpu] = []
    price_per_s_micro: int = 0
    max_s: int = 0
    channel: str = ""


class Entry(Document, frozen=True, kw_only=True):
    """A live record of the catalogue."""

    cid: str = ""
    type: str = ""
    key: str = ""
    author: str = ""
    author_name: str = ""
    seq: int = 0
    issued: int = 0
    expires: int = 0
    body: Body = field(default_factory=Body)
    mine: bool = False
    reachable: bool = False
    binding_verified: bool = True


class Catalogue(Document, frozen=True, kw_only=True):
    """A page of the catalogue."""

    items: list[Entry] = []
    total: int = 0


class Finding(Document, frozen=True, kw_only=True):
    """One result of checking a model file."""

    severity: str = "info"
    code: str = ""
    words: str = ""


class ModelCheck(Document, frozen=True, kw_only=True):
    """Whether a file may be listed, and why not."""

    ok: bool = False
    format: str = ""
    size: int = 0
    findings: list[Finding] = []
    inputs: list[Any] = []
    outputs: list[Any] = []


class LibraryItem(Document, frozen=True, kw_only=True):
    """A model on this machine that may be run."""

    order_id: str = ""
    listing_cid: str = ""
    title: str = ""
    path: str = ""
    bought_at: int = 0
    files: list[FileEntry | str] = []


class Library(Document, frozen=True, kw_only=True):
    """The bought models."""

    items: list[LibraryItem] = []
    total: int = 0


class RunResult(Document, frozen=True, kw_only=True):
    """What a local run of a model gave."""

    predictions_path: str = ""
    rows: int = 0
    preview: list[list[Any]] = []
    report: dict[str, Any] = {}


class Check(Document, frozen=True, kw_only=True):
    """One line of the doctor."""

    name: str = ""
    severity: str = "info"
    ok: bool = False
    cause: str = ""
    fix: str = ""


class Inventory(Document, frozen=True, kw_only=True):
    """What this machine has, as it was probed; `gpu_note` says why the list of GPUs is empty."""

    system: str = ""
    machine: str = ""
    cpu_name: str = ""
    cores_physical: int = 0
    cores_logical: int = 0
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    disk_free_bytes: int = 0
    load_percent: int = 0
    gpus: list[Gpu] = []
    gpu_note: str = ""


class RuntimeState(Document, frozen=True, kw_only=True):
    """The environment that jobs run in."""

    state: str = ""
    path: str = ""
    size_bytes: int = 0
    words: str = ""
    fix: str = ""


class Compute(Document, frozen=True, kw_only=True):
    """This machine as a seller of compute."""

    inventory: Inventory = field(default_factory=Inventory)
    doctor: list[Check] = []
    runtime: RuntimeState = field(default_factory=RuntimeState)
    offer: dict[str, Any] | None = None
    selling: bool = False
    jobs: list[Order] = []
    earned_micro: int = 0


class Progress(Document, frozen=True, kw_only=True):
    """How far the present stage of an order is."""

    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""


class Moment(Document, frozen=True, kw_only=True):
    """A step of an order; actor is you, other, chain or clock."""

    at: int = 0
    state: str = ""
    words: str = ""
    actor: str = ""
    tx: str = ""


class JobEnd(Document, frozen=True, kw_only=True):
    """How a job ended, as the provider signed it."""

    state: str = ""
    reason: str = ""
    words: str = ""
    seconds: int = 0


class JobFigures(Document, frozen=True, kw_only=True):
    """The meter of a rented job."""

    seconds: int = 0
    cap_micro: int = 0
    owed_micro: int = 0
    vouchers: int = 0
    log_lines: int = 0
    result: JobEnd | None = None
    artefacts: list[FileEntry] = []


class Order(Document, frozen=True, kw_only=True):
    """An order as one party sees it."""

    order_id: str = ""
    kind: str = ""
    role: str = ""
    title: str = ""
    other: str = ""
    other_name: str = ""
    state: str = ""
    state_words: str = ""
    final: bool = False
    created_at: int = 0
    changed_at: int = 0
    deadline_at: int = 0
    deadline_words: str = ""
    way_back: str = ""
    amount_micro: int = 0
    paid_micro: int = 0
    terms: dict[str, Any] = {}
    timeline: list[Moment] = []
    actions: list[str] = []
    progress: Progress | None = None
    job: JobFigures | None = None
    library_path: str = ""
    trouble: Failure | None = None
    verified: bool | None = None
    fault: str = ""
    dispute_reason: str = ""


class Orders(Document, frozen=True, kw_only=True):
    """The orders of this identity."""

    items: list[Order] = []
    total: int = 0


class LogLine(Document, frozen=True, kw_only=True):
    """A line that a job wrote."""

    seq: int = 0
    text: str = ""


class LogPage(Document, frozen=True, kw_only=True):
    """Part of a job's log; ask again from `next`."""

    lines: list[LogLine] = []
    next: int = 0
    ended: bool = False


class SelfPeer(Document, frozen=True, kw_only=True):
    """This node on the network."""

    peer_id: str = ""
    addrs: list[str] = []
    name: str = ""


class PeerLine(Document, frozen=True, kw_only=True):
    """A connected peer."""

    peer_id: str = ""
    name: str = ""
    addr: str = ""
    direction: str = ""
    latency_ms: float | None = None


class Peers(Document, frozen=True, kw_only=True):
    """The network as this node sees it."""

    self: SelfPeer = field(default_factory=SelfPeer)
    items: list[PeerLine] = []
    catalogue: dict[str, int] = {}
    bootstrap: list[str] = []
