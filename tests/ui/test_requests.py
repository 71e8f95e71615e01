"""Models made to order on the desktop: asking for one, what evaluators measured, the arbiter's split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.market.errors import OpenstallError
from openstall.ui.assessments import CustomPart, Figure, Verdict
from openstall.ui.documents import Failure
from openstall.ui.main_window import MainWindow
from openstall.ui.requests import (
    Auction,
    Match,
    Matches,
    NamedColumn,
    OwnBid,
    SealedBid,
    TableLook,
    outcome_words,
)
from openstall.ui.theme import Theme
from openstall.ui.trade import Order
from openstall.ui.views.ask import AskPage
from openstall.ui.views.ask_goal import GoalPanel
from openstall.ui.views.developer import DeveloperPage
from openstall.ui.views.made_to_order import MadeToOrder
from openstall.ui.views.matches import FitPanel
from openstall.ui.views.request import RequestPage
from openstall.ui.views.requests import RequestsPage
from openstall.ui.views.ruling import DisputesPanel, RulingForm, split
from openstall.ui.widgets.text import Text
from openstall.ui.widgets.threshold_plot import ThresholdPlot

WAIT_MS = 60_000
TERMS = {
    "features": ["a", "b"],
    "metric": "accuracy",
    "threshold": "0.9",
    "floors": [],
    "arbiter_fee_bps": 500,
}


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPeer]:
    with running_peer("Shop", tmp_path_factory.mktemp("ask") / "shop") as found:
        found.operate("/v1/group/create", name="Shops")
        found.operate("/v1/wallet/faucet")
        yield found


def said(widget: QWidget) -> str:
    return "\n".join(text.text() for text in widget.findChildren(Text))


def named(widget: QWidget, name: str) -> QPushButton:
    (found,) = [one for one in widget.findChildren(QPushButton) if one.accessibleName() == name]
    return found


def test_a_model_is_asked_for_and_stands_on_the_board(
    qtbot: QtBot, asker: DemoPeer, open_window: Callable[[Path], MainWindow], tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    rows = [f"{at},{at % 7},{'yes' if at % 3 else 'no'}" for at in range(120)]
    table.write_text("\n".join(["size,weight,good", *rows]) + "\n")
    window = open_window(asker.home)
    qtbot.waitUntil(lambda: window.shell is not None and window.shell.page.is_loaded, timeout=WAIT_MS)
    shell = window.shell
    assert shell is not None
    shell.show_view("ask")
    page = shell.page
    assert isinstance(page, AskPage)
    page.table.file.take(str(table))
    qtbot.waitUntil(lambda: page.goal.target.findData("good") > 0, timeout=WAIT_MS)
    assert page.table.rows.rowCount() == 5, "the first rows are shown before a column is chosen"
    page.goal.target.setCurrentIndex(page.goal.target.findData("good"))
    page._changed()
    qtbot.waitUntil(lambda: page.goal.measure.count() == 3, timeout=WAIT_MS)
    page.goal.threshold.setText("0.5")
    page.money.name.setText("Good or not")
    page.money.budget.setText("40")
    page.money.deposit.setText("2")
    stays, fair = page.goal.floors[0], page.goal.floors[1]
    stays.on.click()
    stays.limit.setText("0,8")
    assert "needs a number" in said(page)
    stays.limit.setText("0.8")
    fair.on.click()
    fair.limit.setText("0.2")
    assert "Choose the column of the groups." in said(page)
    assert fair.group is not None
    fair.group.setCurrentIndex(fair.group.findData("weight"))
    fair.group.activated.emit(fair.group.currentIndex())
    name_the_evaluators(page)
    sign = named(page, "Sign the request")
    assert not sign.isEnabled(), "nothing is signed that was not shown"
    qtbot.waitUntil(sign.isEnabled, timeout=WAIT_MS)
    assert "is reached without a model" in said(page)
    for words in (
        "40.00 credits at most",
        "a share of 0.8 of its answers",
        "groups of “weight” differ by 0.2",
    ):
        assert words in said(page)
    assert "2 of 3 evaluators must agree" in said(page)
    sign.click()
    qtbot.waitUntil(lambda: isinstance(shell.page, RequestPage) and shell.page.is_loaded, timeout=WAIT_MS)
    assert "There is no bid yet." in said(shell.page)
    assert "say which “good” a row has" in said(shell.page)
    assert "Gap between groups (fairness): at most 0.2" in said(shell.page)
    qtbot.waitUntil(lambda: "No developer of the group fits it yet" in said(shell.page), timeout=WAIT_MS)
    shell.show_view("requests")
    board = shell.page
    assert isinstance(board, RequestsPage)
    qtbot.waitUntil(lambda: board.is_loaded, timeout=WAIT_MS)
    (only,) = board._rows.values()
    assert (only.mine, only.stage[0], only.title) == (True, "bids", "Good or not")


def name_the_evaluators(page: AskPage) -> None:
    """Three wallets, of which one is typed wrongly, twice, and in the arbiter's place as well."""
    judges = page.judges
    judges.who.setCurrentIndex(1)
    judges.who.activated.emit(1)
    assert "Name an evaluator" in said(page)
    add = named(page, "Add")
    judges.wallet.setText("0x123")
    assert (add.isEnabled(), bool(judges.wallet.property("wrong"))) == (False, True)
    for digit in "1213":
        judges.wallet.setText("0x" + digit * 40)
        add.click()
    assert judges.evaluators == ["0x" + digit * 40 for digit in "123"]
    judges.arbiter.setText("0x" + "2" * 40)
    assert "it would judge itself" in said(page)
    judges.arbiter.clear()
    assert [judges.quorum.itemData(at) for at in range(judges.quorum.count())] == [2, 3]


