from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton
from pytestqt.qtbot import QtBot

from openstall.ui.documents import Failure
from openstall.ui.theme import Theme
from openstall.ui.trade import Moment
from openstall.ui.widgets.figures import Amount, CopyId, When
from openstall.ui.widgets.inputs import AmountField, ChoiceCard, FileDrop, NumberField, SearchBar
from openstall.ui.widgets.marks import Badge, Provenance, state_mark
from openstall.ui.widgets.notices import Banner, EmptyState, ProgressRow
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text
from openstall.ui.widgets.timeline import Timeline

MARKUP = "<b>bold</b> <a href='https://example.org'>link</a>"


@pytest.fixture(autouse=True)
def _themed(app_theme: Theme) -> None:
    """Every widget is looked at in the real theme."""


@dataclass(frozen=True)
class Row:
    key: str
    name: str
    micro: int


COLUMNS: list[Column[Row]] = [
    Column(title="Name", text=lambda r: r.name, stretch=True),
    Column(title="Price", text=lambda r: str(r.micro), sort=lambda r: r.micro, right=True),
]
ROWS = [Row("a", "Beta", 9), Row("b", "alpha", 100), Row("c", "<b>Gamma</b>", 20)]


def table(qtbot: QtBot) -> RowTable[Row]:
    made = RowTable("Things", COLUMNS, lambda r: r.key, EmptyState("market", "None", "Make one."))
    qtbot.addWidget(made)
    made.resize(500, 300)
    made.show()
    return made


def shown(made: RowTable[Row], column: int = 0) -> list[str]:
    model = made.view.model()
    return [str(model.index(at, column).data()) for at in range(model.rowCount())]


def test_text_is_plain_whatever_it_holds(qtbot: QtBot) -> None:
    label = Text(MARKUP)
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == MARKUP


def test_an_amount_stands_right_and_tells_the_raw_units(qtbot: QtBot) -> None:
    amount = Amount(1_234_567_890)
    qtbot.addWidget(amount)
    assert amount.text() == "1,234.56789 credits"
    assert amount.alignment() & Qt.AlignmentFlag.AlignRight
    assert "1,234,567,890" in amount.toolTip()


def test_a_short_id_copies_whole(qtbot: QtBot) -> None:
    whole = "12D3KooWL3Zz4HMSFYbZdYDgs5pCDvS4bd6xviLPcTWreaLjhyo2"
    made = CopyId(whole, what="peer id")
    qtbot.addWidget(made)
    made.show()
    button = made.findChild(QPushButton)
    assert button is not None
    assert button.accessibleName() == "Copy peer id"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == whole


def test_a_time_says_both_how_long_and_when(qtbot: QtBot) -> None:
    made = When(int(time.time()) - 3600)
    qtbot.addWidget(made)
    assert made.text().startswith("1 h")
    assert ":" in made.toolTip()


def test_a_state_is_an_icon_and_a_word(qtbot: QtBot) -> None:
    badge = Badge()
    qtbot.addWidget(badge)
    badge.mark_state("disputed")
    assert badge.accessibleName() == "disputed"
    icons = [state_mark(state)[0] for state in ("running", "completed", "disputed", "failed", "lapsed")]
    assert len(set(icons)) == len(icons)


def test_claimed_measured_and_verified_say_what_they_mean(qtbot: QtBot) -> None:
    for origin in ("claimed", "measured", "verified"):
        mark = Provenance(origin)  # type: ignore[arg-type]
        qtbot.addWidget(mark)
        assert mark.accessibleName() == origin
        assert mark.accessibleDescription()


def test_a_banner_shows_message_next_step_and_code(qtbot: QtBot) -> None:
    banner = Banner()
    qtbot.addWidget(banner)
    banner.fail(Failure(code="too_poor", message=MARKUP, what_next="Earn some."))
    assert banner.message == MARKUP
    texts = [label.text() for label in banner.findChildren(QLabel)]
    assert "Earn some." in texts
    assert "code too_poor" in texts


def test_progress_can_be_cancelled_and_says_how_far(qtbot: QtBot) -> None:
    row = ProgressRow()
    qtbot.addWidget(row)
    row.step("Sending", "chunk 3", 3_000_000, 12_000_000, "bytes")
    assert any("3.0 MB of 12.0 MB" in label.text() for label in row.findChildren(QLabel))
    cancel = row.findChild(QPushButton)
    assert cancel is not None
    with qtbot.waitSignal(row.cancelled):
        qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)


def test_an_empty_table_says_what_to_do(qtbot: QtBot) -> None:
    made = table(qtbot)
    made.set_rows([])
    assert made.empty.isVisible()
    made.set_rows(ROWS)
    assert made.view.isVisible()


