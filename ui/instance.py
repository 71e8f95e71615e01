"""One window per home folder: a second start shows the first one's window and ends."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

WAIT_MS = 500
_SHOW = b"show\n"


class SingleInstance(QObject):
    """Claims the home folder for this process; emits `asked_to_show` when another start knocks."""

    asked_to_show = Signal()

    def __init__(self, home: Path) -> None:
        super().__init__()
        digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
        self._name = f"openstall-{digest}"
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._knocked)

    def claim(self) -> bool:
        """True if this is the only window of the home; else the other one was asked to come forward."""
        knock = QLocalSocket()
        knock.connectToServer(self._name)
        if knock.waitForConnected(WAIT_MS):
            knock.write(_SHOW)
            knock.waitForBytesWritten(WAIT_MS)
            knock.disconnectFromServer()
            return False
        # A socket file without a listener is left over from a crash.
        QLocalServer.removeServer(self._name)
        return self._server.listen(self._name)

    def release(self) -> None:
        """Give the claim up."""
        self._server.close()

    def _knocked(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.disconnected.connect(socket.deleteLater)
            self.asked_to_show.emit()
