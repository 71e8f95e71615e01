"""Signed objects by hand: take a file in, write one, show a small text as a picture."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QLineEdit

from openstall.ui import documents, theme, words
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Operation, UnreadableAnswer
from openstall.ui.mail import Exported, Imported, Qr
from openstall.ui.trade import Orders
from openstall.ui.views.page import Page
from openstall.ui.widgets.inputs import Choice, FileDrop
from openstall.ui.widgets.layout import Panel, button, clear, column, row
from openstall.ui.widgets.marks import Picture
from openstall.ui.widgets.notices import ProgressRow
from openstall.ui.widgets.qr import QrPicture
from openstall.ui.widgets.text import Text

MOST_SHOWN = 40
_KINDS = {
    "record": "record",
    "order": "order",
    "message": "message",
    "letter": "letter",
    "package": "package",
    "papers": "set of papers",
}
_MANY = {"papers": "sets of papers"}


class ExchangePage(Page):
    """For two who cannot be connected: by stick, by mail, by a telephone's camera."""

    listens = frozenset({"order"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            "Exchange by file",
            "Records, orders and messages are signed, so they can travel by any way, also without a network.",
            back="Back to the network",
        )
        self._operation = ""
        self.file = FileDrop("a file of signed objects, or a package", "All files (*)")
        self.file.picked.connect(self.take_in)
        self.text = QLineEdit()
        self.text.setPlaceholderText("openstall:exchange:…")
        self.text.setAccessibleName("A signed object as text")
        self.text.setMaxLength(16_000)
        self.text.returnPressed.connect(self._take_text)
        self._progress = ProgressRow()
        self._progress.hide()
        self._progress.cancelled.connect(lambda: desk.operations.cancel(self._operation))
        self._found = column(spacing=theme.GRID // 2)
        self.what = Choice()
        self.what.setAccessibleName("What to write into a file")
        self.shown = Choice()
        self.shown.setAccessibleName("What to show as a picture")
        self.picture = QrPicture()
        self.picture.hide()
        self._qr = Qr()
        left = column(self._in_panel(), 1, spacing=2 * theme.GRID)
        right = column(self._out_panel(), self._qr_panel(), 1, spacing=2 * theme.GRID)
        both = row(spacing=2 * theme.GRID)
        both.addLayout(left, 1)
        both.addLayout(right, 1)
        self.body.addLayout(both)
        self.body.addStretch(1)

    def _in_panel(self) -> Panel:
        panel = Panel("Take in")
        panel.body.addWidget(self.file)
        line = row(self.text, button("Take the &text", self._take_text))
        line.setStretch(0, 1)
        panel.body.addLayout(line)
        panel.body.addWidget(self._progress)
        panel.body.addLayout(self._found)
        panel.body.addWidget(
            Text("Each object is checked as if it came from the network: a file proves nothing.", "small")
        )
        return panel

    def _out_panel(self) -> Panel:
        panel = Panel("Write a file")
        line = row(self.what, button("&Save as…", self._choose, icon="download"))
        line.setStretch(0, 1)
        panel.body.addLayout(line)
        panel.body.addWidget(Text("Letters in it are sealed: only whom they are for can read them.", "small"))
        return panel

    def _qr_panel(self) -> Panel:
        panel = Panel("Show a picture")
        line = row(self.shown, button("S&how", self._ask_qr))
        line.setStretch(0, 1)
        panel.body.addLayout(line)
        panel.body.addLayout(row(self.picture, 1))
        self._copy = button("&Copy the text", self._copy_text, icon="copy", kind="quiet")
        self._copy.hide()
        panel.body.addLayout(row(self._copy, 1))
        return panel

    def load(self) -> None:
        self.desk.api.get("/v1/orders", Orders, self._show, owner=self, failed=self.fail)

    def _show(self, orders: Orders) -> None:
        files = [("Everything that waits to be sent", "outbox"), ("All my records", "records")]
        pictures = [("My address", "address"), ("Invitation to this group", "invitation")]
        for order in orders.items[:100]:
            title = f"“{words.one_line(order.title, 50)}”, {order.order_id[:8]}"
            files.append((f"Order {title}", f"order {order.order_id}"))
            if order.kind == "sale":
                files.append((f"Package of {title}", f"package {order.order_id}"))
            if order.role == "seller":
                pictures.append((f"My signature on {title}", f"acceptance {order.order_id}"))
        for box, choices in ((self.what, files), (self.shown, pictures)):
            chosen = box.currentData()
            box.clear()
            for label, data in choices:
                box.addItem(label, data)
            box.setCurrentIndex(max(0, box.findData(chosen)))
        self.mark_loaded()

    # --- in ---

    def take_in(self, path: str) -> None:
        """Have the node take a file in."""
        clear(self._found)
        self.banner.hide()
        self._progress.begin("Taking in")
        self.desk.operations.start(
            "/v1/exchange/import",
            {"path": path},
            owner=self,
            done=self._imported,
            failed=self._stopped,
            progress=self._moved,
        )

    def _take_text(self) -> None:
        if text := self.text.text().strip():
            self.desk.api.post(
                "/v1/exchange/import-text",
                {"text": text},
                Imported,
                self._tell,
                owner=self,
                failed=self.banner.fail,
            )

    def _moved(self, operation: Operation) -> None:
        self._operation = operation.id
        self._progress.show_operation(operation)

    def _stopped(self, failure: Failure) -> None:
        self._progress.hide()
        self.banner.fail(failure)

    def _imported(self, result: Any) -> None:
        self._progress.hide()
        try:
            self._tell(documents.read(result, Imported))
        except UnreadableAnswer:
            self.banner.fail(Failure(message="The node's answer makes no sense."))

    def _tell(self, found: Imported) -> None:
        clear(self._found)
        self.text.clear()
        tone: theme.Tone = "good" if not found.refused else "care"
        self.banner.say(tone, f"{found.taken} taken in, {found.refused} refused.")
        refused_first = sorted(found.items, key=lambda item: item.taken)
        for item in refused_first[:MOST_SHOWN]:
            mark = Picture("done", "good", 16) if item.taken else Picture("error", "bad", 16)
            mark.setAccessibleName("taken in" if item.taken else "refused")
            line = row(mark, Text(words.one_line(item.words, 300)))
            line.setStretch(1, 1)
            self._found.addLayout(line)
        if len(found.items) > MOST_SHOWN:
            self._found.addWidget(Text(f"And {len(found.items) - MOST_SHOWN} more.", "small"))

    # --- out ---

    def _choose(self) -> None:
        kind, _, order_id = str(self.what.currentData() or "").partition(" ")
        name = f"openstall-{kind}{'-' + order_id[:8] if order_id else ''}.exchange"
        path, _filter = QFileDialog.getSaveFileName(self, "Write a file", name)
        if path:
            self.save_to(path)

    def save_to(self, path: str) -> None:
        """Write what is chosen to a new file."""
        kind, _, order_id = str(self.what.currentData() or "").partition(" ")
        self.banner.say("accent", "Writing…", words.one_line(path, 300))
        if kind == "package":
            self.desk.operations.start(
                "/v1/exchange/export-package",
                {"path": path, "order_id": order_id},
                owner=self,
                done=self._package_saved,
                failed=self.banner.fail,
            )
            return
        body = {
            "path": path,
            "records": ["mine"] if kind == "records" else [],
            "order_id": order_id,
            "outbox": kind == "outbox",
        }
        self.desk.api.post(
            "/v1/exchange/export", body, Exported, self._saved, owner=self, failed=self.banner.fail
        )

    def _package_saved(self, result: Any) -> None:
        try:
            self._saved(documents.read(result, Exported))
        except UnreadableAnswer:
            self.banner.fail(Failure(message="The node's answer makes no sense."))

    def _saved(self, done: Exported) -> None:
        counts = ", ".join(
            words.plural(count, _KINDS.get(kind, kind), _MANY.get(kind, ""))
            for kind, count in done.objects.items()
        )
        self.banner.say("good", f"Written: {counts}.", words.one_line(done.path, 300))

    # --- pictures ---

    def _ask_qr(self) -> None:
        what, _, order_id = str(self.shown.currentData() or "").partition(" ")
        self.desk.api.get(
            f"/v1/exchange/qr?what={what}&order_id={order_id}",
            Qr,
            self._show_qr,
            owner=self,
            failed=self.banner.fail,
        )

    def _show_qr(self, found: Qr) -> None:
        self._qr = found
        self.picture.show_rows(found.rows, self.shown.currentText())
        self._copy.setVisible(bool(found.text))

    def _copy_text(self) -> None:
        QGuiApplication.clipboard().setText(self._qr.text)
        self.banner.say("good", "The text is on the clipboard.")