def test_columns_are_left_out_and_what_was_ticked_is_kept(qtbot: QtBot, app_theme: Theme) -> None:
    goal = GoalPanel()
    qtbot.addWidget(goal)
    columns = [NamedColumn(name=name, kind="number") for name in ("id", "size", "good")]
    goal.show_table(TableLook(task="classification", columns=columns))
    goal.target.setCurrentIndex(goal.target.findData("good"))
    goal.show_table(TableLook(task="classification", columns=columns))
    menu = goal.left_out.menu()
    assert menu is not None
    first, _second = menu.actions()
    with qtbot.waitSignal(goal.changed):
        first.trigger()
    goal.show_table(TableLook(task="classification", columns=columns))
    goal.floors[3].on.setChecked(True)
    goal.floors[3].limit.setText("2.5")
    body = goal.rows_body()
    assert (body["target"], body["ignore"], goal.left_out.text()) == ("good", ["id"], "id")
    assert body["floors"] == [{"name": "size", "limit": "2500000", "group": ""}]
    goal.forget()
    assert (goal.rows_body()["target"], goal.rows_body()["ignore"]) == ("", [])


def test_a_developer_shows_a_card_and_agrees_to_measure(
    qtbot: QtBot, asker: DemoPeer, open_window: Callable[[Path], MainWindow]
) -> None:
    window = open_window(asker.home)
    qtbot.waitUntil(lambda: window.shell is not None and window.shell.page.is_loaded, timeout=WAIT_MS)
    shell = window.shell
    assert shell is not None
    shell.show_view("requests")
    named(shell.page, "Build for others…").click()
    page = shell.page
    assert isinstance(page, DeveloperPage)
    qtbot.waitUntil(lambda: page.is_loaded, timeout=WAIT_MS)
    assert "You have no card yet" in said(page)
    publish = named(page, "Publish the card")
    page.name.setText("Small tables")
    assert (publish.isEnabled(), "Say what you know" in said(page)) == (False, True)
    page.skills.setPlainText("Weights and sizes, quickly.")
    page.numbers.setChecked(False)
    page.places.setValue(3)
    publish.click()
    qtbot.waitUntil(lambda: publish.accessibleName() == "Change the card", timeout=WAIT_MS)
    card = asker.get("/v1/developer")["body"]
    assert (card["title"], card["tasks"], card["places"]) == ("Small tables", ["classification"], 3)
    qtbot.waitUntil(lambda: "No open request of the group fits" in said(page), timeout=WAIT_MS)
    page.evaluates.click()
    qtbot.waitUntil(lambda: asker.get("/v1/evaluator")["on"], timeout=WAIT_MS)
    named(page, "Withdraw it").click()
    qtbot.waitUntil(lambda: publish.accessibleName() == "Publish the card", timeout=WAIT_MS)
    with pytest.raises(OpenstallError, match="no card"):
        asker.get("/v1/developer")


