"""Starts the desktop: `openstall-gui [--home DIR] [--theme light|dark|system]`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from PySide6.QtCore import QSettings, QStandardPaths
from PySide6.QtWidgets import QApplication

from openstall.ui.instance import SingleInstance
from openstall.ui.main_window import MainWindow
from openstall.ui.theme import Choice, Theme


def default_home() -> Path:
    """The user's data folder for Openstall; the node's own default is the same."""
    return (
        Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation))
        / "openstall"
    )


def settings_of(home: Path) -> QSettings:
    """Where the window keeps its own settings: one file per home folder, no secrets."""
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "openstall", f"desktop-{name}")


def theme_choice(asked: str | None, settings: QSettings) -> Choice:
    """The theme from the command line, else as it was set last."""
    value = asked or settings.value("theme", "system")
    if value == "dark":
        return "dark"
    return "light" if value == "light" else "system"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="openstall-gui", description="The Openstall desktop.")
    made.add_argument("--home", type=Path, help="folder with the keys, the store and the node's files")
    made.add_argument("--theme", choices=("light", "dark", "system"))
    made.add_argument("--view", default="market", help="the first view, for example orders or orders:ID")
    return made


def main(argv: list[str] | None = None) -> int:
    """Open the window; returns the exit status."""
    options = parser().parse_args(argv)
    app = QApplication(sys.argv[:1])
    app.setApplicationName("Openstall")
    app.setDesktopFileName("openstall")
    home: Path = options.home or default_home()
    instance = SingleInstance(home)
    if not instance.claim():
        return 0
    settings = settings_of(home)
    theme = Theme(app, theme_choice(options.theme, settings))
    window = MainWindow(home=home, theme=theme, settings=settings)
    instance.asked_to_show.connect(window.showNormal)
    instance.asked_to_show.connect(window.raise_)
    instance.asked_to_show.connect(window.activateWindow)
    window.show_view(options.view)
    window.show()
    window.begin()
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
