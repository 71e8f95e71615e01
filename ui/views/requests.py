"""The board: models that others of the group want built, one's own requests, and one's own bids."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from PySide6.QtCore import QTimer

from openstall.ui import theme, words
from openstall.ui.contests import STAGES as CONTEST_STAGES
from openstall.ui.contests import Contest, Contests, contest_stage, entries_words, own_words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.people import NameMark, about_name, author_of
from openstall.ui.requests import (
    STAGES,
    Auction,
    Auctions,
    OwnRequests,
    RequestCatalogue,
    RequestEntry,
    bids_words,
    demand_words,
    outcome_words,
    stage_of,
)
from openstall.ui.views.page import Page
from openstall.ui.widgets.inputs import SearchBar
from openstall.ui.widgets.layout import Panel, button
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable

CLOCK_MS = 10_000
MOST_LOOKED_AT = 60
"""Of how many requests the auction is looked up on the chain, the newest first."""
FACETS = (("", "All"), ("mine", "Asked by you"), ("bid", "Your bids and entries"))
_EMPTY = {
    "": ("No model is asked for", "Ask for one yourself: you need a table with the right answers."),
    "mine": (
        "You have asked for nothing yet",
        "A request needs a table with the right answers, and a budget.",
    ),
    "bid": (
        "You take part in none yet",
        "Open a request under “All”; its page has the button for a bid or an entry.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as a row of the board."""

    cid: str
    title: str
    budget_micro: int
    commit_by: int
    reveal_by: int
    entry: RequestEntry | None = None
    auction: Auction | None = None
    is_contest: bool = False
    contest: Contest | None = None
    mine: bool = False
    bid: bool = False
    said: str = ""

    @property
    def stage(self) -> tuple[str, int]:
        """Its stage, and when that ends."""
        now = int(time.time())
        if self.is_contest:
            return contest_stage(self.contest, self.commit_by, self.reveal_by, now)
        return stage_of(self.auction, self.commit_by, self.reveal_by, now)

    @property
    def mark(self) -> theme.Mark:
        """Its stage in a word, with an icon."""
        return (CONTEST_STAGES if self.is_contest else STAGES)[self.stage[0]]

    @property
    def over(self) -> bool:
        """Whether nothing of it changes any more."""
        if self.is_contest:
            return self.contest is not None and self.contest.state in ("void", "closed")
        return self.auction is not None and self.auction.state in ("awarded", "void", "expired")


def _second(one: Asked) -> str:
    if one.said:
        return one.said
    if one.entry is None:
        return "No longer in the catalogue."
    body = one.entry.body
    who = "you" if one.mine else author_of(one.entry, 40)
    return (
        f"{demand_words(body.metric, body.threshold)}, on {words.plural(body.rows, 'sealed row')} · by {who}"
    )


def _marks(one: Asked) -> list[NameMark]:
    """What is odd about the name of whoever asks."""
    return one.entry.author_marks if one.entry is not None and not one.mine else []


def _clock(one: Asked) -> str:
    at = one.stage[1]
    return words.ago(at, int(time.time())) if at else "—"


def _take_contests(found: dict[str, Asked], page: Contests) -> None:
    """Those in which this node asks, has entered a model, or measures."""
    for contest in page.items:
        known = found.get(contest.request) or Asked(
            cid=contest.request,
            title=contest.title,
            budget_micro=contest.pool_micro,
            commit_by=contest.entry_by,
            reveal_by=contest.judge_by,
        )
        found[contest.request] = replace(
            known,
            is_contest=True,
            contest=contest,
            mine=contest.role == "requester",
            bid=contest.role == "entrant",
            said=own_words(contest),
        )


COLUMNS: list[Column[Asked]] = [
    Column(
        title="Request",
        text=lambda r: words.one_line(r.title, 120),
        second=_second,
        icon=lambda r: ("warning", "care") if _marks(r) else None,
        stretch=True,
        tip=lambda r: f"{_second(r)} {about_name(_marks(r))}".strip(),
    ),
    Column(
        title="Stage",
        text=lambda r: r.mark[0],
        icon=lambda r: r.mark[1:],
        width=140,
    ),
    Column(title="Clock", text=_clock, sort=lambda r: r.stage[1] or 2**60, width=132),
    Column(
        title="Bids or models",
        text=lambda r: entries_words(r.contest) if r.is_contest else bids_words(r.auction),
        width=124,
    ),
    Column(
        title="Pays up to",
        text=lambda r: words.amount(r.budget_micro),
        sort=lambda r: r.budget_micro,
        right=True,
        width=124,
        tip=lambda r: words.raw_amount(r.budget_micro),
    ),
]


