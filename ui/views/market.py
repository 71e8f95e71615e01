"""The market: what is for sale and for rent in this group, searched and sorted."""

from __future__ import annotations

from urllib.parse import urlencode

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.people import about_name, author_of
from openstall.ui.trade import Catalogue, Entry
from openstall.ui.views.page import Page
from openstall.ui.widgets.contradicted import WORD
from openstall.ui.widgets.inputs import SearchBar
from openstall.ui.widgets.layout import Panel, button
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

PAGE_SIZE = 200


def seller_of(entry: Entry) -> str:
    """Who offers it, as the reader knows them."""
    return "you" if entry.mine else author_of(entry)


def _whose(entry: Entry) -> str:
    return f"{about_name(entry.author_marks)} {entry.author}".strip()


def _reach(entry: Entry) -> tuple[str, theme.Tone]:
    if entry.contradicted is not None:
        return ("warning", "bad")
    if entry.mine:
        return ("person", "muted")
    return ("done", "good") if entry.reachable else ("pending", "muted")


def _reach_word(entry: Entry) -> str:
    return "yours" if entry.mine else "online" if entry.reachable else "offline"


def _reach_tip(entry: Entry) -> str:
    if entry.contradicted is not None:
        return f"Has {WORD}. {words.one_line(entry.contradicted.words, 200)}"
    return "The peer is connected now." if entry.reachable else "The peer is not connected now."


def _metrics(entry: Entry) -> str:
    return (
        "".join(f"{metric.name} {words.figure(metric.value)}" for metric in entry.body.card.metrics[:1])
        or "—"
    )


MODEL_COLUMNS: list[Column[Entry]] = [
    Column(
        title="Model",
        text=lambda e: e.body.title,
        second=lambda e: e.body.summary or "No summary",
        stretch=True,
    ),
    Column(
        title="Claimed",
        text=_metrics,
        icon=lambda _e: ("claimed", "care"),
        width=180,
        tip=lambda _e: "The seller says so. Nobody has checked it.",
    ),
    Column(title="Licence", text=lambda e: e.body.licence, width=110),
    Column(title="Seller", text=seller_of, width=130, tip=_whose),
    Column(
        title="State",
        text=_reach_word,
        icon=_reach,
        width=104,
        tip=_reach_tip,
    ),
    Column(
        title="Price",
        text=lambda e: words.amount(e.body.price_micro),
        sort=lambda e: e.body.price_micro,
        right=True,
        width=110,
        tip=lambda e: words.raw_amount(e.body.price_micro),
    ),
]


def _machine(entry: Entry) -> str:
    body = entry.body
    gpus = ", ".join(gpu.name for gpu in body.gpus) or "no GPU"
    return f"{body.cpu or 'processor not stated'} · {gpus}"


OFFER_COLUMNS: list[Column[Entry]] = [
    Column(title="Machine", text=lambda e: e.body.title, second=_machine, stretch=True),
    Column(title="Jobs", text=lambda e: ", ".join(e.body.kinds), width=100),
    Column(
        title="Threads",
        text=lambda e: str(e.body.threads),
        sort=lambda e: e.body.threads,
        right=True,
        width=80,
    ),
    Column(
        title="Memory",
        text=lambda e: words.memory(e.body.memory_bytes),
        sort=lambda e: e.body.memory_bytes,
        right=True,
        width=92,
    ),
    Column(
        title="Longest job",
        text=lambda e: words.span(e.body.max_s),
        sort=lambda e: e.body.max_s,
        right=True,
        width=104,
    ),
    Column(title="Provider", text=seller_of, width=120, tip=_whose),
    Column(title="State", text=_reach_word, icon=_reach, width=96, tip=_reach_tip),
    Column(
        title="Price per hour",
        text=lambda e: words.amount(e.body.price_per_s_micro * 3600),
        sort=lambda e: e.body.price_per_s_micro,
        right=True,
        width=132,
        tip=lambda e: f"{words.amount(e.body.price_per_s_micro)} credits per second of useful work",
    ),
]


class MarketPage(Page):
    """Models and compute, one facet each."""

    listens = frozenset({"catalogue", "peers"})

    def __init__(self, desk: Desk, facet: str = "") -> None:
        super().__init__(
            desk, "Market", "What the people of this group offer, as they signed it.", scroll=False
        )
        self.tools.addWidget(button("&Sell a model", lambda: desk.go.emit("publish"), icon="upload"))
        self.search = SearchBar(
            "Search titles, summaries, licences", (("listing", "Models"), ("offer", "Compute"))
        )
        self.search.choose("offer" if facet == "compute" else "listing")
        self.search.searched.connect(self.load)
        self._no_model = EmptyState(
            "model",
            "No models are for sale yet",
            "Be the first: list an ONNX or safetensors model of yours.",
            ("Sell a model", lambda: desk.go.emit("publish")),
        )
        self._no_offer = EmptyState(
            "compute",
            "Nobody rents out a machine yet",
            "You can rent out this computer and earn by the second.",
            ("Rent out this computer", lambda: desk.go.emit("sell")),
        )
        self.models = RowTable("Models", MODEL_COLUMNS, lambda e: e.cid, self._no_model, row_height=60)
        self.offers = RowTable("Compute", OFFER_COLUMNS, lambda e: e.cid, self._no_offer, row_height=60)
        self.models.sort_by(5, Qt.SortOrder.AscendingOrder)
        self.offers.sort_by(7, Qt.SortOrder.AscendingOrder)
        self.models.opened.connect(lambda entry: desk.go.emit(f"model:{entry.cid}"))
        self.offers.opened.connect(lambda entry: desk.go.emit(f"rent:{entry.cid}"))
        self._tables = QStackedWidget()
        self._tables.addWidget(self.models)
        self._tables.addWidget(self.offers)
        self._count = Text("", "small", wrap=False)
        panel = Panel(margin=theme.GRID // 2)
        panel.body.addWidget(self._tables)
        self.body.addWidget(self.search)
        self.body.addWidget(panel, 1)
        self.body.addWidget(self._count)

    def choose(self, facet: str) -> None:
        """Show models or compute."""
        self.search.choose("offer" if facet == "compute" else "listing")
        self.load()

    def load(self) -> None:
        kind, text = self.search.facet, self.search.text
        query = urlencode({"type": kind, "q": text, "limit": PAGE_SIZE, "offset": 0})

        def show(found: Catalogue) -> None:
            if (kind, text) == (self.search.facet, self.search.text):
                self._show(kind, text, found)

        self.desk.api.get(f"/v1/catalogue?{query}", Catalogue, show, owner=self, failed=self.fail)

    def _show(self, kind: str, text: str, found: Catalogue) -> None:
        table = self.models if kind == "listing" else self.offers
        self._say_why_empty(kind, text)
        table.set_rows(found.items)
        self._tables.setCurrentWidget(table)
        what = "model" if kind == "listing" else "machine"
        shown = len(found.items)
        more = f" of {found.total:,}; search to narrow them down" if found.total > shown else ""
        self._count.say(
            f"{words.plural(shown, what)}{more}. Press Enter or double-click to open." if shown else ""
        )
        self.mark_loaded()

    def _say_why_empty(self, kind: str, text: str) -> None:
        empty = self._no_model if kind == "listing" else self._no_offer
        titles = {"listing": "No models are for sale yet", "offer": "Nobody rents out a machine yet"}
        empty.title.say(f"Nothing matches “{text}”" if text else titles[kind])
