"""The main window: waits for the node, then shows the first run, the lock or the pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QMainWindow, QStackedWidget, QWidget

from openstall.ui import icons
from openstall.ui.api import ApiClient, Endpoint
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing, Status
from openstall.ui.node_process import NodeProcess
from openstall.ui.operations import Operations
from openstall.ui.theme import Theme
from openstall.ui.views.start import StartPage

if TYPE_CHECKING:
    from openstall.ui.shell import Shell

WIDTH, HEIGHT = 1280, 800


class MainWindow(QMainWindow):
    """One window on one home folder.

    `show_view("orders")` and `open_order(id)` move it by program; `settled` says that the view in
    front has everything it shows.
    """

    arrived = Signal()
    """The pages are open: the node runs, the wallet is open, a group is joined."""
    settled = Signal()

    def __init__(self, *, home: Path, theme: Theme, settings: QSettings) -> None:
        super().__init__()
        self.setWindowTitle("Openstall")
        self.setWindowIcon(icons.icon("openstall", "accent"))
        self.resize(WIDTH, HEIGHT)
        self._settings = settings
        self._first_view = "market"
        self._asked_about_selling = False
        self.api = ApiClient(self)
        self.operations = Operations(self.api)
        self.desk = Desk(api=self.api, operations=self.operations, theme=theme, home=home)
        self.node = NodeProcess(home, self.api)
        self.shell: Shell | None = None
        self.start_page = StartPage()
        self._stack = QStackedWidget()
        self._stack.addWidget(self.start_page)
        self.setCentralWidget(self._stack)
        self.start_page.again.connect(self.begin)
        self.node.waiting.connect(self.start_page.wait)
        self.node.failed.connect(self.start_page.fail)
        self.node.ready.connect(self._node_ready)
        self.desk.go.connect(self._go)
        self.api.idle.connect(self._maybe_settled)
        geometry = settings.value("geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)

    def begin(self) -> None:
        """Find or start the node."""
        self._stack.setCurrentWidget(self.start_page)
        self.node.start()

    @property
    def view(self) -> QWidget:
        """What fills the window: a start page, the first run, the lock, or the shell."""
        return self._stack.currentWidget() or self.start_page

    def show_view(self, spec: str) -> None:
        """Show a view, now or as soon as the pages are open; see `Shell.show_view`."""
        if self.shell is None:
            self._first_view = spec
        else:
            self.shell.show_view(spec)

    def open_order(self, order_id: str) -> None:
        """Show one order."""
        self.show_view(f"orders:{order_id}")

    def _node_ready(self, endpoint: Endpoint, status: Status) -> None:
        self.api.attach(endpoint, self.node.endpoint)
        self.desk.take_status(status)
        self._show_what_fits()

    def _show_what_fits(self) -> None:
        status = self.desk.status
        if status.identity.state == "locked":
            self._show_lock()
        elif status.identity.state == "none" or status.group.state == "none":
            self._show_first_run()
        else:
            self._show_shell(self._first_view)

    def _show_first_run(self) -> None:
        from openstall.ui.views.first_run import FirstRun

        page = FirstRun(self.desk, self._settings)
        page.finished.connect(self._show_shell)
        self._replace(page)
        page.resume()

    def _show_lock(self) -> None:
        from openstall.ui.views.start import UnlockPage

        page = UnlockPage(self.desk)
        page.passed.connect(self._unlocked)
        self._replace(page)
        page.step.field.setFocus()

    def _unlocked(self) -> None:
        def known(status: Status) -> None:
            self.desk.take_status(status)
            self._show_what_fits()

        self.api.get("/v1/status", Status, known, owner=self)

    def _show_shell(self, view: str) -> None:
        if self.shell is None:
            # Imported now: the window is on screen long before the pages are needed.
            from openstall.ui.shell import Shell

            self.shell = Shell(self.desk, self._settings)
            self._replace(self.shell)
        self.desk.refresh()
        self._stack.setCurrentWidget(self.shell)
        self.shell.show_view(view)
        self.arrived.emit()

    def _replace(self, page: QWidget) -> None:
        for old in [self._stack.widget(at) for at in range(self._stack.count())]:
            if old is not None and old is not self.start_page and old is not page:
                self._stack.removeWidget(old)
                old.deleteLater()
        self._stack.addWidget(page)
        self._stack.setCurrentWidget(page)

    def _go(self, spec: str) -> None:
        if spec == "stopped":
            self.api.close()
            self.start_page.stopped()
            self._stack.setCurrentWidget(self.start_page)

    def _maybe_settled(self) -> None:
        shell = self.shell
        if shell is None or self._stack.currentWidget() is not shell or shell.page.is_loaded:
            self.settled.emit()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.desk.status.selling and not self._asked_about_selling and not self._may_close():
            event.ignore()
            return
        self._settings.setValue("geometry", self.saveGeometry())
        self.api.close()
        super().closeEvent(event)

    def _close_now(self, _answer: Nothing | Failure) -> None:
        self.close()

    def _may_close(self) -> bool:
        """Ask once what becomes of the sale; False keeps the window open."""
        from PySide6.QtWidgets import QMessageBox

        box = QMessageBox(self)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Openstall")
        box.setText("This computer is for rent.")
        box.setInformativeText(
            "Keep selling without the window, or stop? Orders and money are safe either way."
        )
        keep = box.addButton("&Keep selling", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("&Stop selling", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("&Do not close", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.exec()
        self._asked_about_selling = True
        if box.clickedButton() is keep:
            return True
        if box.clickedButton() is stop:
            self.api.post(
                "/v1/compute/stop", {}, Nothing, self._close_now, owner=self, failed=self._close_now
            )
            return False
        self._asked_about_selling = False
        return False
