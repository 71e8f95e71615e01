"""Contests on the desktop: the choice and its prizes, the page in each stage, the page before an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from PySide6.QtWidgets import QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.ui.contests import (
    BoardLine,
    Contest,
    ContestEntry,
    EntryFigure,
    OwnEntry,
    contest_stage,
    own_words,
)
from openstall.ui.main_window import MainWindow
from openstall.ui.requests import RequestBody, RequestEntry
from openstall.ui.views.ask import AskPage
from openstall.ui.views.ask_choosing import ChoosingPanel, weights_in
from openstall.ui.views.contest import ContestParts
from openstall.ui.views.enter import EnterPage
from openstall.ui.views.request import RequestPage
from openstall.ui.views.requests import RequestsPage
from openstall.ui.widgets.prize_bar import PrizeBar
from openstall.ui.widgets.threshold_plot import ThresholdPlot

WAIT_MS = 60_000
EVALUATOR = "0x" + "5" * 40
NOW, HOUR_S = 4_000_000_000, 3_600
WON = ContestEntry(
    entrant="0x" + "a" * 40,
    name="Ada",
    figure=EntryFigure(value="0.93", low="0.88", high="0.97"),
    passed=True,
    place=1,
    prize_micro=24_000_000,
    claimed=True,
)
MISSED = ContestEntry(
    entrant="0x" + "b" * 40,
    figure=EntryFigure(value="0.61", low="0.5", high="0.7"),
    passed=False,
    prize_micro=0,
    mine=True,
)
BROKEN = ContestEntry(entrant="0x" + "c" * 40, name="Cy", passed=False, prize_micro=0)
BODY = RequestBody(
    title="Wine",
    mechanism="contest",
    metric="accuracy",
    threshold="0.9",
    budget_micro=40_000_000,
    deposit_micro=1_000_000,
    commit_by=NOW,
    reveal_by=NOW + HOUR_S,
    weights_bps=[6_000, 3_000, 1_000],
)


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPeer]:
    with running_peer("Shop", tmp_path_factory.mktemp("contest") / "shop") as found:
        found.operate("/v1/group/create", name="Shops")
        found.operate("/v1/wallet/faucet")
        yield found


def said(*widgets: QWidget) -> str:
    return "\n".join(label.text() for widget in widgets for label in widget.findChildren(QLabel))


def named(widget: QWidget, name: str) -> QPushButton:
    (found,) = [one for one in widget.findChildren(QPushButton) if one.accessibleName() == name]
    return found


def contest(state: str, *entries: ContestEntry, **more: object) -> Contest:
    fields: dict[str, object] = {"metric": "accuracy", "threshold": "0.9", "entries": list(entries)}
    return Contest(state=state, **(fields | more))  # type: ignore[arg-type]


def test_a_contest_is_asked_for_and_takes_entries(
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
    page.goal.target.setCurrentIndex(page.goal.target.findData("good"))
    page.goal.target.activated.emit(page.goal.target.currentIndex())
    qtbot.waitUntil(lambda: page.goal.measure.count() == 3, timeout=WAIT_MS)
    page.goal.threshold.setText("0.9")
    page.money.name.setText("Good or not, the best")
    page.money.budget.setText("40")
    page.money.deposit.setText("2")
    page.choosing.contest.click()
    assert "Name an evaluator." in said(page)
    page.judges.add(window.shell.page.desk.status.identity.wallet)
    assert "You cannot measure your own contest" in said(page)
    page.judges._remove(page.judges.evaluators[0])
    page.judges.add(EVALUATOR)
    page.choosing.weights.setText("50/30")
    assert "add up to 80 %" in said(page)
    page.choosing.weights.setText("50/30/20")
    (bar,) = page.choosing.findChildren(PrizeBar)
    assert bar.accessibleName() == "Prizes: 1st 50 % (20.00), 2nd 30 % (12.00), 3rd 20 % (8.00)"
    told: list[tuple[str, object]] = []
    window.api.happened.connect(lambda name, data: told.append((name, data)))
    sign = named(page, "Sign the request")
    qtbot.waitUntil(sign.isEnabled, timeout=WAIT_MS)
    sign.click()
    qtbot.waitUntil(lambda: isinstance(shell.page, RequestPage) and shell.page.is_loaded, timeout=WAIT_MS)
    shown = shell.page
    (own,) = asker.get("/v1/requests")["items"]
    body = asker.get(f"/v1/requests/{own['cid']}/record")["body"]
    assert (body["mechanism"], body["weights_bps"]) == ("contest", [5_000, 3_000, 2_000])
    assert body["evaluators"] == [EVALUATOR]
    assert "There is no model yet." in said(shown)
    assert "3 tries each before the entries close." in said(shown)
    qtbot.waitUntil(lambda: ("contest", {"request": own["cid"]}) in told, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.api.pending, timeout=WAIT_MS)
    shown._again.stop()
    with qtbot.waitSignal(shown.loaded, timeout=WAIT_MS):  # by the event of a block, which nobody waits for
        asker.post("/v1/wallet/send", to=EVALUATOR, amount_micro=1)
    shell.show_view("requests")
    board = shell.page
    assert isinstance(board, RequestsPage)
    qtbot.waitUntil(lambda: board.is_loaded, timeout=WAIT_MS)
    (only,) = board._rows.values()
    assert (only.mine, only.stage[0], only.mark[0]) == (True, "entries", "takes entries")
    shell.show_view(f"enter:{own['cid']}")
    enter = shell.page
    assert isinstance(enter, EnterPage)
    qtbot.waitUntil(lambda: enter.is_loaded, timeout=WAIT_MS)
    assert "This is your own request." in said(enter)
    assert not named(enter, "Enter it, and put down 2.00 credits").isEnabled()


def test_advice_says_which_way_suits_a_goal(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    panel = ChoosingPanel(window.shell.page.desk)
    qtbot.addWidget(panel)
    panel.show()
    panel._ask.click()
    qtbot.waitUntil(lambda: "Sealed bids" in panel._advice.text(), timeout=WAIT_MS)
    panel.goal.setCurrentIndex(1)
    panel.goal.activated.emit(1)
    qtbot.waitUntil(lambda: "Contest" in panel._advice.text(), timeout=WAIT_MS)
    panel.contest.click()
    panel.shape.setCurrentIndex(3)
    panel.shape.activated.emit(3)
    assert panel.terms() == {"mechanism": "contest", "weights_bps": []}
    panel.bids.click()
    assert panel.terms() == {}


@pytest.mark.parametrize(
    ("typed", "weights"),
    [
        ("100", [10_000]),
        ("60 30,10", [6_000, 3_000, 1_000]),
        ("", []),
        ("60/-1", []),
        ("6e1", []),
        ("1/" * 33, []),
    ],
)
def test_shares_are_whole_per_cent(typed: str, weights: list[int]) -> None:
    assert weights_in(typed) == weights


def test_a_ranking_has_one_scale_with_places_and_prizes(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    parts = ContestParts(window.shell.page.desk, "bafy")
    holder = QWidget()
    qtbot.addWidget(holder)
    for panel in (*parts.left, *parts.side):
        panel.setParent(holder)
    entry = RequestEntry(cid="bafy", body=BODY)
    sealed = contest("open", ContestEntry(entrant="0x" + "a" * 40, name="Ada"), tries_left=2)
    assert parts.show_contest(entry, sealed) == "entries"
    assert [words in said(holder) for words in ("encrypted", "2 tries left", "Enter a model…")] == [
        True,
        True,
        False,
    ]
    assert named(holder, "Enter a model…").isEnabled()
    parts.show_contest(entry, contest("judged", MISSED, BROKEN, WON, role="entrant", claim_by=NOW))
    plots = parts.models.findChildren(ThresholdPlot)
    assert [plot.accessibleName().partition(",")[0] for plot in plots] == ["Ada", "you"]
    assert {(plot._from, plot._to) for plot in plots} == {(plots[0]._from, plots[0]._to)}, "one scale for all"
    shown = said(parts.models)
    assert [words in shown for words in ("1st  Ada", "paid", "missed", "It could not be measured.")] == [
        True
    ] * 4
    assert "16.00 credits of it no model earned: it goes back." in said(parts.prizes)
    assert "It missed: your model stays yours" in said(parts.do)
    assert parts.practice.isHidden(), "there is no practice after the entries"


def test_a_requester_finds_the_models_that_were_paid_for(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    parts = ContestParts(window.shell.page.desk, "bafy")
    qtbot.addWidget(parts.do)
    entry = RequestEntry(cid="bafy", body=BODY, mine=True)
    parts.show_contest(entry, contest("closed", WON, role="requester", library_paths=["/home/me/wine-ada"]))
    assert "Wine, 1" in said(parts.do)
    assert "/home/me/wine-ada" in named(parts.do, "Open the folder of Wine, 1").toolTip()


def test_the_page_looks_again_only_for_what_no_event_tells(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    page = RequestPage(window.shell.page.desk, "bafy")
    qtbot.addWidget(page)
    page._entry = RequestEntry(cid="bafy", body=BODY)
    waits = []
    for seen in (
        contest("open"),
        contest("open", role="evaluator"),
        contest("open", metric="rmse"),
        contest("judged", WON),
        contest("void"),
    ):
        page._look_again(seen)
        waits.append(page._again.interval() // 1000 if page._again.isActive() else None)
    assert waits == [30, 86_400, 86_400, None, None]
    page._again.stop()


def test_the_board_of_practice_tells_no_more_than_the_node(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    parts = ContestParts(window.shell.page.desk, "bafy")
    qtbot.addWidget(parts.practice)
    lines = [
        BoardLine(developer="0x" + "a" * 40, name="Ada", figure="0.89", tries_used=1, at=NOW),
        BoardLine(developer="0x" + "b" * 40, tries_used=0, at=NOW),
    ]
    parts.show_contest(RequestEntry(body=BODY), contest("open", board=lines, role="evaluator"))
    shown = said(parts.practice)
    assert [words in shown for words in ("Ada", "0.89", "waits")] == [True] * 3
    assert parts.practice.drop.isHidden(), "an evaluator does not practise"


def test_stages_and_what_became_of_an_entry() -> None:
    times = (NOW, NOW + HOUR_S)
    assert contest_stage(None, *times, NOW - 1) == ("entries", NOW)
    assert contest_stage(contest("judging"), *times, NOW + 1) == ("judging", NOW + HOUR_S)
    assert contest_stage(contest("open"), *times, NOW + HOUR_S + 1) == ("closing", 0)
    assert contest_stage(contest("judged", claim_by=NOW + 9), *times, NOW + 1) == ("judged", NOW + 9)
    assert contest_stage(contest("void"), *times, NOW - 1) == ("void", 0)
    assert "on its way" in own_words(contest("open", own=OwnEntry(state="sending")))
    assert "your deposit is yours again" in own_words(contest("void", MISSED))
    assert "your deposit comes back" in own_words(contest("judged", MISSED))
    kept = msgspec.structs.replace(WON, mine=True, claimed=False)
    assert "did not hand your model over in time" in own_words(contest("closed", kept))
    assert own_words(contest("judged", WON)) == "", "another's"
