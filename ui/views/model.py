"""A model's page: what the seller says, what was checked, what it costs, and what happens to the money."""

from __future__ import annotations

from urllib.parse import urlencode

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Nothing
from openstall.ui.people import author_of
from openstall.ui.trade import Catalogue, Entry
from openstall.ui.views.market import seller_of
from openstall.ui.views.page import Page
from openstall.ui.views.prices import Bill
from openstall.ui.widgets.contradicted import ContradictedPanel
from openstall.ui.widgets.figures import CopyId, When
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, row
from openstall.ui.widgets.marks import Badge, Provenance
from openstall.ui.widgets.text import Text

PEERS_ASKED = 200


class ModelPage(Page):
    """One listing."""

    listens = frozenset({"catalogue", "peers"})

    def __init__(self, desk: Desk, cid: str) -> None:
        super().__init__(desk, "Model", back="Back to the market")
        self._cid = cid
        self._shown: Entry | None = None
        self._left = column(spacing=2 * theme.GRID)
        self._right = column(spacing=2 * theme.GRID)
        side = QWidget()
        side.setFixedWidth(336)
        side.setLayout(self._right)
        self.body.addLayout(row(self._left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)

    def load(self) -> None:
        self.desk.api.get(f"/v1/catalogue/{self._cid}", Entry, self._show, owner=self, failed=self.fail)

    def _show(self, entry: Entry) -> None:
        if entry != self._shown:
            self._shown = entry
            self.title.say(words.one_line(entry.body.title, 120))
            self.subtitle.say(f"Offered by {seller_of(entry)}")
            self.subtitle.show()
            self.caution.about(entry)
            clear(self._left)
            clear(self._right)
            self._left.addWidget(_about(entry))
            self._left.addWidget(_metrics(entry))
            self._left.addWidget(_package(entry))
            self._left.addStretch(1)
            warning = ContradictedPanel("seller")
            self._right.addWidget(warning)
            warning.tell(entry.contradicted)
            self._right.addWidget(self._price(entry))
            self._seller = _seller(entry)
            self._right.addWidget(self._seller)
            self._right.addStretch(1)
            self._ask_about_seller(entry)
            return
        self.mark_loaded()

    def _ask_about_seller(self, entry: Entry) -> None:
        """Look up the seller's own peer record: the node admits none whose wallet and peer disagree."""
        query = urlencode({"type": "peer", "limit": PEERS_ASKED})

        def found(peers: Catalogue) -> None:
            own = [peer for peer in peers.items if peer.author == entry.author]
            same = bool(own) and own[0].body.wallet.lower() == entry.body.wallet.lower()
            self._seller.body.addLayout(_binding(known=bool(own), same=same))
            self.mark_loaded()

        self.desk.api.get(f"/v1/catalogue?{query}", Catalogue, found, owner=self, failed=self.fail)

    def _price(self, entry: Entry) -> Panel:
        panel = Panel("Price")
        bill = Bill(self.desk)
        bill.line("For one copy", entry.body.price_micro)
        panel.body.addWidget(bill)
        panel.body.addWidget(Text(money_words(entry), "small"))
        if entry.mine:
            panel.body.addWidget(
                button(
                    "&Withdraw this listing",
                    self._withdraw,
                    icon="cancel",
                    description="Nobody can buy it any more; orders that were made stand.",
                )
            )
        else:
            buy = button(
                "&Buy…",
                lambda: self.desk.go.emit(f"buy:{entry.cid}"),
                icon="orders",
                kind="primary",
                description="Shows everything about the purchase first; no money moves yet.",
            )
            panel.body.addWidget(buy)
            if not entry.reachable:
                panel.body.addWidget(
                    Badge("seller offline", "pending", "care"), 0, Qt.AlignmentFlag.AlignLeft
                )
                panel.body.addWidget(Text("A purchase starts when the seller's peer is back.", "small"))
        return panel

    def _withdraw(self) -> None:
        def done(_: Nothing) -> None:
            self.desk.go.emit("market")

        self.desk.api.post(
            f"/v1/models/{self._cid}/withdraw", {}, Nothing, done, owner=self, failed=self.fail
        )


def money_words(entry: Entry) -> str:
    """What happens to the buyer's money, from the terms of the listing."""
    body = entry.body
    back = f"If it is not delivered within {words.duration(body.deliver_s)}, all of it comes back to you."
    if body.arbiter:
        check = f"Then you have {words.duration(body.review_s)} to check the model, and may call the arbiter."
    else:
        check = (
            f"Then the seller is paid after {words.duration(body.review_s)}, or at once when you confirm. "
            "This sale names no arbiter, so it knows no dispute."
        )
    return f"Your money waits in escrow, not with the seller. {back} {check}"


def _about(entry: Entry) -> Panel:
    body = entry.body
    panel = Panel("About this model")
    panel.body.addWidget(Text(body.summary or "The seller wrote no summary.", select=True))
    facts = Facts()
    facts.add("Intended use", body.card.intended_use or "not stated")
    facts.add("Training data", body.card.training_data or "not stated")
    facts.add("Limits", body.card.limits or "not stated")
    facts.add("Licence", body.licence or "not stated")
    panel.body.addSpacing(theme.GRID)
    panel.body.addLayout(facts)
    return panel


def _metrics(entry: Entry) -> Panel:
    panel = Panel("Figures")
    metrics = entry.body.card.metrics
    if not metrics:
        panel.body.addWidget(
            Text("The seller claims no figures. You can measure the model yourself after buying it.", "muted")
        )
        return panel
    grid = QGridLayout()
    grid.setHorizontalSpacing(3 * theme.GRID)
    grid.setVerticalSpacing(theme.GRID)
    grid.setColumnStretch(3, 1)
    for at, metric in enumerate(metrics):
        value = Text(words.one_line(metric.value, 40), "strong", wrap=False)
        value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        value.setFont(theme.tabular(value.font()))
        grid.addWidget(Text(words.one_line(metric.name, 60), wrap=False), at, 0)
        grid.addWidget(value, at, 1)
        grid.addWidget(Provenance("claimed"), at, 2)
        grid.addWidget(Text(f"on {metric.data}" if metric.data else "", "small"), at, 3)
    panel.body.addLayout(grid)
    panel.body.addWidget(Text("“Claimed” means the seller says so and nobody has checked it.", "small"))
    return panel


def _package(entry: Entry) -> Panel:
    body = entry.body
    panel = Panel("Package")
    facts = Facts()
    facts.add("Format", {"onnx": "ONNX", "safetensors": "safetensors"}.get(body.format, body.format))
    for file in body.files:
        facts.add("File", f"{words.one_line(file.name, 120)} · {words.size(file.size)}")
        facts.add("SHA-256", CopyId(file.sha256, what="SHA-256"))
    facts.add("To download", f"{words.size(body.blob.size)}, encrypted, checked chunk by chunk")
    facts.add("Listing", CopyId(entry.cid, what="listing id"))
    facts.add("Signed", When(entry.issued, "body"))
    facts.add("Valid until", When(entry.expires, "body"))
    panel.body.addLayout(facts)
    return panel


def _seller(entry: Entry) -> Panel:
    panel = Panel("Seller")
    facts = Facts()
    facts.add("Name", author_of(entry))
    facts.add("Peer", CopyId(entry.author, what="peer id"))
    facts.add("Wallet", CopyId(entry.body.wallet, what="wallet address"))
    panel.body.addLayout(facts)
    mark = Provenance(
        "verified", "The listing is signed by the peer above, and names the wallet that is paid."
    )
    panel.body.addLayout(row(mark, Text("signature of this listing", "small", wrap=False), 1))
    return panel


def _binding(*, known: bool, same: bool) -> QHBoxLayout:
    """Whether wallet and peer have vouched for each other."""
    if known and same:
        mark: Badge = Provenance("verified", "Wallet and peer have each signed that they belong together.")
        return row(mark, Text("wallet belongs to this peer", "small", wrap=False), 1)
    word = "another wallet" if known else "not proved"
    text = "than the peer vouched for" if known else "that the wallet is this peer's"
    return row(Badge(word, "warning", "care"), Text(text, "small", wrap=False), 1)
