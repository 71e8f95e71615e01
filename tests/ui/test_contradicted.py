"""Whoever has contradicted itself is shown so, before any money."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from openstall.ui.main_window import MainWindow
from openstall.ui.trade import Body, Contradicted, Entry
from openstall.ui.views.market import MODEL_COLUMNS
from openstall.ui.views.model import ModelPage
from openstall.ui.views.rent import RentPage
from openstall.ui.widgets.contradicted import ContradictedPanel
from openstall.ui.widgets.text import Text

FOUND = Contradicted(kind="same_seq", words="It signed two different records with the same number.")
HONEST = Entry(cid="b", author="12D3KooWx", author_name="Shop", body=Body(title="Model"))
LIAR = Entry(cid="b", author="12D3KooWx", author_name="Shop", body=Body(title="Model"), contradicted=FOUND)


def said(page: ModelPage | RentPage) -> list[str]:
    """All words of the warnings that can be seen."""
    return [
        text.text()
        for panel in page.findChildren(ContradictedPanel)
        if not panel.isHidden()
        for text in panel.findChildren(Text)
    ]


def test_the_pages_of_a_model_and_of_a_machine_warn(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    desk = window.shell.page.desk
    for page in (ModelPage(desk, "b"), RentPage(desk, "b")):
        qtbot.addWidget(page)
        page._show(HONEST)
        assert said(page) == []
        page._show(LIAR)
        assert FOUND.words in said(page)
        assert "contradicted itself" in said(page)


def test_the_market_marks_the_row() -> None:
    (state,) = [column for column in MODEL_COLUMNS if column.title == "State"]
    assert state.icon is not None
    assert state.tip is not None
    assert state.icon(LIAR) == ("warning", "bad") != state.icon(HONEST)
    assert FOUND.words in state.tip(LIAR)
