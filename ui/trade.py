"""What the local API answers about trade: the catalogue, models, this machine, orders."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from typing import Any

from msgspec import field

from openstall.ui.assessments import CustomPart
from openstall.ui.documents import Document, Failure
from openstall.ui.people import Authored, NameMark
from openstall.ui.service_levels import OrderService


class OrderRef(Document, frozen=True, kw_only=True):
    """An order was opened."""

    order_id: str = ""


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
    """A graphics processor; `passed` is what this machine's doctor found of its own."""

    name: str = ""
    memory_bytes: int = 0
    passed: bool | None = None


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


class Arbitration(Document, frozen=True, kw_only=True):
    """What an arbiter takes when it rules, and what becomes of the money if it stays silent."""

    fee_words: str = ""
    silence_words: str = ""


class Contradicted(Document, frozen=True, kw_only=True):
    """That an author has signed two things which cannot both be, and what."""

    kind: str = ""
    words: str = ""


class Entry(Authored, frozen=True, kw_only=True):
    """A live record of the catalogue; `arbitration` where it is asked for alone and names an arbiter."""

    cid: str = ""
    type: str = ""
    key: str = ""
    seq: int = 0
    issued: int = 0
    expires: int = 0
    body: Body = field(default_factory=Body)
    mine: bool = False
    reachable: bool = False
    contradicted: Contradicted | None = None
    arbitration: Arbitration | None = None


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


class RunReport(Document, frozen=True, kw_only=True):
    """The figures of a run, measured on this machine; none without the right answers."""

    task: str = ""
    metrics: list[Metric] = []


class RunResult(Document, frozen=True, kw_only=True):
    """What a local run of a model gave."""

    predictions_path: str = ""
    rows: int = 0
    preview: list[list[Any]] = []
    report: RunReport = field(default_factory=RunReport)


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
    disk_bytes: int = 0
    gpus: list[Gpu] = []
    gpu_note: str = ""


class RuntimeState(Document, frozen=True, kw_only=True):
    """The environment that jobs run in."""

    state: str = ""
    path: str = ""
    size_bytes: int = 0
    packages: dict[str, str] = {}
    words: str = ""
    fix: str = ""


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


class CheckpointKept(Document, frozen=True, kw_only=True):
    """The state of a running job that the buyer has at home."""

    done: int = 0
    size: int = 0


class JobCheck(Document, frozen=True, kw_only=True):
    """What was found when a job was done again."""

    at: int = 0
    part: str = ""
    outcome: str = ""
    odd: str = ""
    words: str = ""

    @property
    def confirms(self) -> bool:
        """Whether the result was found again."""
        return self.outcome in ("same", "within_tolerance")


class JobFigures(Document, frozen=True, kw_only=True):
    """The meter of a rented job."""

    seconds: int = 0
    cap_micro: int = 0
    owed_micro: int = 0
    vouchers: int = 0
    log_lines: int = 0
    checkpoint: CheckpointKept | None = None
    result: JobEnd | None = None
    artefacts: list[FileEntry] = []
    may_check: bool = False
    checks: list[JobCheck] = []


class Outcome(Document, frozen=True, kw_only=True):
    """How a job ended, or why the other side did not sign."""

    state: str = ""
    reason: str = ""
    words: str = ""


class Order(Document, frozen=True, kw_only=True):
    """An order as one party sees it."""

    order_id: str = ""
    kind: str = ""
    role: str = ""
    title: str = ""
    other: str = ""
    other_name: str = ""
    other_roles: list[str] = []
    other_marks: list[NameMark] = []
    state: str = ""
    state_words: str = ""
    final: bool = False
    outcome: Outcome | None = None
    created_at: int = 0
    changed_at: int = 0
    deadline_at: int = 0
    deadline_words: str = ""
    way_back: str = ""
    amount_micro: int = 0
    owed_micro: int = 0
    seconds: int = 0
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
    calls_arbiter: bool = False
    """The arbiter is called as soon as the chain can be reached."""
    unread: int = 0
    continues: str = ""
    continued_by: str = ""
    service: OrderService | None = None
    custom: CustomPart | None = None

    @property
    def mark(self) -> str:
        """The state to show first: that of a job which did not end as done goes before that of its money."""
        return self.state if self.outcome is None or self.outcome.state == "done" else self.outcome.state

    @property
    def seller_word(self) -> str:
        """What the side that sells is called."""
        return "developer" if self.kind == "custom" else "seller"


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


class Compute(Document, frozen=True, kw_only=True):
    """This machine as a seller of compute."""

    inventory: Inventory = field(default_factory=Inventory)
    doctor: list[Check] = []
    runtime: RuntimeState = field(default_factory=RuntimeState)
    offer: dict[str, Any] | None = None
    gpu_scripts: bool = False
    selling: bool = False
    jobs: list[Order] = []
    earned_micro: int = 0
    network_today_bytes: int = 0
