"""Settings: the theme, where everything lies, and the node."""

from __future__ import annotations

from PySide6.QtCore import QSettings, QUrl
from PySide6.QtGui import QDesktopServices

from openstall.ui import theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Nothing
from openstall.ui.views.page import Page
from openstall.ui.widgets.figures import When
from openstall.ui.widgets.inputs import Choice
from openstall.ui.widgets.layout import Facts, Panel, button, clear, column, focus, row
from openstall.ui.widgets.text import Text

CHOICES: tuple[tuple[theme.Choice, str], ...] = (
    ("system", "As the system says"),
    ("light", "Light"),
    ("dark", "Dark"),
)


class SettingsPage(Page):
    """What can be set, and the state of the node."""

    listens = frozenset({"status"})

    def __init__(self, desk: Desk, settings: QSettings) -> None:
        super().__init__(desk, "Settings")
        self._settings = settings
        look = Panel("Look")
        keys = [key for key, _ in CHOICES]
        self._theme = Choice([(label, key) for key, label in CHOICES], chosen=keys.index(desk.theme.choice))
        self._theme.setAccessibleName("Theme")
        self._theme.currentIndexChanged.connect(self._choose)
        look.body.addLayout(row(Text("Theme", "muted", wrap=False), self._theme, 1))
        node = Panel("The node on this computer")
        self._facts = Facts()
        node.body.addLayout(self._facts)
        self._ask = column()
        node.body.addLayout(self._ask)
        self._stop = button("&Stop the node…", self._consent, icon="stop")
        folder = button("&Open the folder", self._open, icon="folder")
        node.body.addLayout(row(folder, self._stop, 1))
        for panel in (look, node):
            panel.setMaximumWidth(760)
            self.body.addWidget(panel)
        self.body.addStretch(1)
        desk.status_changed.connect(self._show)

    def load(self) -> None:
        self.desk.refresh()
        self._show()
        self.mark_loaded()

    def _show(self) -> None:
        status = self.desk.status
        while self._facts.rowCount():
            self._facts.removeRow(0)
        self._facts.add("Version", status.version or "—")
        self._facts.add("Started", When(status.started_at, "body"))
        self._facts.add("Folder", words.one_line(status.home or str(self.desk.home), 300))
        self._facts.add("Peers", words.plural(status.network.peers, "peer"))
        self._facts.add("Compute agent", words.one_line(f"{status.agent.state} {status.agent.reason}", 300))
        self._facts.add("Selling", "yes" if status.selling else "no")

    def _choose(self) -> None:
        choice: theme.Choice = self._theme.currentData()
        self._settings.setValue("theme", choice)
        self.desk.theme.choose(choice)

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.desk.home)))

    def _consent(self) -> None:
        clear(self._ask)
        self._ask.addWidget(
            Text(
                "Orders wait and jobs on this machine end while the node is stopped. Clocks on the chain "
                "go on.",
                "strong",
            )
        )
        stop = button("Yes: stop the node", self._stop_node, icon="stop")
        leave = button("&Keep it running", lambda: clear(self._ask), kind="primary")
        self._ask.addLayout(row(stop, leave, 1))
        focus(leave)

    def _stop_node(self) -> None:
        clear(self._ask)
        self.desk.api.post(
            "/v1/node/stop",
            {},
            Nothing,
            lambda _: self.desk.go.emit("stopped"),
            owner=self,
            failed=self.banner.fail,
        )
