"""What the order page shows of a model made to order."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from openstall.ui.main_window import MainWindow
from openstall.ui.trade import AssessedFigure, Custom, Order, Verdict
from openstall.ui.views.assessment import AssessmentPanel

TERMS = {
    "rows": 171,
    "metric": "accuracy",
    "threshold": "0.9",
    "floors": [{"name": "size", "limit": "5000000", "group": ""}],
}
FIGURES = [
    AssessedFigure(name="accuracy", value="0.97", low="0.93", high="0.99"),
    AssessedFigure(name="size", value="9012", low="9012", high="9012"),
]


@pytest.fixture
def panel(qtbot: QtBot, window: MainWindow) -> AssessmentPanel:
    assert window.shell is not None
    made = AssessmentPanel(window.shell.page.desk, "order")
    qtbot.addWidget(made)
    return made


def words(panel: AssessmentPanel) -> str:
    return "\n".join(label.text() for label in panel.findChildren(QLabel))


def order(state: str, custom: Custom | None, role: str = "seller") -> Order:
    return Order(kind="custom", state=state, role=role, terms=TERMS, custom=custom)


def test_the_figures_of_the_last_try_stand_beside_what_was_asked_for(panel: AssessmentPanel) -> None:
    missed = Verdict(attempt=1, evaluator="0x" + "a1" * 20, figures=FIGURES[1:])
    passed = Verdict(attempt=2, evaluator="0x" + "a1" * 20, passed=True, figures=FIGURES)
    panel.show_order(order("passed", Custom(attempt=2, tries=2, verdicts=[missed, passed]), "buyer"))
    text = words(panel)
    assert "Try 2 of 2, measured on 171 sealed rows" in text
    assert "0.97 (0.93 to 0.99)" in text
    assert "asked for: at least 0.9" in text
    assert "Bytes of its file: 9012, at most 5000000 asked for" in text
    assert "passed" in text
    assert "missed" not in text


def test_a_model_is_handed_in_by_the_developer_while_a_try_is_left(panel: AssessmentPanel) -> None:
    for state, attempt, role, may in (
        ("funded", 0, "seller", True),
        ("failed", 1, "seller", True),
        ("failed", 2, "seller", False),
        ("submitted", 1, "seller", False),
        ("funded", 0, "buyer", False),
    ):
        panel.show_order(order(state, Custom(attempt=attempt, tries=2), role))
        assert panel._hand_in.isHidden() is not may, (state, attempt, role)


def test_orders_of_other_kinds_have_no_measurement(panel: AssessmentPanel) -> None:
    panel.show_order(Order(kind="sale", state="funded"))
    assert panel.isHidden()
