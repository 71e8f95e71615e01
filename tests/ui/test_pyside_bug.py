from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Signal


class Bell(QObject):
    rang = Signal()


def test_emitting_a_signal_keeps_the_references_of_true() -> None:
    """PySide6 6.12.0 takes one reference of True with each emit and aborts on Python 3.11."""
    bell = Bell()
    before = sys.getrefcount(True)
    for _ in range(2000):
        bell.rang.emit()
    assert abs(sys.getrefcount(True) - before) < 200
