"""Models made to order on the desktop: asking for one, what evaluators measured, the arbiter's split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.ui.main_window import MainWindow
from openstall.ui.requests import Auction, CustomPart, Figure, OwnBid, SealedBid, Verdict, outcome_words
from openstall.ui.trade import Order
from openstall.ui.views.ask import AskPage
from openstall.ui.views.made_to_order import MadeToOrder
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
    sign = named(page, "Sign the request")
    assert not sign.isEnabled(), "nothing is signed that was not shown"
    qtbot.waitUntil(sign.isEnabled, timeout=WAIT_MS)
    assert "is reached without a model" in said(page)
    assert "40.00 credits at most" in said(page)
    sign.click()
    qtbot.waitUntil(lambda: isinstance(shell.page, RequestPage) and shell.page.is_loaded, timeout=WAIT_MS)
    assert "There is no bid yet." in said(shell.page)
    assert "say which “good” a row has" in said(shell.page)
    shell.show_view("requests")
    board = shell.page
    assert isinstance(board, RequestsPage)
    qtbot.waitUntil(lambda: board.is_loaded, timeout=WAIT_MS)
    (only,) = board._rows.values()
    assert (only.mine, only.stage[0], only.title) == (True, "bids", "Good or not")


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
    lost = Auction(state="settled", winner=other, own_bid=OwnBid(amount_micro=3_000_000))
    assert outcome_words(lost, me) == "You bid 3.00 and did not win: your deposit is yours again."