def test_a_table_sorts_by_value_not_by_text(qtbot: QtBot) -> None:
    made = table(qtbot)
    made.set_rows(ROWS)
    assert shown(made) == ["Beta", "alpha", "<b>Gamma</b>"]
    made.sort_by(1, Qt.SortOrder.AscendingOrder)
    assert shown(made, 1) == ["9", "20", "100"]
    made.sort_by(0, Qt.SortOrder.DescendingOrder)
    assert shown(made) == ["Beta", "alpha", "<b>Gamma</b>"]


def test_the_chosen_row_stays_chosen_when_rows_come_and_go(qtbot: QtBot) -> None:
    made = table(qtbot)
    made.set_rows(ROWS)
    made.choose("b")
    made.set_rows([Row("z", "new", 1), *ROWS])
    assert made.current_key() == "b"
    made.set_rows([row for row in ROWS if row.key != "b"])
    assert made.current_key() != "b"


def test_enter_opens_a_row(qtbot: QtBot) -> None:
    made = table(qtbot)
    made.set_rows(ROWS)
    made.choose("c")
    with qtbot.waitSignal(made.opened) as opened:
        qtbot.keyClick(made.view, Qt.Key.Key_Return)
    assert opened.args == [ROWS[2]]


@pytest.mark.parametrize(
    ("text", "micro"),
    [("12.5", 12_500_000), ("", None), ("1e3", None), ("-1", None), ("0.0000001", None), ("1,000", 10**9)],
)
def test_an_amount_field_takes_decimals_only(qtbot: QtBot, text: str, micro: int | None) -> None:
    field = AmountField()
    qtbot.addWidget(field)
    field.setText(text)
    assert field.micro == micro
    assert bool(field.property("wrong")) == (micro is None and bool(text))


def test_a_number_field_stays_in_its_bounds(qtbot: QtBot) -> None:
    field = NumberField(5, 1, 10, suffix="s")
    qtbot.addWidget(field)
    qtbot.keyClick(field, Qt.Key.Key_Up)
    assert field.value() == 6
    field.setText("99")
    assert field.value() == 10
    field.setRange(1, 4)
    assert (field.value(), field.text()) == (4, "4")


def test_a_file_can_be_dropped_but_only_one_of_the_right_kind(qtbot: QtBot, tmp_path: Path) -> None:
    good, bad = tmp_path / "rows.csv", tmp_path / "rows.exe"
    for path in (good, bad):
        path.write_text("a,b\n")
    drop = FileDrop("rows (CSV)", "Tables (*.csv)", suffixes=(".csv",))
    qtbot.addWidget(drop)
    for path, taken in ((bad, ""), (good, str(good))):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        keys, buttons = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
        enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, buttons, keys)
        enter.ignore()
        drop.dragEnterEvent(enter)
        assert enter.isAccepted() == bool(taken)
        drop.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, buttons, keys))
        assert drop.path == taken


def test_a_search_asks_once_after_a_pause(qtbot: QtBot) -> None:
    bar = SearchBar("Search", (("a", "A"), ("b", "B")))
    qtbot.addWidget(bar)
    asked: list[str] = []
    bar.searched.connect(lambda: asked.append(bar.text))
    with qtbot.waitSignal(bar.searched):
        qtbot.keyClicks(bar.field, "breast")
    assert asked == ["breast"]
    assert bar.facet == "a"


def test_a_choice_card_says_title_and_consequence(qtbot: QtBot) -> None:
    card = ChoiceCard("wallet", "Make a wallet", "You get 24 words.")
    qtbot.addWidget(card)
    assert (card.accessibleName(), card.accessibleDescription()) == ("Make a wallet", "You get 24 words.")
    qtbot.keyClick(card, Qt.Key.Key_Space)
    assert card.isChecked()


def test_a_timeline_tells_who_caused_each_step_and_which_clock_runs(qtbot: QtBot) -> None:
    course = Timeline()
    qtbot.addWidget(course)
    now = int(time.time())
    moments = [
        Moment(at=now - 60, state="proposed", words="You asked.", actor="you"),
        Moment(at=now - 50, state="funded", words="Held.", actor="chain", tx="0x" + "ab" * 32),
    ]
    course.show_moments(moments, "Bea", now + 3600, "then it comes back")
    texts = [label.text() for label in course.findChildren(QLabel)]
    for wanted in ("You asked.", "by you", "by the chain", "then it comes back", "0xabab…babab"):
        assert wanted in texts


def test_a_wrong_field_says_why(qtbot: QtBot) -> None:
    field = AmountField()
    qtbot.addWidget(field)
    field.setText("lots")
    assert isinstance(field, QLineEdit)
    assert "not an amount" in field.accessibleDescription()
