"""The network: who is connected, what is kept here, who was refused, and the group. Each tab is a section."""

from __future__ import annotations

from PySide6.QtWidgets import QTabWidget

from openstall.ui.desk import Desk
from openstall.ui.views.network_catalogue import CatalogueSection
from openstall.ui.views.network_group import GroupSection
from openstall.ui.views.network_kept import FilesSection, LettersSection
from openstall.ui.views.network_peers import PeersSection
from openstall.ui.views.network_reach import ReachSection
from openstall.ui.views.network_refused import RefusedSection
from openstall.ui.views.network_section import Section
from openstall.ui.views.page import Page

SECTIONS: tuple[type[Section], ...] = (
    PeersSection,
    ReachSection,
    LettersSection,
    CatalogueSection,
    FilesSection,
    RefusedSection,
    GroupSection,
)
"""In the order of the tabs."""


class NetworkPage(Page):
    """The chosen section loads; the others when they are looked at."""

    listens = frozenset[str]().union(*(one.listens for one in SECTIONS))

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, "Network", "Your node speaks to other nodes directly; no server stands between."
        )
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for part in (self.tabs, self.tabs.tabBar()):
            part.setAccessibleName("Parts of the network page")
        self.sections = [kind(desk, self.banner) for kind in SECTIONS]
        for one in self.sections:
            self.tabs.addTab(one, one.title)
            one.loaded.connect(self.mark_loaded)
        self.tabs.currentChanged.connect(self._turned)
        self.body.addWidget(self.tabs, 1)
        self.body.setStretch(0, 1)

    @property
    def section(self) -> Section:
        """What is looked at."""
        return self.sections[self.tabs.currentIndex()]

    def choose(self, name: str) -> None:
        """Look at another section, by its name in addresses of views."""
        found = [at for at, one in enumerate(SECTIONS) if one.name == name]
        self.tabs.setCurrentIndex(found[0] if found else 0)

    def _turned(self, _index: int) -> None:
        self.is_loaded = False
        if self.isVisible():
            self.load()

    def load(self) -> None:
        self.section.load()

    def on_event(self, name: str, data: object) -> None:  # noqa: ARG002 - sections ask for all they show
        if name in self.section.listens:
            self.load_soon()
