"""What the local API answers about models made to order: requests, sealed bids, what evaluators measured."""

# ruff: noqa: RUF012 - msgspec makes a list or dict default anew for each value

from __future__ import annotations

from typing import Any

from msgspec import field

from openstall.ui import words
from openstall.ui.documents import Document
from openstall.ui.people import Authored
from openstall.ui.theme import Mark

AT_MOST = frozenset({"rmse", "mae", "fairness", "latency", "size"})
"""Figures of which less is better."""
FIGURE_WORDS = {
    "accuracy": "Share of right answers (accuracy)",
    "macro_f1": "Care for rare classes (macro F1)",
    "auc": "How well it ranks (AUC)",
    "rmse": "How far off, large errors first (RMSE)",
    "mae": "How far off on average (MAE)",
    "robustness": "Answers that stay when inputs change a little (robustness)",
    "fairness": "Gap between groups (fairness)",
    "latency": "95 of 100 answers take (latency, ms)",
    "size": "Bytes of its file (size)",
}


class Floor(Document, frozen=True, kw_only=True):
    """A second demand."""

    name: str = ""
    limit: str = ""
    group: str = ""


class Blob(Document, frozen=True, kw_only=True):
    """Encrypted training data."""

    size: int = 0


class RequestBody(Document, frozen=True, kw_only=True):
    """What a request says."""

    title: str = ""
    summary: str = ""
    task: str = ""
    features: list[str] = []
    classes: list[str] = []
    target: str = ""
    rows: int = 0
    rows_root: str = ""
    training: Blob | None = None
    metric: str = ""
    threshold: str = ""
    floors: list[Floor] = []
    licence: str = ""
    mechanism: str = ""
    budget_micro: int = 0
    deposit_micro: int = 0
    commit_by: int = 0
    reveal_by: int = 0
    deliver_by: int = 0
    evaluate_s: int = 0
    review_s: int = 0
    arbiter: str = ""
    arbiter_fee_bps: int = 0
    tries: int = 0
    weights_bps: list[int] = []
    evaluators: list[str] = []
    quorum: int = 0
    wallet: str = ""

    @property
    def self_judged(self) -> bool:
        """Whether the requester alone evaluates."""
        return [one.lower() for one in self.evaluators] == [self.wallet.lower()]


class RequestEntry(Authored, frozen=True, kw_only=True):
    """A request in the catalogue."""

    cid: str = ""
    body: RequestBody = field(default_factory=RequestBody)
    mine: bool = False
    live: bool = True


class RequestCatalogue(Document, frozen=True, kw_only=True):
    """A page of requests."""

    items: list[RequestEntry] = []
    total: int = 0


class PeerBody(Document, frozen=True, kw_only=True):
    """What a peer says of itself."""

    wallet: str = ""
    evaluates: bool = False


class PeerEntry(Authored, frozen=True, kw_only=True):
    """A peer of the group."""

    body: PeerBody = field(default_factory=PeerBody)
    mine: bool = False


class PeerCatalogue(Document, frozen=True, kw_only=True):
    """Who is in the group."""

    items: list[PeerEntry] = []


class DeveloperBody(Document, frozen=True, kw_only=True):
    """What a developer says of itself."""

    title: str = ""
    skills: str = ""
    tasks: list[str] = []
    places: int = 0


class Card(Document, frozen=True, kw_only=True):
    """This node's own card as a developer."""

    cid: str = ""
    expires: int = 0
    body: DeveloperBody = field(default_factory=DeveloperBody)


class Match(Authored, frozen=True, kw_only=True):
    """A place in a ranking, and why: a developer for a request, or a request for one's own card."""

    cid: str = ""
    title: str = ""
    lane: str = ""
    reachable: bool = False
    reasons: list[str] = []


class Matches(Document, frozen=True, kw_only=True):
    """A ranking, best first."""

    items: list[Match] = []
    total: int = 0


class Switch(Document, frozen=True, kw_only=True):
    """Something that is on or off."""

    on: bool = False


class OwnRequest(Document, frozen=True, kw_only=True):
    """One of this node's own requests, in its own books."""

    request_id: str = ""
    state: str = ""
    cid: str | None = None
    title: str = ""
    budget_micro: int = 0
    commit_by: int = 0
    reveal_by: int = 0
    rows: int = 0
    stage: str = ""
    order_id: str | None = None


class OwnRequests(Document, frozen=True, kw_only=True):
    """All of them."""

    items: list[OwnRequest] = []


