"""The rail and the pages: makes a page when it is first asked for, and remembers the way back."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSettings, QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from openstall.ui import icons, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import Amount
from openstall.ui.widgets.layout import row, rule
from openstall.ui.widgets.marks import Badge, Picture
from openstall.ui.widgets.notices import Banner
from openstall.ui.widgets.text import Text

RAIL_WIDTH = 216
DEEPEST_WAY_BACK = 50
PREPARE_MS = 300
"""Pause between two sections that are made ahead."""
RAIL: tuple[tuple[str, str, str], ...] = (
    ("market", "&Market", "market"),
    ("requests", "&Requests", "send"),
    ("sell", "Sell &compute", "compute"),
    ("orders", "&Orders", "orders"),
    ("library", "&Library", "library"),
    ("wallet", "&Wallet", "wallet"),
    ("network", "&Network", "network"),
    ("settings", "S&ettings", "settings"),
)
_BELONGS = {
    "model": "market",
    "buy": "market",
    "rent": "market",
    "publish": "market",
    "order": "orders",
    "backup": "wallet",
    "exchange": "network",
    "house": "sell",
    "demand": "sell",
    "request": "requests",
    "bid": "requests",
    "enter": "requests",
    "ask": "requests",
    "developer": "requests",
}


_ALONE = ("publish", "backup", "exchange", "house", "demand", "ask", "developer")
"""Pages that are about nothing in particular."""


class Shell(QWidget):
    """Everything a reader with an open wallet sees."""

    shown = Signal(str)

    def __init__(self, desk: Desk, settings: QSettings) -> None:
        super().__init__()
        self.setObjectName("shell")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._desk = desk
        self._settings = settings
        self._kept: dict[str, Page] = {}
        self._way: list[str] = []
        self._spec = ""
        self.connection = Banner(closable=False)
        self._stack = QStackedWidget()
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(0)
        strip = QVBoxLayout()
        strip.setContentsMargins(3 * theme.GRID, 0, 3 * theme.GRID, 0)
        strip.addWidget(self.connection)
        right.addLayout(strip)
        right.addWidget(self._stack, 1)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        self._buttons: dict[str, QPushButton] = {}
        line.addWidget(self._rail())
        line.addLayout(right, 1)
        desk.go.connect(self.show_view)
        desk.back.connect(self.go_back)
        desk.api.offline.connect(self._went_offline)
        desk.api.online.connect(self.connection.hide)
        desk.api.trouble.connect(self._trouble)
        desk.status_changed.connect(self._show_foot)
        desk.wallet_changed.connect(self._show_foot)
        self._show_foot()
        self._idle = QTimer(self)
        self._idle.setInterval(PREPARE_MS)
        self._idle.timeout.connect(self._prepare_one)
        self._idle.start()

    @property
    def page(self) -> Page:
        """The page in view."""
        page = self._stack.currentWidget()
        if not isinstance(page, Page):
            raise TypeError("no page was shown yet")
        return page

    @property
    def spec(self) -> str:
        """The view shown, as `show_view` takes it."""
        return self._spec

    def show_view(self, spec: str) -> None:
        """Show a view by its name.

        Names: `market`, `market:compute`, `model:CID`, `buy:CID`, `rent:CID`, `publish`, `sell`, `house`,
        `demand`, `requests`, `request:CID`, `bid:CID`, `enter:CID`, `ask`, `developer`, `orders`,
        `orders:ID`, `library`,
        `library:ORDER`, `wallet`, `backup`, `network`, `network:PART`, `exchange` or `settings`.
        """
        if not self._known(spec):
            return
        if self._spec and spec != self._spec:
            self._way = [*self._way, self._spec][-DEEPEST_WAY_BACK:]
        self._show(spec)

    def go_back(self) -> None:
        """Show the view before this one; at the beginning the section it belongs to."""
        self._show(self._way.pop() if self._way else _section(self._spec))

    def _known(self, spec: str) -> bool:
        name, _, argument = spec.partition(":")
        return name in self._buttons or (name in _BELONGS and (bool(argument) or name in _ALONE))

    def _show(self, spec: str) -> None:
        name, _, argument = spec.partition(":")
        page = self._page(name, argument)
        old = self._stack.currentWidget()
        focus = QApplication.focusWidget()
        lost = (
            focus is None or (old is not None and old.isAncestorOf(focus)) or focus in self._buttons.values()
        )
        self._spec = spec
        if self._stack.indexOf(page) < 0:
            self._stack.addWidget(page)
        self._stack.setCurrentWidget(page)
        if old is not None and old is not page and old not in self._kept.values():
            self._stack.removeWidget(old)
            old.deleteLater()
        self._buttons[_section(spec)].setChecked(True)
        if lost:
            # Whoever works by keyboard must not lose the place with the page that went.
            self._buttons[_section(spec)].setFocus()
        self.shown.emit(spec)

    def _prepare_one(self) -> None:
        """Make one section ahead, while nobody waits: the first visit then only has to show it."""
        missing = next((name for name, _label, _icon in RAIL if name not in self._kept), None)
        if missing is None:
            self._idle.stop()
        elif self._spec:
            self._stack.addWidget(self._page(missing, ""))

    def _page(self, name: str, argument: str) -> Page:
        """The page of a view. The sections are kept; a page about one thing is made anew each time."""
        if argument and name in ("model", "buy", "rent", "orders", "request", "bid", "enter"):
            return self._page_about(name, argument)
        if name in _ALONE:
            return self._page_alone(name, argument)
        if name not in self._kept:
            self._kept[name] = self._makers()[name]()
        page = self._kept[name]
        choose = getattr(page, "choose", None)
        if argument and choose is not None:
            choose(argument)
        return page

    def _page_alone(self, name: str, argument: str) -> Page:
        from openstall.ui.views.ask import AskPage
        from openstall.ui.views.backup import BackupPage
        from openstall.ui.views.demand import DemandPage
        from openstall.ui.views.developer import DeveloperPage
        from openstall.ui.views.exchange import ExchangePage
        from openstall.ui.views.house import HousePage
        from openstall.ui.views.publish import PublishPage

        if name == "publish":
            made = PublishPage(self._desk)
            if argument:
                made.file.take(argument)
            return made
        makers: dict[str, Callable[[Desk], Page]] = {
            "ask": AskPage,
            "backup": BackupPage,
            "demand": DemandPage,
            "developer": DeveloperPage,
            "exchange": ExchangePage,
            "house": HousePage,
        }
        return makers[name](self._desk)

    def _page_about(self, name: str, argument: str) -> Page:
        """A page about one thing; imported only now, so that the window is on screen sooner."""
        from openstall.ui.views.bid import BidPage
        from openstall.ui.views.buy import BuyPage
        from openstall.ui.views.enter import EnterPage
        from openstall.ui.views.model import ModelPage
        from openstall.ui.views.order import OrderPage
        from openstall.ui.views.rent import RentPage
        from openstall.ui.views.request import RequestPage

        makers: dict[str, Callable[[Desk, str], Page]] = {
            "model": ModelPage,
            "buy": BuyPage,
            "rent": RentPage,
            "orders": OrderPage,
            "request": RequestPage,
            "bid": BidPage,
            "enter": EnterPage,
        }
        return makers[name](self._desk, argument)

    def _makers(self) -> dict[str, Callable[[], Page]]:
        """How each section is made; imported only now, so that the window is on screen sooner."""
        from openstall.ui.views.library import LibraryPage
        from openstall.ui.views.market import MarketPage
        from openstall.ui.views.network import NetworkPage
        from openstall.ui.views.orders import OrdersPage
        from openstall.ui.views.requests import RequestsPage
        from openstall.ui.views.sell import SellPage
        from openstall.ui.views.settings import SettingsPage
        from openstall.ui.views.wallet import WalletPage

        desk = self._desk
        return {
            "market": lambda: MarketPage(desk),
            "requests": lambda: RequestsPage(desk),
            "sell": lambda: SellPage(desk),
            "orders": lambda: OrdersPage(desk),
            "library": lambda: LibraryPage(desk),
            "wallet": lambda: WalletPage(desk),
            "network": lambda: NetworkPage(desk),
            "settings": lambda: SettingsPage(desk, self._settings),
        }

    def _rail(self) -> QWidget:
        rail = QWidget()
        rail.setObjectName("rail")
        rail.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        rail.setFixedWidth(RAIL_WIDTH)
        column = QVBoxLayout(rail)
        column.setContentsMargins(theme.GRID + 4, 3 * theme.GRID, theme.GRID + 4, 2 * theme.GRID)
        column.setSpacing(theme.GRID // 2)
        name = row(Picture("openstall", "accent", 26), Text("Openstall", "heading", wrap=False), 1)
        name.setContentsMargins(theme.GRID, 0, 0, 2 * theme.GRID)
        column.addLayout(name)
        for at, (key, label, icon) in enumerate(RAIL):
            entry = QPushButton(label)
            entry.setProperty("kind", "rail")
            entry.setCheckable(True)
            entry.setAutoExclusive(True)
            entry.setAutoDefault(False)
            entry.setIcon(icons.icon(icon, "accent"))
            entry.setIconSize(QSize(20, 20))
            entry.setAccessibleName(label.replace("&", ""))
            entry.setToolTip(f"Ctrl+{at + 1}")
            entry.setShortcut(f"Ctrl+{at + 1}")
            entry.clicked.connect(lambda _on, view=key: self.show_view(view))
            column.addWidget(entry)
            self._buttons[key] = entry
        column.addStretch(1)
        column.addWidget(rule())
        column.addLayout(self._foot())
        return rail

    def _foot(self) -> QVBoxLayout:
        self._who = Text("", "strong", wrap=False)
        self._group = Text("", "small", wrap=False)
        self._money = Badge()
        self._balance = Amount(0, "strong", symbol=self._desk.symbol)
        self._balance.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self._alone = Text("connected to nobody", "small", wrap=False)
        self._alone.setToolTip(words.tooltip("What you do is kept here, and sent when you are online."))
        self._alone.hide()
        foot = QVBoxLayout()
        foot.setContentsMargins(theme.GRID, theme.GRID, 0, 0)
        foot.setSpacing(theme.GRID // 2)
        for widget in (self._who, self._group, self._alone, self._balance):
            foot.addWidget(widget)
        foot.addWidget(self._money)
        return foot

    def _show_foot(self) -> None:
        status = self._desk.status
        room = RAIL_WIDTH - 5 * theme.GRID
        for label, text in (
            (self._who, status.identity.name),
            (self._group, f"in {status.group.name}" if status.group.name else ""),
        ):
            line = words.one_line(text, 80)
            label.say(label.fontMetrics().elidedText(line, Qt.TextElideMode.ElideRight, room))
            label.setToolTip(words.tooltip(line))
        self._alone.setVisible(status.group.state != "none" and not status.network.peers)
        wallet = self._desk.wallet
        self._balance.setVisible(wallet is not None)
        if wallet is not None:
            self._balance.show_micro(wallet.balance_micro)
        if self._desk.play_money:
            self._money.mark("play money", "coin", "care")
            self._money.setToolTip(words.tooltip(status.group.banner))
        self._money.setVisible(self._desk.play_money)

    def _went_offline(self) -> None:
        self.connection.say(
            "care",
            "The node on this computer does not answer.",
            "Nothing is lost. The window connects again by itself.",
        )

    def _trouble(self, failure: Failure) -> None:
        page = self._stack.currentWidget()
        if isinstance(page, Page):
            page.banner.fail(failure)


def _section(spec: str) -> str:
    name = spec.partition(":")[0]
    return _BELONGS.get(name, name)
