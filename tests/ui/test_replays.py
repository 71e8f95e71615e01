"""A report checked again on the desktop: who is offered it, what was found, and what one can do."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from openstall.ui.assessments import CustomPart, Figure, Replay, Verdict
from openstall.ui.main_window import MainWindow
from openstall.ui.trade import Order
from openstall.ui.views import replays
from openstall.ui.views.made_to_order import MadeToOrder
from openstall.ui.widgets.text import Text

TERMS = {"features": ["a", "b"], "metric": "accuracy", "threshold": "0.9", "floors": []}
GOOD = Figure(name="accuracy", hits=95, rows=100, value="0.95", low="0.89", high="0.98")
WAIT_MS = 60_000


def said(widget: QWidget) -> str:
    return "\n".join(text.text() for text in widget.findChildren(Text) if not text.isHidden())


def named(widget: QWidget, name: str) -> QPushButton:
    (found,) = [one for one in widget.findChildren(QPushButton) if one.accessibleName() == name]
    return found


def order(role: str, replay: Replay | None = None, **part: Any) -> Order:
    verdict = Verdict(
        attempt=1, evaluator="0x" + "1" * 40, passed=True, figures=[GOOD], on_chain=True, replay=replay
    )
    values: dict[str, Any] = {"attempt": 1, "tries": 1, "model_hash": "cd" * 32, "may_replay": True}
    custom = CustomPart(**(values | {"rows_to_open": 30, "verdicts": [verdict]} | part))
    return Order(kind="custom", role=role, state="delivered", terms=TERMS, custom=custom)


def panel_in(qtbot: QtBot, window: MainWindow) -> MadeToOrder:
    assert window.shell is not None
    panel = MadeToOrder(window.shell.page.desk, "ab" * 32)
    qtbot.addWidget(panel)
    return panel


def test_a_party_is_offered_to_check_a_report(qtbot: QtBot, window: MainWindow) -> None:
    panel = panel_in(qtbot, window)
    panel.show_order(order("buyer"))
    assert not panel.again.isHidden()
    assert "opens 30 sealed rows that nobody could foresee" in said(panel.again)
    assert named(panel.again, "Check the file that a party has saved").isHidden()
    panel.show_order(order("arbiter"))
    assert not named(panel.again, "Check the file that a party has saved").isHidden()
    panel.show_order(order("seller", rows_to_open=3))
    assert "opens 3 sealed rows" in said(panel.again)
    panel.show_order(order("seller", may_replay=False))
    assert panel.again.isHidden(), "a developer with a try left sees no row"


def test_what_was_found_stands_beside_the_report(qtbot: QtBot, window: MainWindow) -> None:
    panel = panel_in(qtbot, window)
    fine = Replay(at=1_700_000_000, outcome="as_reported", words="30 of 30 opened rows answer as reported.")
    panel.show_order(order("buyer", fine))
    assert "30 of 30 opened rows answer as reported." in said(panel)
    assert "verified" in said(panel)
    bad = Replay(
        at=1_700_000_000,
        outcome="differs",
        words="4 of 30 opened rows answer otherwise.",
        proof="/a/b.json",
    )
    panel.show_order(order("buyer", bad))
    assert "not as reported" in said(panel)
    assert "4 of 30 opened rows answer otherwise." in said(panel)
    assert named(panel, "Copy place of the file that proves it").isEnabled()
    away = Replay(at=1_700_000_000, outcome="no_answer", words="It cannot be reached.")
    panel.show_order(order("buyer", away))
    assert "not checked" in said(panel)


def test_a_doubt_says_what_one_can_do(qtbot: QtBot, window: MainWindow) -> None:
    panel = panel_in(qtbot, window)
    panel.show_order(order("buyer"))
    panel.again._ended({"doubted": True, "what_next": "Call the arbiter."})
    assert "Call the arbiter." in said(panel.again)
    panel.again.banner.hide()
    panel.again._ended({"doubted": False, "confirmed": True, "what_next": ""})
    assert panel.again.banner.isHidden()


def test_the_button_asks_the_node(qtbot: QtBot, window: MainWindow) -> None:
    """This node has no such order, and its words are shown."""
    panel = panel_in(qtbot, window)
    panel.show_order(order("buyer"))
    button = named(panel.again, "Check it again")
    button.click()
    assert not button.isEnabled()
    qtbot.waitUntil(button.isEnabled, timeout=WAIT_MS)
    assert "There is no order" in said(panel.again.banner)


def test_an_arbiter_hands_the_node_what_a_party_has_saved(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_in(qtbot, window)
    panel.show_order(order("arbiter"))
    chosen = iter([("/a/proof.json", ""), ("/a/model.onnx", ""), ("", "")])
    monkeypatch.setattr(replays.QFileDialog, "getOpenFileName", lambda *_args: next(chosen))
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(panel.again, "check", asked.append)
    button = named(panel.again, "Check the file that a party has saved")
    button.click()
    button.click()
    assert asked == [{"proof": "/a/proof.json", "model": "/a/model.onnx"}], "the second was left"
