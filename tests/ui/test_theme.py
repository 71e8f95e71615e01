from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QPushButton

import openstall.ui
from openstall.ui import icons, theme
from openstall.ui.theme import DARK, LIGHT, Colours, Theme

UI = Path(openstall.ui.__file__ or "").parent


def _luminance(colour: str) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    ink = QColor(colour)
    return 0.2126 * linear(ink.redF()) + 0.7152 * linear(ink.greenF()) + 0.0722 * linear(ink.blueF())


def contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_can_be_read(colours: Colours) -> None:
    pairs = [
        (ink, ground)
        for ink in ("text", "muted", "accent", "good", "care", "bad")
        for ground in ("window", "surface")
    ]
    pairs += [(tone, f"{tone}_wash") for tone in ("good", "care", "bad", "accent")]
    pairs += [
        ("on_accent", "accent"),
        ("text", "selection"),
        ("muted", "sunken"),
        ("accent_strong", "accent_wash"),
    ]
    for ink, ground in pairs:
        assert contrast(getattr(colours, ink), getattr(colours, ground)) >= 4.5, (ink, ground)


def test_no_module_but_the_theme_names_a_colour() -> None:
    colour = re.compile(r"#[0-9a-fA-F]{3,8}\b|QColor\(\s*\d|Qt\.GlobalColor\.(?!transparent)")
    for path in UI.rglob("*.py"):
        if path.name != "theme.py":
            assert not colour.search(path.read_text()), path


def test_both_palettes_name_the_same_roles() -> None:
    assert [field.name for field in fields(LIGHT)] == [field.name for field in fields(DARK)]


def test_every_icon_is_drawn_in_the_ink_alone(app_theme: Theme) -> None:
    for name in icons.names():
        source = (Path(icons.__file__).parent.parent / "resources" / "icons" / f"{name}.svg").read_text()
        assert "currentColor" in source
        assert "#" not in source
        image = icons.pixmap(name, "accent", 24, 2.0).toImage()
        inked = {
            image.pixelColor(x, y).name()
            for x in range(48)
            for y in range(48)
            if image.pixelColor(x, y).alpha() == 255
        }
        assert inked == {theme.colour("accent").name()}, name


def test_an_icon_follows_the_theme(app_theme: Theme) -> None:
    def ink() -> set[str]:
        image = made.pixmap(24, 24).toImage()
        return {
            image.pixelColor(x, y).name()
            for x in range(24)
            for y in range(24)
            if image.pixelColor(x, y).alpha() == 255
        }

    made = icons.icon("wallet")
    app_theme.choose("light")
    light = ink()
    app_theme.choose("dark")
    assert light != ink()


def test_a_theme_is_chosen_without_a_platform_theme(app_theme: Theme, qapp: QApplication) -> None:
    app_theme.choose("dark")
    assert app_theme.dark
    assert qapp.palette().window().color().name() == DARK.window
    app_theme.choose("system")
    assert app_theme.dark == (qapp.styleHints().colorScheme() == Qt.ColorScheme.Dark)
    app_theme.choose("light")
    assert qapp.palette().window().color().name() == LIGHT.window


def test_icons_outlive_their_python_names(app_theme: Theme, qapp: QApplication) -> None:
    buttons = [QPushButton(icons.icon(name), name) for name in icons.names() for _ in range(5)]
    for button in buttons:
        button.resize(80, 30)
        assert not button.grab().isNull()