class SealedBid(Document, frozen=True, kw_only=True):
    """A bid on the board; without an amount while nobody has opened it."""

    bidder: str = ""
    amount_micro: int | None = None


class OwnBid(Document, frozen=True, kw_only=True):
    """This node's bid: its amount is known here only, until it is opened."""

    amount_micro: int = 0
    state: str = ""


class Auction(Document, frozen=True, kw_only=True):
    """The auction of a request, as the chain has it."""

    request: str = ""
    title: str = ""
    role: str = ""
    state: str = ""
    budget_micro: int = 0
    deposit_micro: int = 0
    commit_by: int = 0
    reveal_by: int = 0
    bids: list[SealedBid] = []
    winner: str = ""
    price_micro: int | None = None
    order_id: str | None = None
    own_bid: OwnBid | None = None
    trouble: Any = None

    @property
    def opened(self) -> int:
        """How many bids can be read."""
        return sum(bid.amount_micro is not None for bid in self.bids)


class Auctions(Document, frozen=True, kw_only=True):
    """The auctions in which this node bids."""

    items: list[Auction] = []


class Problem(Document, frozen=True, kw_only=True):
    """Why a table cannot be used."""

    line: int = 0
    words: str = ""
    fix: str = ""


class NamedColumn(Document, frozen=True, kw_only=True):
    """A column of the table."""

    name: str = ""
    kind: str = ""


class ClassRows(Document, frozen=True, kw_only=True):
    """A class and its rows."""

    name: str = ""
    rows: int = 0


class TableLook(Document, frozen=True, kw_only=True):
    """What the node saw in a table."""

    task: str = ""
    features: list[str] = []
    rows: int = 0
    columns: list[NamedColumn] = []
    classes: list[ClassRows] = []
    first_rows: list[list[str]] = []
    warnings: list[str] = []


class Line(Document, frozen=True, kw_only=True):
    """A line of what is signed."""

    what: str = ""
    words: str = ""


class Preview(Document, frozen=True, kw_only=True):
    """A table looked at, and with terms what would be signed."""

    problems: list[Problem] = []
    problem_count: int = 0
    table: TableLook | None = None
    file_sha256: str = ""
    summary: list[Line] = []


def demand_words(metric: str, threshold: str) -> str:
    """A demand as one reads it."""
    way = "at most" if metric in AT_MOST else "at least"
    limit = words.figure(threshold)
    if limit.isdigit():
        limit = f"{int(limit):,}"
    return f"{FIGURE_WORDS.get(metric, metric)}: {way} {limit}"


def stage_of(auction: Auction | None, commit_by: int, reveal_by: int, now: int) -> tuple[str, int]:
    """Where an auction stands, and when this stage ends (0 where no clock runs)."""
    state = auction.state if auction is not None else ""
    if state in ("awarded", "settled", "void", "expired"):
        return state, 0
    if now < commit_by:
        return "bids", commit_by
    return ("opening", reveal_by) if now < reveal_by else ("closing", 0)


STAGES: dict[str, Mark] = {
    "bids": ("takes bids", "lock", "accent"),
    "opening": ("opens bids", "key", "accent"),
    "closing": ("closing", "pending", "muted"),
    "settled": ("decided", "done", "good"),
    "awarded": ("ordered", "done", "good"),
    "void": ("no bid", "back", "muted"),
    "expired": ("ended", "clock", "muted"),
}


def bids_words(auction: Auction | None) -> str:
    """How many bids there are, and how many can be read."""
    if auction is None:
        return "…"
    count = len(auction.bids)
    if not count:
        return "none"
    return f"{auction.opened} of {count} opened" if auction.opened else f"{count} sealed"


def outcome_words(auction: Auction, wallet: str) -> str:
    """What became of one's own bid."""
    own = auction.own_bid
    if own is None:
        return ""
    made = f"You bid {words.amount(own.amount_micro)}"
    mine = next((bid for bid in auction.bids if bid.bidder.lower() == wallet.lower()), None)
    if auction.state not in ("settled", "awarded", "expired", "void"):
        return f"{made}. Your node opens it by itself in time; leave it running."
    if mine is None:
        return f"{made}. It did not reach the chain in time: no deposit was taken."
    if auction.winner and mine.amount_micro is None:
        return f"{made}. It was not opened in time: your deposit went to the winner."
    if auction.winner:
        won = auction.winner.lower() == wallet.lower()
        return f"{made} and {'won' if won else 'did not win: your deposit is yours again'}."
    return f"{made}. Nobody won: your deposit comes back."
