"""Your machines on the desktop: paired by a code from the window, seen, paused, and let go."""

from __future__ import annotations

from pathlib import Path

from hands import push
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from rig_lab import machine, rig_command, start_rig

from openstall.app.demo.peers import DemoPeer
from openstall.ui.machines import Machine, MachineJob, Machines, Trouble
from openstall.ui.main_window import MainWindow
from openstall.ui.views.machines import MachinesPanel
from openstall.ui.views.sell import SellPage
from openstall.ui.widgets.text import Text

WAIT_MS = 60_000
TOWER = Machine(
    key="12D3KooWtower",
    name="tower",
    connected=True,
    state="open",
    words="Jobs may run.",
    tier="full",
    places=2,
    cpu="A processor",
    threads=32,
    load_percent=12,
    memory_bytes=64 * 2**30,
    memory_free_bytes=48 * 2**30,
    most_threads=24,
    most_memory_bytes=48 * 2**30,
    jobs=[MachineJob(order_id="a", title="Train", stage="Running, 3 of 9 steps")],
)
THIS = Machine(key="this", name="this machine", this=True, connected=True, state="open", most_threads=2)


def sell_page(qtbot: QtBot, window: MainWindow) -> SellPage:
    window.show_view("sell")
    shell = window.shell
    assert shell is not None
    qtbot.waitUntil(lambda: shell.page.is_loaded and not window.api.pending, timeout=WAIT_MS)
    assert isinstance(shell.page, SellPage)
    return shell.page


def said(panel: QWidget) -> str:
    return "\n".join(text.text() for text in panel.findChildren(Text) if not text.isHidden())


def test_what_is_said_of_each_machine(qtbot: QtBot, window: MainWindow) -> None:
    panel = MachinesPanel(sell_page(qtbot, window).desk)
    qtbot.addWidget(panel)
    assert "Only this machine works for this node." in said(panel)
    assert not panel.rig_ready
    trouble = Trouble(machine="attic", message="attic is not connected.")
    away = Machine(key="12D3KooWattic", name="attic", state="away", words="Not connected.")
    panel._show(Machines(items=[THIS, TOWER, away], troubles=[trouble]))
    words = said(panel)
    assert "attic: attic is not connected." in words
    assert "A processor · sandbox: full tier · 1 job of 2" in words
    assert "Train: Running, 3 of 9 steps" in words
    assert "12 % of 32 threads" in words
    assert panel.rig_ready
    assert panel.largest == (24, 48 * 2**30)
    names = {one.accessibleName() for one in panel.findChildren(QPushButton) if not one.isHidden()}
    assert {"Pause tower", "Unpair tower", "Unpair attic", "Pause all"} <= names
    assert not {"Pause attic", "Unpair This machine", "Pause This machine"} & names


def test_a_machine_is_paired_paused_and_let_go(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer, tmp_path: Path
) -> None:
    page = sell_page(qtbot, window)
    panel = page._machines
    push(qtbot, panel, "Pair another machine…")
    qtbot.waitUntil(panel._code.isVisible, timeout=WAIT_MS)
    push(qtbot, panel, "Copy the code")
    code = QApplication.clipboard().text()
    assert code.startswith("openstall:rig:")
    rig_command(tmp_path, "pair", "--name", "attic", "--code-file", "-", typed=code)
    rig_command(tmp_path, "rules", "--file", "-", typed="{}")
    rig = start_rig(tmp_path)
    try:
        qtbot.waitUntil(lambda: "Pause attic" in _buttons(panel), timeout=WAIT_MS)
        assert panel._coded.isHidden()
        qtbot.waitUntil(lambda: panel.rig_ready, timeout=WAIT_MS)
        push(qtbot, panel, "Pause attic")
        qtbot.waitUntil(lambda: "Resume attic" in _buttons(panel), timeout=WAIT_MS)
        assert machine(peer, "attic")["state"] == "paused"
        push(qtbot, panel, "Resume attic")
        qtbot.waitUntil(lambda: "Pause attic" in _buttons(panel), timeout=WAIT_MS)

        QTimer.singleShot(0, lambda: _answer(qtbot, "Keep it"))
        push(qtbot, panel, "Unpair attic")
        assert len(peer.get("/v1/compute/machines")["items"]) == 2
        QTimer.singleShot(0, lambda: _answer(qtbot, "Unpair it"))
        push(qtbot, panel, "Unpair attic")
        qtbot.waitUntil(lambda: not panel.has_rigs, timeout=WAIT_MS)
        assert rig.process.wait(60) == 1
        assert len(peer.get("/v1/compute/machines")["items"]) == 1
    finally:
        if rig.process.poll() is None:
            rig.kill()


def _buttons(panel: QWidget) -> set[str]:
    return {one.accessibleName() for one in panel.findChildren(QPushButton) if one.isVisible()}


def _answer(qtbot: QtBot, label: str) -> None:
    box = QApplication.activeModalWidget()
    if not isinstance(box, QMessageBox):
        QTimer.singleShot(20, lambda: _answer(qtbot, label))
        return
    (chosen,) = [one for one in box.buttons() if one.text() == label]
    qtbot.mouseClick(chosen, Qt.MouseButton.LeftButton)
