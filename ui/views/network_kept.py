"""What is kept on this computer: letters and what waits to be sent; files."""

from __future__ import annotations

from openstall.ui.desk import Desk
from openstall.ui.views.blobs import BlobsPanel
from openstall.ui.views.network_section import Section
from openstall.ui.views.outbox import OutboxPanel
from openstall.ui.widgets.notices import Banner


class LettersSection(Section):
    """What waits to be sent, and who keeps letters."""

    title = "Letters"
    name = "letters"
    listens = frozenset({"mail"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self.outbox = OutboxPanel(desk, banner)
        self.body.addWidget(self.outbox, 1)

    def load(self) -> None:
        self.outbox.load()
        self.loaded.emit()


class FilesSection(Section):
    """Packages and files of jobs."""

    title = "Files"
    name = "files"
    listens = frozenset({"blobs"})

    def __init__(self, desk: Desk, banner: Banner) -> None:
        super().__init__(desk, banner)
        self.files = BlobsPanel(desk)
        self.body.addWidget(self.files, 1)

    def load(self) -> None:
        self.files.load()
        self.loaded.emit()
