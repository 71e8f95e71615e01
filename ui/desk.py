"""What every page is handed: the node's API, its long actions, the latest status, a way to go elsewhere."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from openstall.ui.api import ApiClient
from openstall.ui.documents import Failure, Status, WalletBook
from openstall.ui.operations import Operations
from openstall.ui.theme import Theme

BURST_MS = 200


class Desk(QObject):
    """Joins the collaborators of the window; keeps the node's status current. Main thread only."""

    status_changed = Signal()
    wallet_changed = Signal()
    happened = Signal(str, object)
    go = Signal(str)
    """A page asks to show another view, such as `orders:ID`."""
    back = Signal()

    def __init__(self, *, api: ApiClient, operations: Operations, theme: Theme, home: Path) -> None:
        super().__init__(api)
        self.api = api
        self.operations = operations
        self.theme = theme
        self.home = home
        self.status = Status()
        self.wallet = WalletBook()
        self._burst = QTimer(self)
        self._burst.setSingleShot(True)
        self._burst.setInterval(BURST_MS)
        self._burst.timeout.connect(self.refresh)
        api.happened.connect(self._on_event)
        api.online.connect(self.refresh)

    def take_status(self, status: Status) -> None:
        """Use a status that was just fetched."""
        self.status = status
        self.status_changed.emit()

    def refresh(self) -> None:
        """Fetch status and balance again."""
        self.api.get("/v1/status", Status, self.take_status, owner=self, failed=self._quiet)
        if self.status.identity.state == "open" and self.status.group.state != "none":
            self.api.get("/v1/wallet", WalletBook, self._take_wallet, owner=self, failed=self._quiet)

    @property
    def symbol(self) -> str:
        """The word for the money in use."""
        return self.wallet.symbol or "credits"

    @property
    def play_money(self) -> bool:
        """Whether the group chain's credits are in use."""
        return self.status.group.state in ("hosting", "member")

    def _take_wallet(self, wallet: WalletBook) -> None:
        self.wallet = wallet
        self.wallet_changed.emit()

    def _quiet(self, failure: Failure) -> None:
        """The page in view reports failures; the background refresh tries again with the next event."""

    def _on_event(self, name: str, data: object) -> None:
        if name in ("status", "wallet", "peers", "order"):
            self._burst.start()
        self.happened.emit(name, data)
