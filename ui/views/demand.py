"""Why no job, and why this price: what others ask, where one stands, and the jobs that went elsewhere."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from openstall.ui import theme, words
from openstall.ui.demand import Demand, LostJob, Standing, Suggestion
from openstall.ui.desk import Desk
from openstall.ui.views.follow import FollowPanel
from openstall.ui.views.page import Page
from openstall.ui.widgets.layout import Facts, Panel, column, row
from openstall.ui.widgets.marks import Provenance
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.price_scale import Prices, PriceScale
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text


def _why(job: LostJob) -> str:
    return " ".join(words.one_line(reason.words, 300) for reason in job.reasons)


def _change(job: LostJob) -> str:
    changes = " ".join(words.one_line(reason.change, 300) for reason in job.reasons if reason.change)
    return f"To win it: {changes}" if changes else "No change of yours would have won it."


COLUMNS: list[Column[LostJob]] = [
    Column(title="When", text=lambda j: words.day(j.at), sort=lambda j: j.at, width=112),
    Column(
        title="Why it did not come here",
        text=_why,
        second=_change,
        stretch=True,
        tip=lambda j: f"{_why(j)}\n{_change(j)}",
    ),
    Column(
        title="Went to",
        text=lambda j: words.short_id(j.chosen) if j.chosen else "turned away here",
        width=132,
        tip=lambda j: j.chosen,
    ),
    Column(
        title="At most",
        text=lambda j: words.amount(j.amount_micro),
        sort=lambda j: j.amount_micro,
        right=True,
        width=96,
        tip=lambda j: words.raw_amount(j.amount_micro),
    ),
]


class DemandPage(Page):
    """Loads again when jobs, offers or one's own price change."""

    listens = frozenset({"catalogue", "order", "wallet"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Why no job?",
            "What others ask, where you stand, and the jobs of this group that went elsewhere.",
            back="Back to Sell compute",
        )
        prices = Panel("Prices in this group, per second")
        self._scale = PriceScale()
        self._spread = Text("", "muted")
        prices.body.addWidget(self._scale)
        prices.body.addWidget(self._spread)
        mark = Provenance("verified", "From the signed offers in your catalogue and from the chain.")
        prices.body.addLayout(row(mark, Text("from signed offers", "small", wrap=False), 1))
        prices.body.addStretch(1)
        side = QWidget()
        side.setFixedWidth(416)
        self._place, self._advice = Text(""), Text("", "muted")
        place = Panel("Your place")
        place.body.addWidget(self._place)
        advice = Panel("A price for you")
        self._facts = Facts()
        advice.body.addWidget(self._advice)
        advice.body.addLayout(self._facts)
        side.setLayout(column(place, advice, spacing=2 * theme.GRID))
        top = row(prices, side, spacing=2 * theme.GRID)
        self.body.addLayout(top)
        self.follow = FollowPanel(desk)
        self.follow.failed.connect(self.banner.fail)
        empty = EmptyState(
            "compute",
            "No job has gone elsewhere",
            "Since this node watches, no other provider got a job, and none was turned away here.",
        )
        self.table = RowTable("Jobs that went elsewhere", COLUMNS, lambda job: job.key, empty, row_height=60)
        self.table.sort_by(0, Qt.SortOrder.DescendingOrder)
        panel = Panel("Jobs that went elsewhere", margin=2 * theme.GRID)
        self.table.setMinimumHeight(248)
        panel.body.addWidget(self.table)
        self.body.addWidget(panel, 1)
        self.body.addWidget(self.follow)

    def load(self) -> None:
        self.desk.api.get("/v1/compute/demand", Demand, self._show, owner=self, failed=self.fail)
        self.follow.load()

    def _show(self, demand: Demand) -> None:
        view = demand.market
        self._scale.setVisible(view is not None)
        if view is None:
            self._spread.say("Nobody offers compute in this group now.")
        else:
            self._scale.show_prices(
                Prices(
                    low=view.p10_micro,
                    middle=view.median_micro,
                    high=view.p90_micro,
                    mine=demand.price_micro,
                    suggested=demand.suggestion.price_per_s_micro if demand.suggestion else 0,
                )
            )
            low, middle, high = map(words.amount, (view.p10_micro, view.median_micro, view.p90_micro))
            offers = words.plural(view.offers, "offer")
            self._spread.say(f"{offers}: lowest tenth {low}, middle {middle}, highest tenth {high}.")
        self._place.say(_place_words(demand.standing))
        self._show_advice(demand.suggestion)
        self.table.set_rows(demand.lost.items)
        self.mark_loaded()

    def _show_advice(self, found: Suggestion | None) -> None:
        while self._facts.rowCount():
            self._facts.removeRow(0)
        if found is None:
            self._advice.say(
                "No price can be suggested yet: it takes a job that was sold here, and the cost of a second, "
                "which follows from watts and tariff in your house rules."
            )
            return
        price = words.amount(found.price_per_s_micro, symbol=self.desk.symbol)
        self._advice.say(f"{price} a second would earn most, if buyers go on as they did.")
        self._facts.add("Your cost of a second", words.amount(found.cost_per_s_micro))
        worth = f"{words.amount(found.worth_micro)}, the mean of {words.plural(found.jobs, 'job')} sold here"
        self._facts.add("What a job is worth to a buyer", worth)
        self._facts.add("The price", "the square root of the two multiplied")
        self._facts.add("Then a job lasts about", words.span(found.seconds_then))


def _place_words(place: Standing | None) -> str:
    if place is None:
        return "This machine is not on offer. While it is not, no job can come."
    if not place.rivals:
        return "No other machine on offer is as large as yours: whoever needs one comes to you."
    rank = f"By price you are number {place.place} of {place.rivals + 1} machines that are at least as large."
    first = f" You would be first at {words.amount(place.first_micro)} a second."
    return rank if place.place == 1 else rank + first
