"""The files on the Network page, in the real window of a real node."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer
from openstall.ui.blobs import Blame, Blob, Blobs, Ipfs
from openstall.ui.main_window import MainWindow
from openstall.ui.views.blobs import BlobsPanel
from openstall.ui.views.network import NetworkPage
from openstall.ui.views.network_kept import FilesSection

WAIT_MS = 30_000
MIB, GIB = 1024**2, 1024**3


def files(qtbot: QtBot, window: MainWindow) -> BlobsPanel:
    """The panel in the window, shown."""
    window.show_view("network")
    assert window.shell is not None
    page = window.shell.page
    assert isinstance(page, NetworkPage)
    page.choose(FilesSection.name)
    qtbot.waitUntil(lambda: page.is_loaded, timeout=WAIT_MS)
    section = page.section
    assert isinstance(section, FilesSection)
    return section.files


def test_limits_are_set_in_the_window_and_hold(qtbot: QtBot, window: MainWindow, peer: DemoPeer) -> None:
    panel = files(qtbot, window)
    panel.up.setValue(7)
    panel.disk.setValue(3)
    panel.share.setChecked(True)
    apply = next(one for one in panel.findChildren(QPushButton) if one.text() == "&Apply the limits")
    qtbot.keyClick(apply, Qt.Key.Key_Space)
    wanted = {"up_per_s": 7 * MIB, "down_per_s": 0, "quota_bytes": 3 * GIB, "share": True}
    qtbot.waitUntil(lambda: peer.get("/v1/blobs")["limits"] == wanted, timeout=WAIT_MS)
    peer.post("/v1/blobs/limits", up_per_s=0, quota_bytes=0, share=False)
    qtbot.waitUntil(lambda: panel.up.value() == 0 and not panel.share.isChecked(), timeout=WAIT_MS)


def test_a_file_says_why_it_stays_and_who_did_wrong(qtbot: QtBot, window: MainWindow) -> None:
    panel = files(qtbot, window)
    pinned = Blob(cid="bafkr4i" + "a" * 52, size=5, kept=["pinned"], why="pinned by you", sealed=True)
    blame = Blame(source="mirror.example", reason="web_no_ranges", at=1_700_000_000)
    panel._show(Blobs(items=[pinned], used_bytes=5, blamed=[blame]))
    assert not panel._pin.isEnabled()
    panel.table.choose(pinned.cid)
    assert panel._pin.isEnabled()
    assert panel._pin.text() == "Un&pin"
    assert not panel._free.isEnabled(), "nothing may go"
    assert "cannot send parts of a file" in panel._blamed.text()


def test_ipfs_is_named_in_the_window_and_only_packages_can_be_pinned(
    qtbot: QtBot, window: MainWindow, peer: DemoPeer
) -> None:
    panel = files(qtbot, window)
    part = panel.ipfs
    package = Blob(cid="bafkr4i" + "a" * 52, size=5, sealed=True)
    panel._show(Blobs(items=[package, Blob(cid="bafkr4i" + "b" * 52, size=5)]))
    panel.table.choose(package.cid)
    assert not part._pin.isEnabled(), "no node is named"
    part.gateway.setText("http://10.0.0.1:8080")
    qtbot.keyClick(part._apply, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "not the address of an IPFS gateway" in panel._told.text(), timeout=WAIT_MS)
    part.gateway.setText("http://localhost:8080/")
    part.node.setText("http://127.0.0.1:1")
    qtbot.keyClick(part._apply, Qt.Key.Key_Space)
    wanted = {"gateway": "http://127.0.0.1:8080", "node": "http://127.0.0.1:1", "pins": []}
    qtbot.waitUntil(lambda: peer.get("/v1/blobs")["ipfs"] == wanted, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: part.gateway.text() == wanted["gateway"], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.api.pending, timeout=WAIT_MS)
    found = Ipfs(gateway="http://127.0.0.1:8080", node="http://127.0.0.1:1")
    pinned = Blob(cid="bafkr4i" + "c" * 52, size=5, sealed=True, ipfs="bafybei" + "a" * 52)
    others = [package, Blob(cid="bafkr4i" + "b" * 52, size=5)]
    panel._show(Blobs(items=[pinned, *others], ipfs=found))
    for blob, able, words in (
        (package, True, "Pin in"),
        (others[1], False, "Pin in"),
        (pinned, True, "Unpin from"),
    ):
        panel.table.choose(blob.cid)
        assert part._pin.isEnabled() is able, blob.cid
        assert part._pin.text().startswith(words)
    panel.table.choose(package.cid)
    qtbot.keyClick(part._pin, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "not in this computer" in panel._told.text(), timeout=WAIT_MS)
    peer.post("/v1/blobs/ipfs", gateway="", node="")
