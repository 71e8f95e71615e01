"""One request: what is asked in plain words, its clocks, the bids on it, and what one can do."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.contests import SHARES, Contest, contest_stage, own_words
from openstall.ui.contests import STAGES as CONTEST_STAGES
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.people import author_of
from openstall.ui.requests import (
    STAGES,
    Auction,
    OwnRequest,
    OwnRequests,
    RequestBody,
    RequestEntry,
    demand_words,
    outcome_words,
    stage_of,
)
from openstall.ui.views.contest import ContestParts
from openstall.ui.views.matches import FitPanel
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill
from openstall.ui.widgets.figures import Amount, CopyId, When
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Picture
from openstall.ui.widgets.text import Text

BOARD_S = 30
"""Somebody else's board of practice is asked for again after so long: no event tells of it."""
LONGEST_S = 86_400
_ENDS = {
    "settled": "The lowest bid has won. The order follows by itself.",
    "awarded": "The price is in escrow, and the order has begun.",
    "void": "Nobody opened a bid: the whole budget went back.",
    "expired": "It ended without an order: the money went back.",
    "closing": "The time is over. The nodes close it by themselves.",
}


class RequestPage(Page):
    """Everything public about a request, and one's own part in it."""

    listens = frozenset({"order", "wallet", "catalogue", "contest"})

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__(desk, "Request", back="Back to the requests")
        self._cid = cid
        self._entry = RequestEntry()
        self._auction: Auction | None = None
        self._own: OwnRequest | None = None
        self._badge = Badge()
        self.tools.addWidget(self._badge)
        self._asked = Panel("What is asked")
        self._clocks = Panel("Clocks")
        self._bids = Panel("Bids")
        self._money = Panel("The money")
        self._do = Panel("What you can do")
        self._fit = FitPanel(desk, cid)
        side = QWidget()
        side.setFixedWidth(368)
        side.setLayout(column(self._do, self._money, self._clocks, 1, spacing=2 * theme.GRID))
        left = column(self._asked, self._bids, self._fit, 1, spacing=2 * theme.GRID)
        self._left, self._side = left, side
        self._contest: ContestParts | None = None
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self.load_soon)
        self._all = QWidget()
        both = row(left, side, spacing=2 * theme.GRID)
        both.setStretch(0, 1)
        self._all.setLayout(both)
        self._all.hide()  # until there is something to show
        self._badge.hide()
        self.body.addWidget(self._all, 1)

    def load(self) -> None:
        self.desk.api.get(
            f"/v1/requests/{self._cid}/record", RequestEntry, self._known, owner=self, failed=self.fail
        )

    def _known(self, entry: RequestEntry) -> None:
        self._entry = entry
        if entry.body.mechanism == "contest":
            path = f"/v1/contests/{self._cid}"
            self.desk.api.get(path, Contest, self._show_contest, owner=self, failed=self.fail)
            return
        path = f"/v1/requests/{self._cid}/auction"
        self.desk.api.get(path, Auction, self._seen, owner=self, failed=self.fail)

    def _seen(self, auction: Auction) -> None:
        self._auction = auction
        if not self._entry.mine:
            self._show()
            return

        def own(page: OwnRequests) -> None:
            self._own = next((one for one in page.items if one.cid == self._cid), None)
            self._show()

        self.desk.api.get("/v1/requests", OwnRequests, own, owner=self, failed=self.fail)

    def _show_contest(self, contest: Contest) -> None:
        if self._contest is None:
            self._contest = self._make_contest()
        stage = self._contest.show_contest(self._entry, contest)
        self._look_again(contest)
        self._show_head(CONTEST_STAGES[stage])
        self._show_asked(self._entry.body)
        self._show_fit(shown=stage == "entries" and not own_words(contest) and contest.role != "evaluator")
        self.mark_loaded()

    def _look_again(self, contest: Contest) -> None:
        """What moves money makes a block, and each block an event; a clock that runs out makes none."""
        body, now = self._entry.body, int(time.time())
        stage, at = contest_stage(contest, body.commit_by, body.reveal_by, now)
        waits = [at + 1 - now] if at > now else []
        if stage == "entries" and contest.metric in SHARES and contest.role != "evaluator":
            waits.append(BOARD_S)
        self._again.stop()
        if waits:
            self._again.start(1000 * min(*waits, LONGEST_S))

    def _make_contest(self) -> ContestParts:
        """The panels of a contest in place of those of an auction."""
        parts, side = ContestParts(self.desk, self._cid), self._side.layout()
        for gone in (self._bids, self._do, self._money, self._clocks):
            gone.hide()
        for at, panel in enumerate(parts.left, 1):
            self._left.insertWidget(at, panel)
        if isinstance(side, QVBoxLayout):
            for at, panel in enumerate(parts.side):
                side.insertWidget(at, panel)
        return parts

    def _show_fit(self, *, shown: bool) -> None:
        if shown and self._entry.live:
            self._fit.look(mine=self._entry.mine)
        else:
            self._fit.hide()

    def _show_head(self, mark: theme.Mark) -> None:
        who = author_of(self._entry)
        self.title.say(words.one_line(self._entry.body.title, 120))
        gone = "" if self._entry.live else ". It is no longer in the catalogue"
        self.subtitle.say(f"Asked by {'you' if self._entry.mine else who}{gone}")
        self.subtitle.show()
        self.caution.about(self._entry)
        self._badge.mark(*mark)
        self._badge.show()
        self._all.show()

    def _show(self) -> None:
        body, auction = self._entry.body, self._auction or Auction()
        stage, _at = stage_of(auction, body.commit_by, body.reveal_by, int(time.time()))
        self._show_head(STAGES[stage])
        self._show_asked(body)
        self._show_clocks(body, stage)
        self._show_bids(auction, stage)
        self._show_money(body, auction)
        self._show_do(auction, stage)
        self._show_fit(shown=stage == "bids" and auction.own_bid is None)
        self.mark_loaded()

    def _show_asked(self, body: RequestBody) -> None:
        _anew(self._asked, "What is asked")
        if body.summary:
            self._asked.body.addWidget(Text(words.plain(body.summary, 4000)))
        facts = Facts()
        for what, said in asked_lines(body, mine=self._entry.mine):
            facts.add(what, said)
        facts.add("Seal of the rows", CopyId(body.rows_root, what="Merkle root of the sealed rows"))
        if body.arbiter:
            facts.add("Arbiter's wallet", CopyId(body.arbiter, what="arbiter's wallet"))
        self._asked.body.addLayout(facts)

    def _show_clocks(self, body: RequestBody, stage: str) -> None:
        _anew(self._clocks, "Clocks")
        facts = Facts()
        for name, at, running in (
            ("Bids until", body.commit_by, stage == "bids"),
            ("Opening until", body.reveal_by, stage == "opening"),
            ("Delivery until", body.deliver_by, stage in ("settled", "awarded")),
        ):
            facts.add(name, When(at, "strong" if running else "muted"))
        self._clocks.body.addLayout(facts)

    def _show_bids(self, auction: Auction, stage: str) -> None:
        _anew(self._bids, "Bids")
        said = _ENDS.get(stage) or (
            "Sealed: nobody can read an amount before the time for bids is over, the requester neither."
            if stage == "bids"
            else "The bidders' nodes open their bids. One that stays sealed loses its deposit to the winner."
        )
        self._bids.body.addWidget(Text(said, "muted"))
        if not auction.bids:
            self._bids.body.addWidget(
                Text("There is no bid yet." if stage == "bids" else "There was no bid.")
            )
        me = self.desk.status.identity.wallet.lower()
        for bid in sorted(auction.bids, key=lambda one: (one.amount_micro is None, one.amount_micro or 0)):
            won = bool(auction.winner) and bid.bidder.lower() == auction.winner.lower()
            icon = Picture(
                "done" if won else "key" if bid.amount_micro is not None else "lock",
                "good" if won else "muted",
            )
            name = "you" if bid.bidder.lower() == me else words.short_id(bid.bidder)
            line = row(
                icon, Text(f"{name}{' · has won' if won else ''}", "strong" if won else "body", wrap=False), 1
            )
            if bid.amount_micro is None:
                line.addWidget(Text("sealed", "muted", wrap=False))
            else:
                line.addWidget(Amount(bid.amount_micro, symbol=self.desk.symbol))
            self._bids.body.addLayout(line)
        if auction.own_bid is not None:
            self._bids.body.addWidget(Text(outcome_words(auction, me), "strong"))

    def _show_money(self, body: RequestBody, auction: Auction) -> None:
        _anew(self._money, "The money")
        bill = Bill(self.desk)
        bill.line("Budget, set aside", body.budget_micro)
        bill.line("Deposit for a bid", body.deposit_micro)
        if auction.price_micro is not None:
            bill.line("The winner is paid", auction.price_micro, total=True)
        bill.note("The lowest bid wins and is paid the second lowest, or the budget if it is the only one.")
        self._money.body.addWidget(bill)

    def _show_do(self, auction: Auction, stage: str) -> None:
        _anew(self._do, "What you can do")
        order = auction.order_id or (self._own.order_id if self._own is not None else None)
        add = self._do.body.addWidget
        if order:
            add(Text("The order has begun. It has its own page."))
            add(
                button(
                    "&Show the order",
                    lambda: self.desk.go.emit(f"orders:{order}"),
                    icon="orders",
                    kind="primary",
                )
            )
        elif self._entry.mine:
            add(Text("Nothing now. Your node follows the auction, and signs the order with the winner."))
            if self._own is not None and self._own.state in ("published", "over"):
                add(button("Take the request &back", self._withdraw, icon="back"))
        elif auction.own_bid is not None:
            add(Text("Nothing now. A bid cannot be changed."))
        elif stage == "bids":
            add(Text("Can you build it? One sealed bid each; it cannot be changed."))
            add(button("&Bid…", lambda: self.desk.go.emit(f"bid:{self._cid}"), icon="lock", kind="primary"))
        else:
            add(Text("The time for bids is over."))

    def _withdraw(self) -> None:
        if self._own is None:
            return
        path = f"/v1/requests/{self._own.request_id}/withdraw"
        self.desk.api.post(
            path, {}, Nothing, lambda _: self.desk.go.emit("requests"), owner=self, failed=self._refused
        )

    def _refused(self, failure: Failure) -> None:
        self.banner.fail(failure)


