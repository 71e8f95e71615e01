"""Colours, sizes and type: the only module that names a colour.

Two palettes work without a platform theme (on bare X and in tests Qt reports none). Widgets ask for a
role; icons are tinted from the palette and follow it when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from openstall.ui.style_sheet import style_sheet

GRID = 8
"""The grid in device-independent pixels; every margin and gap is a multiple of it or its half."""
QR_INK, QR_PAPER = QColor("black"), QColor("white")
"""Of a QR picture in every theme: cameras read nothing else."""

Tone = Literal["text", "muted", "accent", "good", "care", "bad", "on_accent"]
Mark = tuple[str, str, Tone]
"""A word, its icon and its tone."""
Choice = Literal["light", "dark", "system"]


@dataclass(frozen=True, slots=True)
class Colours:
    """One set of colours; contrast of text on `window` and `surface` is at least 4.5 to 1."""

    window: str
    surface: str
    sunken: str
    line: str
    text: str
    muted: str
    accent: str
    accent_strong: str
    on_accent: str
    selection: str
    good: str
    care: str
    bad: str
    good_wash: str
    care_wash: str
    bad_wash: str
    accent_wash: str


LIGHT = Colours(
    window="#f4f6f7",
    surface="#ffffff",
    sunken="#eaeef0",
    line="#d5dce0",
    text="#17232b",
    muted="#52616b",
    accent="#0b6470",
    accent_strong="#084c55",
    on_accent="#ffffff",
    selection="#d8eaec",
    good="#1b6b43",
    care="#7d5200",
    bad="#a3261f",
    good_wash="#e3f2ea",
    care_wash="#faf0d9",
    bad_wash="#fae5e3",
    accent_wash="#e2f0f1",
)

DARK = Colours(
    window="#12181c",
    surface="#1a2227",
    sunken="#0e1316",
    line="#303b42",
    text="#e6ecef",
    muted="#9dacb5",
    accent="#6cc4cf",
    accent_strong="#8fd6df",
    on_accent="#08262b",
    selection="#224248",
    good="#7fcfa3",
    care="#e5bd6a",
    bad="#f0978f",
    good_wash="#17332a",
    care_wash="#382e17",
    bad_wash="#3d2120",
    accent_wash="#17343a",
)


class Theme(QObject):
    """The colours in use; emits `changed` when the reader chooses others.

    Made once by the composition root and handed to whoever paints. Main thread only.
    """

    changed = Signal()

    def __init__(self, app: QApplication, choice: Choice) -> None:
        super().__init__(app)
        self._app = app
        self._choice: Choice = choice
        app.setStyle("Fusion")
        app.setFont(_base_font(app.font()))
        app.styleHints().colorSchemeChanged.connect(self._system_changed)
        self._apply()

    @property
    def choice(self) -> Choice:
        """What the reader asked for: light, dark, or as the system says."""
        return self._choice

    @property
    def dark(self) -> bool:
        """Whether the dark colours are in use now."""
        if self._choice == "system":
            return self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return self._choice == "dark"

    @property
    def colours(self) -> Colours:
        """The colours in use now."""
        return DARK if self.dark else LIGHT

    def choose(self, choice: Choice) -> None:
        """Switch at once; every open widget follows."""
        self._choice = choice
        self._apply()

    def _system_changed(self) -> None:
        if self._choice == "system":
            self._apply()

    def _apply(self) -> None:
        colours = self.colours
        self._app.setPalette(palette(colours))
        self._app.setStyleSheet(style_sheet(colours, self._app.font().pointSizeF()))
        self._app.setProperty("openstall_colours", colours)
        self.changed.emit()


def current_colours() -> Colours:
    """The colours that the running application paints with; the light ones before a theme is set."""
    app = QApplication.instance()
    found = app.property("openstall_colours") if app is not None else None
    return found if isinstance(found, Colours) else LIGHT


def colour(tone: Tone) -> QColor:
    """The colour of a tone in the palette in use."""
    return QColor(getattr(current_colours(), tone))


def line_colour() -> QColor:
    """The colour of rules and frames."""
    return QColor(current_colours().line)


def sunken_colour() -> QColor:
    """The colour of what lies below a surface: the track of a gauge."""
    return QColor(current_colours().sunken)


def palette(colours: Colours) -> QPalette:
    """Qt's palette roles from our colours, so that every stock widget agrees with ours."""
    made = QPalette()
    role = QPalette.ColorRole
    for target, value in (
        (role.Window, colours.window),
        (role.WindowText, colours.text),
        (role.Base, colours.surface),
        (role.AlternateBase, colours.window),
        (role.Text, colours.text),
        (role.PlaceholderText, colours.muted),
        (role.Button, colours.surface),
        (role.ButtonText, colours.text),
        (role.BrightText, colours.bad),
        (role.Highlight, colours.selection),
        (role.HighlightedText, colours.text),
        (role.Link, colours.accent),
        (role.LinkVisited, colours.accent),
        (role.ToolTipBase, colours.surface),
        (role.ToolTipText, colours.text),
        (role.Mid, colours.line),
        (role.Midlight, colours.line),
        (role.Dark, colours.muted),
        (role.Light, colours.surface),
        (role.Shadow, colours.line),
        (role.Accent, colours.accent),
    ):
        made.setColor(target, QColor(value))
    for target in (role.WindowText, role.Text, role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, target, QColor(colours.muted))
    return made


def _base_font(system: QFont) -> QFont:
    font = QFont(system)
    font.setPointSizeF(max(10.0, system.pointSizeF()))
    return font


def tabular(font: QFont) -> QFont:
    """The same font with digits of one width, so that columns of amounts line up."""
    made = QFont(font)
    made.setFeature(QFont.Tag("tnum"), 1)
    return made


def fixed_font() -> QFont:
    """The system's font of one character width, for addresses, hashes and logs."""
    return QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
