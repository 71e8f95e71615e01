"""IPFS in the panel of files: the owner's gateway and node, and pinning the chosen package there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QLineEdit, QWidget

from openstall.ui.blobs import Blob, Ipfs, Pinned
from openstall.ui.desk import Desk
from openstall.ui.documents import Failure
from openstall.ui.widgets.layout import button, column, row
from openstall.ui.widgets.text import Text


class IpfsPart(QWidget):
    """Shows what it is given; the panel around it loads, and says in words what came of something."""

    def __init__(self, desk: Desk, *, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.desk = desk
        self._tell = tell
        self._shown = Ipfs()
        self._blob: Blob | None = None
        self.gateway = _field("IPFS gateway", "http://127.0.0.1:8080 (optional)")
        self.gateway.setToolTip(
            "Packages that you buy may come from here too. Every part is checked: a gateway is not believed. "
            "One elsewhere (https://…) sees what you fetch."
        )
        self.node = _field("IPFS node", "http://127.0.0.1:5001 (optional)")
        self.node.setToolTip("Your own IPFS node on this computer (its RPC), to pin packages of yours there.")
        self._apply = button("Apply &IPFS", self._change)
        self._pin = button(
            "Pin in IPFS",
            self._toggle,
            description="Your IPFS node keeps the package and gives it to everybody, encrypted as it is.",
        )
        addresses = row(
            Text("IPFS, empty for none:", "muted", wrap=False),
            Text("gateway", "muted", wrap=False),
            self.gateway,
            Text("node", "muted", wrap=False),
            self.node,
        )
        for at in (2, 4):
            addresses.setStretch(at, 1)
        self.setLayout(column(addresses, row(self._pin, 1, self._apply)))
        self.look(None)

    def show_found(self, found: Ipfs) -> None:
        """Take over what the node says, but for what is being typed."""
        if found != self._shown:
            self._shown = found
            self.gateway.setText(found.gateway)
            self.node.setText(found.node)

    def look(self, blob: Blob | None) -> None:
        """Another file was chosen."""
        self._blob = blob
        pinned = blob is not None and bool(blob.ipfs)
        self._pin.setText("Unpin from IPFS" if pinned else "Pin in IPFS")
        self._pin.setEnabled(blob is not None and bool(self._shown.node) and (pinned or blob.sealed))

    def _change(self) -> None:
        self.desk.api.post(
            "/v1/blobs/ipfs",
            {"gateway": self.gateway.text().strip(), "node": self.node.text().strip()},
            Ipfs,
            self._changed,
            owner=self,
            failed=self._failed,
        )

    def _changed(self, now: Ipfs) -> None:
        self.show_found(now)
        self.look(self._blob)
        self._tell("Saved: IPFS is used with these addresses from now on.")

    def _toggle(self) -> None:
        if self._blob is None:
            return
        body = {"cid": self._blob.cid}
        if self._blob.ipfs:
            self.desk.api.post(
                "/v1/blobs/ipfs/unpin", body, Pinned, self._unpinned, owner=self, failed=self._failed
            )
            return
        self.desk.operations.start(
            "/v1/blobs/ipfs/pin",
            body,
            owner=self,
            done=self._pinned,
            failed=self._failed,
            progress=lambda operation: self._tell(operation.stage),
        )

    def _pinned(self, _result: Any) -> None:
        self._tell("Your IPFS node keeps the package.")

    def _unpinned(self, _done: Pinned) -> None:
        self._tell("Your IPFS node keeps the package no longer.")

    def _failed(self, failure: Failure) -> None:
        self._tell(f"{failure.message} {failure.what_next}".strip())


def _field(name: str, shape: str) -> QLineEdit:
    made = QLineEdit()
    made.setAccessibleName(name)
    made.setPlaceholderText(shape)
    made.setMaxLength(300)
    return made
