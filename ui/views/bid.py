"""The one page before a bid."""

from __future__ import annotations

from openstall.ui import words
from openstall.ui.desk import Desk
from openstall.ui.requests import Auction, RequestBody
from openstall.ui.views.deposit import DepositPage
from openstall.ui.widgets.inputs import AmountField
from openstall.ui.widgets.layout import Panel, row
from openstall.ui.widgets.text import Text


class BidPage(DepositPage):
    """Asks for the amount."""

    verb = "Seal it"

    def __init__(self, desk: Desk, cid: str) -> None:
        self.amount = AmountField("", name="Your bid in credits")
        gives = Panel("Your bid")
        gives.body.addLayout(row(Text("Amount in credits", wrap=False), self.amount, 1))
        gives.body.addWidget(
            Text(
                "The lowest bid wins and is paid the second lowest. Ask for what the work is worth to you: "
                "asking for more can only lose you the order.",
                "small",
            )
        )
        super().__init__(desk, cid, "Confirm the bid", gives=gives, leave="&Do not bid")
        self.amount.edited.connect(self.look)
        self.amount.setFocus()

    def rest(self, body: RequestBody) -> dict[str, str]:
        return {
            "Where it waits": "Your deposit waits in the auction's contract. Your amount stays sealed: it "
            "is known on this computer only.",
            "Until when": f"Bids until {words.moment(body.commit_by)}; your node opens yours by itself until "
            f"{words.moment(body.reveal_by)}. Leave it running. If you win, deliver until "
            f"{words.moment(body.deliver_by)}.",
            "How it comes back": "The whole deposit is yours again as soon as your node has opened the bid, "
            "won or lost. A bid that is not opened in time loses its deposit to the winner.",
        }

    def missing(self, body: RequestBody) -> str:
        if not self.amount.micro:
            return self.amount.why or "Say what you ask for, above zero."
        if self.amount.micro > body.budget_micro:
            budget = words.amount(body.budget_micro, symbol=self.desk.symbol)
            return f"The budget is {budget}: more is not taken."
        return ""

    def send(self) -> None:
        self.desk.api.post(
            f"/v1/requests/{self._cid}/bid",
            {"amount_micro": self.amount.micro or 0},
            Auction,
            lambda _auction: self.done(),
            owner=self,
            failed=self.refused,
        )
