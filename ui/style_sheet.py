"""The style sheet: how Qt's widgets are drawn from a set of colours. It names roles, never colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openstall.ui.theme import Colours


def style_sheet(c: Colours, points: float) -> str:
    """The whole sheet for colours `c` and a base type size in points."""
    return _frames(c) + _type(c, points) + _controls(c) + _tables(c)


def _frames(c: Colours) -> str:
    return f"""
QWidget#page, QWidget#shell, QScrollArea#page_scroll, QWidget#page_body {{ background: {c.window}; }}
QWidget#rail {{ background: {c.surface}; border-right: 1px solid {c.line}; }}
QFrame#panel {{ background: {c.surface}; border: 1px solid {c.line}; border-radius: 8px; }}
QFrame#rule {{ background: {c.line}; border: none; }}
QFrame#drop {{ background: {c.window}; border: 1px dashed {c.muted}; border-radius: 8px; }}
QFrame#drop[over="true"] {{ background: {c.accent_wash}; border-color: {c.accent}; }}
QFrame#banner {{ border-radius: 8px; border: 1px solid {c.line}; background: {c.surface}; }}
QFrame#banner[tone="bad"] {{ background: {c.bad_wash}; border-color: {c.bad}; }}
QFrame#banner[tone="care"] {{ background: {c.care_wash}; border-color: {c.care}; }}
QFrame#banner[tone="good"] {{ background: {c.good_wash}; border-color: {c.good}; }}
QFrame#banner[tone="accent"] {{ background: {c.accent_wash}; border-color: {c.accent}; }}
QFrame#badge {{ border-radius: 8px; border: none; background: {c.sunken}; }}
QFrame#badge[tone="good"] {{ background: {c.good_wash}; }}
QFrame#badge[tone="care"] {{ background: {c.care_wash}; }}
QFrame#badge[tone="bad"] {{ background: {c.bad_wash}; }}
QFrame#badge[tone="accent"] {{ background: {c.accent_wash}; }}
QFrame#word {{ background: {c.window}; border: 1px solid {c.line}; border-radius: 6px; }}
QToolTip {{ background: {c.surface}; color: {c.text}; border: 1px solid {c.line}; padding: 4px; }}
"""


def _type(c: Colours, points: float) -> str:
    def pt(factor: float) -> str:
        return f"{points * factor:.2f}pt"

    return f"""
QLabel {{ background: transparent; }}
QLabel[kind="figure"] {{ font-size: {pt(2.0)}; font-weight: 600; }}
QLabel[kind="title"] {{ font-size: {pt(1.6)}; font-weight: 600; }}
QLabel[kind="heading"] {{ font-size: {pt(1.15)}; font-weight: 600; }}
QLabel[kind="strong"] {{ font-weight: 600; }}
QLabel[kind="small"] {{ font-size: {pt(0.9)}; color: {c.muted}; }}
QLabel[kind="muted"] {{ color: {c.muted}; }}
QLabel[tone="muted"] {{ color: {c.muted}; }}
QLabel[tone="accent"] {{ color: {c.accent}; }}
QLabel[tone="good"] {{ color: {c.good}; }}
QLabel[tone="care"] {{ color: {c.care}; }}
QLabel[tone="bad"] {{ color: {c.bad}; }}
"""


def _controls(c: Colours) -> str:
    return f"""
QPushButton {{ background: {c.surface}; color: {c.text}; border: 1px solid {c.line};
  border-radius: 6px; padding: 6px 14px; min-height: 20px; }}
QPushButton:hover {{ border-color: {c.accent}; }}
QPushButton:pressed {{ background: {c.sunken}; }}
QPushButton:focus {{ border: 2px solid {c.accent}; padding: 5px 13px; }}
QPushButton:disabled {{ color: {c.muted}; background: {c.window}; }}
QPushButton[kind="primary"] {{ background: {c.accent}; color: {c.on_accent}; border-color: {c.accent};
  font-weight: 600; }}
QPushButton[kind="primary"]:hover {{ background: {c.accent_strong}; }}
QPushButton[kind="primary"]:focus {{ border: 2px solid {c.text}; }}
QPushButton[kind="primary"]:disabled {{ background: {c.sunken}; color: {c.muted}; border-color: {c.line}; }}
QPushButton[kind="quiet"] {{ background: transparent; border-color: transparent; padding: 6px 8px; }}
QPushButton[kind="quiet"]:hover {{ background: {c.sunken}; }}
QPushButton[kind="quiet"]:focus {{ border: 2px solid {c.accent}; padding: 5px 7px; }}
QPushButton[kind="pick"] {{ text-align: left; padding: 6px 10px; }}
QPushButton[kind="pick"]:focus {{ padding: 5px 9px; }}
QPushButton[kind="tab"] {{ background: transparent; border: none; border-bottom: 2px solid transparent;
  border-radius: 0; padding: 6px 4px; color: {c.muted}; }}