def test_a_ranking_says_why_and_where_one_stands(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    panel = FitPanel(window.shell.page.desk, "bafymine")
    qtbot.addWidget(panel)
    other = Match(cid="bafyother", title="Other", author_name="Shop", reasons=["In common: wine."])
    own = Match(cid="bafymine", title="Mine", lane="newcomer", reasons=["In common: <b>ash</b>."])
    panel._show_own(Matches(items=[other, own], total=2))
    assert "Place 2 of 2 open requests for your card, drawn by lot." in said(panel)
    assert "In common: <b>ash</b>." in said(panel)
    panel._show_own(Matches(items=[other], total=1))
    assert "It does not fit your card" in said(panel)
    panel._failed(Failure(code="no_card", message="x"))
    assert "You have no card as a developer" in said(panel)
    panel._show_developers(Matches(items=[other, own], total=30))
    assert [part in said(panel) for part in ("1. Other", "by Shop", "2. Mine", "by lot", "10 more")] == [
        True
    ] * 5


def test_each_figure_stands_against_its_threshold(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    panel = MadeToOrder(window.shell.page.desk, "ab" * 32)
    qtbot.addWidget(panel)
    good = Figure(name="accuracy", hits=95, rows=100, value="0.95", low="0.89", high="0.98")
    bad = Figure(name="accuracy", hits=80, rows=100, value="0.80", low="0.71", high="0.87")
    verdicts = [
        Verdict(attempt=2, evaluator="0x" + "1" * 40, passed=True, figures=[good]),
        Verdict(attempt=1, evaluator="0x" + "1" * 40, figures=[bad]),
    ]
    part = CustomPart(attempt=2, tries=3, model_hash="cd" * 32, verdicts=verdicts)
    panel.show_order(Order(kind="custom", role="buyer", state="passed", terms=TERMS, custom=part))
    names = [plot.accessibleName() for plot in panel.findChildren(ThresholdPlot)]
    assert [name.rpartition(": ")[2] for name in names] == ["passed", "missed"]
    assert "asked for at least 0.9" in names[0]
    assert "95 of 100 rows; 95 % interval 0.89 to 0.98" in said(panel)
    assert panel._hand.isHidden(), "a buyer hands nothing in"
    panel.show_order(Order(kind="sale"))
    assert panel.isHidden()


def test_an_arbiter_sees_what_each_side_would_have(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    desk = window.shell.page.desk
    assert split(50_000_001, 500, 3_333) == (15_831_750, 31_668_251, 2_500_000)
    order = Order(kind="custom", role="arbiter", state="disputed", amount_micro=50_000_000, terms=TERMS)
    form = RulingForm(desk, order)
    qtbot.addWidget(form)
    form.slider.setValue(20)
    assert form.share.value() == 20
    assert [words in said(form) for words in ("9.50 credits", "38.00 credits", "2.50 credits")] == [True] * 3
    with qtbot.assertNotEmitted(form.ruled):
        named(form, "Rule…").click()
    with qtbot.waitSignal(form.ruled) as ruled:
        named(form, "Rule so").click()
    assert ruled.args == [2_000]
    waiting = DisputesPanel(desk)
    qtbot.addWidget(waiting)
    waiting.show_orders([Order(kind="sale", role="buyer", state="disputed")])
    assert waiting.isHidden(), "it is for somebody else to decide"
    waiting.show_orders([order])
    assert not waiting.isHidden()


def test_what_became_of_a_bid_is_said() -> None:
    me, other = "0x" + "a" * 40, "0x" + "b" * 40
    auction = Auction(state="open", bids=[SealedBid(bidder=me)], own_bid=OwnBid(amount_micro=3_000_000))
    assert "opens it by itself" in outcome_words(auction, me)

    def over(*bids: SealedBid, winner: str = other) -> str:
        own, state = OwnBid(amount_micro=3_000_000), "settled" if winner else "void"
        return outcome_words(Auction(state=state, winner=winner, bids=list(bids), own_bid=own), me)

    opened, sealed = SealedBid(bidder=me, amount_micro=3_000_000), SealedBid(bidder=me)
    assert over(opened) == "You bid 3.00 and did not win: your deposit is yours again."
    assert over(opened, winner=me) == "You bid 3.00 and won."
    assert over(sealed) == "You bid 3.00. It was not opened in time: your deposit went to the winner."
    assert over(sealed, winner="") == "You bid 3.00. Nobody won: your deposit comes back."
    assert over() == "You bid 3.00. It did not reach the chain in time: no deposit was taken."
