"""The files that this node keeps, as a panel of the Network page: why each stays, what may go, the limits."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QFileDialog, QWidget

from openstall.ui import theme, words
from openstall.ui.blobs import Blob, Blobs, Collected, Limits
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.views.ipfs import IpfsPart
from openstall.ui.widgets.inputs import NumberField, Tick
from openstall.ui.widgets.layout import Panel, button, column, row
from openstall.ui.widgets.notices import EmptyState
from openstall.ui.widgets.table import Column, RowTable
from openstall.ui.widgets.text import Text

MIB, GIB = 1024**2, 1024**3
_REASONS = {
    "corrupt_chunk": "sent wrong data",
    "wrong_manifest": "sent another file",
    "silent_source": "stopped answering",
    "slow_source": "was much slower than others",
    "web_no_ranges": "cannot send parts of a file",
    "web_missing": "does not have the file",
    "web_wrong_part": "sent another part than was asked for",
    "web_forbidden": "is not on the open internet",
}

COLUMNS: list[Column[Blob]] = [
    Column(
        title="File",
        text=lambda b: "Encrypted package" if b.sealed else "File of a job or request",
        second=lambda b: (
            words.short_id(b.cid) + (", for everybody" if b.shared else "") + (", in IPFS" if b.ipfs else "")
        ),
        icon=lambda b: ("lock", "good") if b.sealed else ("file", "muted"),
        width=250,
        tip=lambda b: b.cid,
    ),
    Column(title="Stays because", text=lambda b: b.why or "may go", stretch=True, tip=lambda b: b.why),
    Column(title="Last used", text=lambda b: words.day(b.used_at), sort=lambda b: b.used_at, width=142),
    Column(title="Size", text=lambda b: words.memory(b.size), sort=lambda b: b.size, right=True, width=84),
]


class BlobsPanel(Panel):
    """Loads by itself when its page says so."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Files kept here")
        self.desk = desk
        self._use = Text("", "muted")
        empty = EmptyState(
            "file", "No files yet", "Packages that you sell or buy, and files of jobs, are kept here."
        )
        self.table = RowTable("Files", COLUMNS, lambda b: b.cid, empty, row_height=52)
        self.table.setMinimumHeight(206)
        self.table.chosen.connect(lambda _blob: self._look())
        self._pin = button("&Pin", self._toggle_pin, description="A pinned file is never removed by itself.")
        self._save = button(
            "&Save a copy…",
            self._export,
            description="The file as it is, with its manifest: what a web mirror needs.",
        )
        self._free = button("&Free space", self._collect, description="Removes the files that may go.")
        self._told = Text("", "small")
        self._blamed = Text("", "small")
        self.body.addWidget(self._use)
        self.body.addWidget(self.table, 1)
        self.body.addLayout(row(self._pin, self._save, self._free, 1))
        self.body.addWidget(self._told)
        self.body.addWidget(self._blamed)
        self.body.addWidget(self._limits())
        self.ipfs = IpfsPart(desk, tell=self._tell)
        self.body.addWidget(self.ipfs)
        self._shown = Limits()
        self._told.hide()
        self._show(Blobs())

    def _limits(self) -> QWidget:
        self.up = NumberField(0, 0, 100_000, suffix="MiB/s")
        self.down = NumberField(0, 0, 100_000, suffix="MiB/s")
        self.disk = NumberField(0, 0, 1_000_000, suffix="GiB")
        self.share = Tick("Give packages that I &bought to others, encrypted as they are")
        self.share.setToolTip(
            "Nobody can open them without the key. Others see that you have them; "
            "you get yours from others too."
        )
        self._apply = button("&Apply the limits", self._change)
        for field, name in (
            (self.up, "Upload limit"),
            (self.down, "Download limit"),
            (self.disk, "Disk limit"),
        ):
            field.setAccessibleName(name)
            field.setMaximumWidth(130)
        limits = row(
            Text("Limits, 0 for none:", "muted", wrap=False),
            Text("up", "muted", wrap=False),
            self.up,
            Text("down", "muted", wrap=False),
            self.down,
            Text("disk", "muted", wrap=False),
            self.disk,
            1,
        )
        both = column(limits, row(self.share, 1, self._apply), spacing=theme.GRID)
        made = QWidget()
        made.setLayout(both)
        return made

    def load(self) -> None:
        """Ask the node anew."""
        self.desk.api.get("/v1/blobs", Blobs, self._show, owner=self, failed=self._failed)

    def _failed(self, failure: Failure) -> None:
        self._tell(f"{failure.message} {failure.what_next}".strip())

    def _tell(self, text: str) -> None:
        self._told.say(text)
        self._told.setVisible(bool(text))

    def _show(self, found: Blobs) -> None:
        self.table.set_rows(found.items)
        self._use.say(
            f"{words.memory(found.used_bytes)} in use, {words.memory(found.can_go_bytes)} of it may go. "
            f"{words.memory(found.received_bytes)} received and {words.memory(found.sent_bytes)} sent "
            "since the node started."
        )
        self._free.setEnabled(found.can_go_bytes > 0)
        lines = [
            f"{_who(one.source)} {_REASONS.get(one.reason, 'failed')}, {words.moment(one.at)}"
            for one in found.blamed[:3]
        ]
        self._blamed.say(f"Sources that did wrong: {'; '.join(lines)}." if lines else "")
        self._blamed.setVisible(bool(lines))
        if found.limits != self._shown:
            self._shown = found.limits
            self.up.setValue(-(-found.limits.up_per_s // MIB))
            self.down.setValue(-(-found.limits.down_per_s // MIB))
            self.disk.setValue(-(-found.limits.quota_bytes // GIB))
            self.share.setChecked(found.limits.share)
        self.ipfs.show_found(found.ipfs)
        self._look()

    def _look(self) -> None:
        blob = self.table.current()
        self._pin.setEnabled(blob is not None)
        self._save.setEnabled(blob is not None)
        self.ipfs.look(blob)
        self._pin.setText("Un&pin" if blob is not None and "pinned" in blob.kept else "&Pin")

    def _toggle_pin(self) -> None:
        blob = self.table.current()
        if blob is not None:
            verb = "unpin" if "pinned" in blob.kept else "pin"
            self._post(f"/v1/blobs/{verb}", {"cid": blob.cid})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self.desk.api.post(path, body, Nothing, lambda _: self.load(), owner=self, failed=self._failed)

    def _collect(self) -> None:
        self.desk.api.post(
            "/v1/blobs/collect",
            {"everything": True},
            Collected,
            self._collected,
            owner=self,
            failed=self._failed,
        )

    def _collected(self, done: Collected) -> None:
        self._tell(f"{words.plural(done.removed, 'file')} removed, {words.memory(done.freed_bytes)} freed.")
        self.load()

    def _export(self) -> None:
        blob = self.table.current()
        folder = QFileDialog.getExistingDirectory(self, "Save the file in") if blob is not None else ""
        if blob is not None and folder:
            self.export_to(blob.cid, folder)

    def export_to(self, cid: str, folder: str) -> None:
        """Copy a file and its manifest into a folder."""
        self.desk.operations.start(
            "/v1/blobs/export",
            {"cid": cid, "folder": folder},
            owner=self,
            done=lambda _result: self._tell("The file and its manifest are in the folder."),
            failed=self._failed,
            progress=lambda operation: self._tell(operation.stage),
        )

    def _change(self) -> None:
        self.desk.api.post(
            "/v1/blobs/limits",
            {
                "up_per_s": self.up.value() * MIB,
                "down_per_s": self.down.value() * MIB,
                "quota_bytes": self.disk.value() * GIB,
                "share": self.share.isChecked(),
            },
            Limits,
            self._changed,
            owner=self,
            failed=self._failed,
        )

    def _changed(self, now: Limits) -> None:
        self._shown = now
        self._tell("The limits hold from now on.")
        self.load()


def _who(source: str) -> str:
    """A peer by its short id, a web server by its name."""
    return words.one_line(source, 60) if "." in source else words.short_id(source)
