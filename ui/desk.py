"""What every page is handed: the node's API, its long actions, the latest status, a way to go elsewhere."""

from __future__ import annotations

from collections.abc import Callable
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
        self.wallet: WalletBook | None = None
        """None until the node has told it: an unknown balance is not shown as zero."""
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
        self.api.get("/v1/status", Status, self._refreshed, owner=self, failed=self._quiet)

    def ask_wallet(
        self, then: Callable[[WalletBook], None], *, owner: QObject, failed: Callable[[Failure], None]
    ) -> None:
        """Fetch the wallet as it is now, for a page that decides by it; everybody else hears of it too."""

        def known(wallet: WalletBook) -> None:
            self.wallet = wallet
            self.wallet_changed.emit()
            then(wallet)

        self.api.get("/v1/wallet", WalletBook, known, owner=owner, failed=failed)

    @property
    def symbol(self) -> str:
        """The word for the money in use."""
        return self.wallet.symbol if self.wallet is not None and self.wallet.symbol else "credits"

    @property
    def play_money(self) -> bool:
        """Whether the group chain's credits are in use."""
        return self.status.group.state in ("hosting", "member")

    def _refreshed(self, status: Status) -> None:
        self.take_status(status)
        if self.status.identity.state == "open" and self.status.group.state != "none":
            self.ask_wallet(lambda _wallet: None, owner=self, failed=self._quiet)

    def _quiet(self, failure: Failure) -> None:
        """The page in view reports failures; the background refresh tries again with the next event."""

    def _on_event(self, name: str, data: object) -> None:
        if name in ("status", "wallet", "peers", "order"):
            self._burst.start()
        self.happened.emit(name, data)