QPushButton[kind="tab"]:checked {{ border-bottom: 2px solid {c.accent}; color: {c.accent}; }}
QPushButton[kind="tiny"] {{ background: transparent; border: 2px solid transparent; border-radius: 4px;
  padding: 1px 3px; min-height: 16px; }}
QPushButton[kind="tiny"]:hover {{ background: {c.sunken}; }}
QPushButton[kind="tiny"]:focus {{ border-color: {c.accent}; }}
QPushButton[kind="tab"]:focus {{ background: {c.accent_wash}; }}
QTabWidget::pane {{ border: none; }}
QTabBar {{ background: transparent; }}
QTabBar::tab {{ background: transparent; border: none; border-bottom: 2px solid transparent;
  padding: 6px 4px; margin-right: 16px; color: {c.muted}; }}
QTabBar::tab:selected {{ border-bottom: 2px solid {c.accent}; color: {c.accent}; }}
QTabBar::tab:focus {{ background: {c.accent_wash}; }}
QPushButton[kind="rail"] {{ background: transparent; border: 2px solid transparent; border-radius: 6px;
  padding: 7px 10px; text-align: left; color: {c.text}; }}
QPushButton[kind="rail"]:hover {{ background: {c.window}; }}
QPushButton[kind="rail"]:checked {{ background: {c.accent_wash}; color: {c.accent_strong};
  font-weight: 600; }}
QPushButton[kind="rail"]:focus {{ border-color: {c.accent}; }}
QPushButton[kind="choice"] {{ text-align: left; padding: 12px 14px; border-radius: 8px; min-height: 54px; }}
QPushButton[kind="choice"]:checked {{ border: 2px solid {c.accent}; background: {c.accent_wash};
  padding: 11px 13px; }}
QLineEdit, QPlainTextEdit, QComboBox {{ background: {c.surface}; color: {c.text};
  border: 1px solid {c.line}; border-radius: 6px; padding: 5px 8px; min-height: 20px;
  selection-background-color: {c.accent}; selection-color: {c.on_accent}; }}
QLineEdit:focus, QPlainTextEdit:focus, QComboBox:focus {{
  border: 2px solid {c.accent}; padding: 4px 7px; }}
QLineEdit[wrong="true"] {{ border: 2px solid {c.bad}; padding: 4px 7px; }}
QLineEdit:disabled, QComboBox:disabled {{ background: {c.window}; color: {c.muted}; }}
QComboBox {{ padding-right: 28px; }}
QComboBox:focus {{ padding-right: 27px; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox::down-arrow {{ image: none; }}
QComboBox QAbstractItemView {{ background: {c.surface}; border: 1px solid {c.line};
  selection-background-color: {c.selection}; selection-color: {c.text}; }}
QComboBox QLineEdit, QComboBox QLineEdit:focus {{
  border: none; padding: 0; margin: 0; min-height: 0; background: transparent; }}
QCheckBox, QRadioButton {{ spacing: 8px; padding: 3px; border: 1px solid transparent; border-radius: 4px; }}
QCheckBox:focus, QRadioButton:focus {{ border-color: {c.accent}; }}
QCheckBox::indicator {{ width: 16px; height: 16px; border: 1px solid {c.muted}; border-radius: 3px;
  background: {c.surface}; }}
QCheckBox::indicator:checked {{ background: {c.accent}; border-color: {c.accent}; }}
QProgressBar {{ background: {c.sunken}; border: none; border-radius: 4px; max-height: 8px; min-height: 8px;
  text-align: center; }}
QProgressBar::chunk {{ background: {c.accent}; border-radius: 4px; }}
QProgressBar#gauge {{ max-height: 18px; min-height: 18px; background: transparent; }}
QProgressBar[tone="care"]::chunk {{ background: {c.care}; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
QScrollBar::handle {{ background: {c.line}; border-radius: 5px; min-height: 32px; min-width: 32px; }}
QScrollBar::handle:hover {{ background: {c.muted}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
  background: transparent; border: none; width: 0; height: 0; }}
QSplitter::handle {{ background: transparent; }}
"""


def _tables(c: Colours) -> str:
    return f"""
QTableView, QListView {{ background: {c.surface}; border: none; outline: 0; gridline-color: transparent;
  selection-background-color: {c.selection}; selection-color: {c.text}; }}
QTableView::item {{ border-bottom: 1px solid {c.line}; padding: 4px 8px; }}
QTableView::item:selected {{ background: {c.selection}; color: {c.text}; }}
QTableView:focus {{ border: 1px solid {c.accent}; }}
QHeaderView {{ background: {c.surface}; }}
QHeaderView::section {{ background: {c.surface}; color: {c.muted}; border: none;
  border-bottom: 1px solid {c.line};
  padding: 6px 8px; font-weight: 600; }}
QHeaderView::up-arrow, QHeaderView::down-arrow {{ width: 9px; height: 9px; subcontrol-origin: padding;
  subcontrol-position: top center; }}
"""