def asked_lines(body: RequestBody, *, mine: bool = False) -> list[tuple[str, str]]:
    """A request in plain words, line by line; `mine`: for whom has made it."""
    if body.task == "classification":
        classes = ", ".join(words.one_line(one, 40) for one in body.classes[:12])
        more = f" and {len(body.classes) - 12} more" if len(body.classes) > 12 else ""
        what = f"say which “{words.one_line(body.target, 60)}” a row has: {classes}{more}"
    else:
        what = f"estimate “{words.one_line(body.target, 60)}” of a row"
    demands = [demand_words(body.metric, body.threshold)]
    demands += [demand_words(one.name, one.limit) for one in body.floors]
    columns = ", ".join(words.one_line(one, 40) for one in body.features[:8])
    rest = f" and {len(body.features) - 8} more" if len(body.features) > 8 else ""
    contest = body.mechanism == "contest"
    whom = "who asks for it has the key" if contest else "its key goes to the winner"
    judges = f"{body.quorum} of {words.plural(len(body.evaluators), 'evaluator')} must agree."
    if body.self_judged:
        judges = (
            "You alone: developers bid only if they trust you."
            if mine
            else "The requester alone: bid only if you trust it."
        )
    return [
        ("The model must", f"{what}."),
        ("From the columns", f"{columns}{rest}."),
        ("It passes if", "; ".join(demands) + "."),
        ("Measured on", f"{words.plural(body.rows, 'sealed row')} that no developer sees."),
        ("Measured by", judges),
        (
            "Training data",
            f"{words.size(body.training.size)}, encrypted; {whom}."
            if body.training is not None
            else "None: bring your own.",
        ),
        ("Licence", words.one_line(body.licence, 100)),
        ("Practice", f"{words.plural(body.tries, 'try', 'tries')} each before the entries close.")
        if contest
        else ("Tries", f"{body.tries}, as long as the delivery clock runs."),
    ]


def _anew(panel: Panel, title: str) -> None:
    clear(panel.body)
    panel.body.addWidget(Text(title, "heading"))
