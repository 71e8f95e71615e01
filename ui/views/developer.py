"""Build for others: one's card as a developer, the open requests that fit it, and measuring for others."""

from __future__ import annotations

from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.requests import Card, DeveloperBody, Matches, Switch
from openstall.ui.views.matches import MatchList
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.inputs import NumberField, Tick
from openstall.ui.widgets.layout import Facts, Panel, button, column, row
from openstall.ui.widgets.text import Text

MOST_PLACES = 1_000
MOST_SKILLS = 4_000
_NO_CARD = (
    "You have no card yet. With one, those who ask for a model find you, and you see here what fits you."
)
_NOTHING_FITS = "No open request of the group fits your card now."
_EVALUATOR = (
    "Whoever asks for a model can name your wallet as an evaluator's. Your node then measures the model by "
    "itself, in its sandbox. You would see both the rows and the model: keep them to yourself."
)


class DeveloperPage(Page):
    """A developer's side of requests."""

    listens = frozenset({"catalogue"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Build for others",
            "Say what you can build. A bid is always your own decision, on the page of the request.",
            back="Back to the requests",
        )
        self._shown_cid: str | None = None
        self._inbox = Panel("Requests that fit your card")
        self._none = Text(_NO_CARD, "muted")
        self._matches = MatchList(_NOTHING_FITS, action=("Open", lambda cid: desk.go.emit(f"request:{cid}")))
        self._matches.hide()
        self._inbox.body.addWidget(self._none)
        self._inbox.body.addWidget(self._matches)
        side = QWidget()
        side.setFixedWidth(392)
        side.setLayout(column(self._card_panel(), self._evaluator_panel(), 1, spacing=2 * theme.GRID))
        left = column(self._inbox, 1, spacing=2 * theme.GRID)
        self.body.addLayout(row(left, side, spacing=2 * theme.GRID))
        self.body.setStretch(0, 1)
        self._look()

    def _card_panel(self) -> Panel:
        panel = Panel("Your card")
        self.name, self.skills = QLineEdit(), QPlainTextEdit()
        self.name.setMaxLength(120)
        self.name.setPlaceholderText("What you build, in one line")
        self.skills.setPlaceholderText(
            "What you know, in your own words. Requests are found by words in common."
        )
        self.skills.setFixedHeight(104)
        self.skills.setTabChangesFocus(True)
        self.classes, self.numbers = Tick("One of several classes"), Tick("A number")
        self.places = NumberField(1, 0, MOST_PLACES)
        facts = Facts()
        facts.add("Title", self.name)
        facts.add("Skills", self.skills)
        tasks = QWidget()
        tasks.setLayout(column(self.classes, self.numbers, spacing=theme.GRID // 2))
        facts.add("Models that tell", tasks)
        facts.add("Orders you take now", self.places)
        panel.body.addLayout(facts)
        self._state, self._why = Text("", "small"), Text("", "small")
        panel.body.addWidget(self._state)
        panel.body.addWidget(self._why)
        self._publish = button("", self._send, icon="send", kind="primary")
        self._off = button("&Withdraw it", self._withdraw, icon="back")
        panel.body.addLayout(row(1, self._off, self._publish))
        for field in (self.name, self.skills):
            field.textChanged.connect(self._look)
        for tick in (self.classes, self.numbers):
            tick.setChecked(True)
            tick.toggled.connect(self._look)
        return panel

    def _evaluator_panel(self) -> Panel:
        panel = Panel("Measure for others")
        self.evaluates = Tick("Measure where a request names my wallet")
        self.evaluates.setEnabled(False)
        self.evaluates.clicked.connect(self._switch)
        panel.body.addWidget(self.evaluates)
        panel.body.addWidget(Text(_EVALUATOR, "small"))
        self._wallet = CopyId("", what="wallet address")
        facts = Facts()
        facts.add("Your wallet", self._wallet)
        panel.body.addLayout(facts)
        return panel

    def load(self) -> None:
        self._wallet.show_id(self.desk.status.identity.wallet)
        self.desk.api.get("/v1/evaluator", Switch, self._know_switch, owner=self, failed=self.fail)

    def _know_switch(self, switch: Switch) -> None:
        self.evaluates.setEnabled(True)
        self.evaluates.setChecked(switch.on)
        self.desk.api.get("/v1/developer", Card, self._know_card, owner=self, failed=self._no_card)

    def _no_card(self, failure: Failure) -> None:
        if failure.code != "no_card":
            self.fail(failure)
            return
        self._show_card(Card())
        self.mark_loaded()

    def _know_card(self, card: Card) -> None:
        self._show_card(card)
        self.desk.api.get("/v1/developer/inbox", Matches, self._know_inbox, owner=self, failed=self.fail)

    def _know_inbox(self, found: Matches) -> None:
        self._matches.show_matches(found)
        self.mark_loaded()

    def _show_card(self, card: Card) -> None:
        there = bool(card.cid)
        self._none.setVisible(not there)
        self._matches.setVisible(there)
        self._off.setVisible(there)
        self._state.say(f"In the catalogue until {words.moment(card.expires)}." if there else _NO_CARD)
        self._state.setVisible(there)
        self._publish.setText("&Change the card" if there else "&Publish the card")
        self._publish.setAccessibleName(self._publish.text().replace("&", ""))
        if card.cid != self._shown_cid:  # what is being typed is not overwritten by news of the catalogue
            if there:
                self._fill(card.body)
            self._shown_cid = card.cid
        self._look()

    def _fill(self, body: DeveloperBody) -> None:
        self.name.setText(words.one_line(body.title, 120))
        self.skills.setPlainText(words.plain(body.skills, MOST_SKILLS))
        self.classes.setChecked("classification" in body.tasks)
        self.numbers.setChecked("regression" in body.tasks)
        self.places.setValue(body.places)

    def _tasks(self) -> list[str]:
        ticks = (("classification", self.classes), ("regression", self.numbers))
        return [task for task, tick in ticks if tick.isChecked()]

    def _look(self) -> None:
        skills = self.skills.toPlainText()
        checks = (
            (len(self.name.text().strip()) >= 3, "Give your card a title of at least three letters."),
            (bool(skills.strip()), "Say what you know: requests are found by it."),
            (len(skills) <= MOST_SKILLS, f"Keep your skills under {MOST_SKILLS:,} letters."),
            (bool(self._tasks()), "Choose what your models tell."),
        )
        why = next((said for good, said in checks if not good), "")
        self._why.say(why)
        self._why.setVisible(bool(why))
        self._publish.setEnabled(not why)

    def _send(self) -> None:
        self._publish.setEnabled(False)
        body = {
            "title": self.name.text().strip(),
            "skills": self.skills.toPlainText().strip(),
            "tasks": self._tasks(),
            "places": self.places.value(),
        }

        def published(card: Card) -> None:
            self.banner.say("good", "Your card is in the catalogue.", "Requests that fit it are listed here.")
            self._know_card(card)

        self.desk.api.post("/v1/developer", body, Card, published, owner=self, failed=self._refused)

    def _withdraw(self) -> None:
        def gone(_nothing: Nothing) -> None:
            self.banner.say("good", "Your card is withdrawn.", "Bids that you have made are still good.")
            self._show_card(Card())

        self.desk.api.post("/v1/developer/off", {}, Nothing, gone, owner=self, failed=self._refused)

    def _switch(self) -> None:
        wanted = self.evaluates.isChecked()

        def refused(failure: Failure) -> None:
            self.evaluates.setChecked(not wanted)
            self.banner.fail(failure)

        self.desk.api.post(
            "/v1/evaluator",
            {"on": wanted},
            Switch,
            lambda switch: self.evaluates.setChecked(switch.on),
            owner=self,
            failed=refused,
        )

    def _refused(self, failure: Failure) -> None:
        self._look()
        self.banner.fail(failure)