class RequestsPage(Page):
    """The list; Enter opens a request."""

    listens = frozenset({"catalogue", "order", "wallet", "operation"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Requests",
            "Models that somebody wants built: by the lowest of sealed bids, or by the best of a contest.",
            scroll=False,
        )
        ask = button("&Ask for a model…", lambda: desk.go.emit("ask"), icon="send", kind="primary")
        build = button("&Build for others…", lambda: desk.go.emit("developer"), icon="model")
        for tool in (build, ask):
            self.tools.addWidget(tool)
        self.search = SearchBar("Search requests", FACETS)
        self.search.searched.connect(self._filter)
        self._rows: dict[str, Asked] = {}
        self._to_look_at: list[str] = []
        self._turn = 0
        title, text = _EMPTY[""]
        self._empty = EmptyState("send", title, text, ("Ask for a model…", lambda: desk.go.emit("ask")))
        self.table = RowTable("Requests", COLUMNS, lambda r: r.cid, self._empty, row_height=60)
        self.table.opened.connect(lambda one: desk.go.emit(f"request:{one.cid}"))
        panel = Panel(margin=theme.GRID // 2)
        panel.body.addWidget(self.table)
        self.body.addWidget(self.search)
        self.body.addWidget(panel, 1)
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._filter)
        self._clock.start()

    def load(self) -> None:
        self._turn += 1
        turn = self._turn
        found: dict[str, Asked] = {}

        def board(page: RequestCatalogue) -> None:
            for entry in page.items:
                body = entry.body
                found[entry.cid] = Asked(
                    cid=entry.cid,
                    title=body.title,
                    budget_micro=body.budget_micro,
                    commit_by=body.commit_by,
                    reveal_by=body.reveal_by,
                    entry=entry,
                    is_contest=body.mechanism == "contest",
                    mine=entry.mine,
                )
            self.desk.api.get("/v1/requests", OwnRequests, own, owner=self, failed=self.fail)

        def own(page: OwnRequests) -> None:
            for one in page.items:
                if one.cid and one.cid not in found and one.state != "withdrawn":
                    found[one.cid] = Asked(
                        cid=one.cid,
                        title=one.title,
                        budget_micro=one.budget_micro,
                        commit_by=one.commit_by,
                        reveal_by=one.reveal_by,
                        mine=True,
                    )
            self.desk.api.get("/v1/bids", Auctions, bids, owner=self, failed=self.fail)

        def bids(page: Auctions) -> None:
            self._take_bids(found, page)
            self.desk.api.get("/v1/contests", Contests, contests, owner=self, failed=self.fail)

        def contests(page: Contests) -> None:
            if turn != self._turn:
                return
            _take_contests(found, page)
            self._take(found)

        path = "/v1/catalogue?type=request&limit=200"
        self.desk.api.get(path, RequestCatalogue, board, owner=self, failed=self.fail)

    def _take_bids(self, found: dict[str, Asked], page: Auctions) -> None:
        wallet = self.desk.status.identity.wallet
        for auction in page.items:
            known = found.get(auction.request) or Asked(
                cid=auction.request,
                title=auction.title,
                budget_micro=auction.budget_micro,
                commit_by=auction.commit_by,
                reveal_by=auction.reveal_by,
            )
            found[auction.request] = replace(
                known, auction=auction, bid=True, said=outcome_words(auction, wallet)
            )

    def _take(self, found: dict[str, Asked]) -> None:
        for cid, one in self._rows.items():
            if cid in found and found[cid].auction is None and found[cid].contest is None:
                found[cid] = replace(found[cid], auction=one.auction, contest=one.contest)
        self._rows = found
        self._filter()
        known = (one for one in found.values() if one.bid or one.over or (one.mine and one.contest))
        here = {one.cid for one in known}
        self._to_look_at = [cid for cid in found if cid not in here][:MOST_LOOKED_AT]
        self._look_at_next()

    def _look_at_next(self) -> None:
        """One auction after the other: the chain is not asked for all of them at once."""
        if not self._to_look_at:
            self.mark_loaded()
            return
        cid, turn = self._to_look_at.pop(0), self._turn

        def seen(auction: Auction) -> None:
            took(replace(self._rows[cid], auction=auction))

        def seen_contest(contest: Contest) -> None:
            took(replace(self._rows[cid], contest=contest))

        def took(one: Asked) -> None:
            if turn == self._turn:
                self._rows[cid] = one
                self._filter()
                self._look_at_next()

        def gone(failure: Failure) -> None:
            if turn == self._turn:
                self._to_look_at = []
                self.fail(failure)

        if self._rows[cid].is_contest:
            self.desk.api.get(f"/v1/contests/{cid}", Contest, seen_contest, owner=self, failed=gone)
        else:
            self.desk.api.get(f"/v1/requests/{cid}/auction", Auction, seen, owner=self, failed=gone)

    def _filter(self) -> None:
        text, facet = self.search.text.lower(), self.search.facet
        rows = [
            one
            for one in self._rows.values()
            if (not facet or (one.mine if facet == "mine" else one.bid))
            and (not text or text in f"{one.title} {_second(one)} {one.mark[0]}".lower())
        ]
        title, words_ = _EMPTY.get(facet, _EMPTY[""])
        narrowed = bool(text) and not rows
        self._empty.title.say("No request matches" if narrowed else title)
        self._empty.text.say("Use fewer words." if narrowed else words_)
        self.table.set_rows(rows)
