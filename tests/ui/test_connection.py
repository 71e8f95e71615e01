from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shiboken6
from PySide6.QtCore import QObject
from PySide6.QtNetwork import QHostAddress, QTcpServer, QTcpSocket
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from openstall.app.demo.peers import DemoPeer, running_peer
from openstall.ui.api import MAX_ANSWER_BYTES, ApiClient, Endpoint
from openstall.ui.documents import Failure, Nothing, Status
from openstall.ui.main_window import MainWindow
from openstall.ui.node_process import NodeProcess, read_endpoint
from openstall.ui.operations import Operations

WAIT_MS = 60_000


@pytest.fixture
def client(qapp: QApplication) -> Iterator[ApiClient]:
    made = ApiClient()
    yield made
    made.close()


class RawServer(QObject):
    """Answers every request with the same bytes: what a broken or hostile process on the port could do."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer
        self._server = QTcpServer(self)
        self._server.newConnection.connect(self._connected)
        assert self._server.listen(QHostAddress(QHostAddress.SpecialAddress.LocalHost), 0)
        self.endpoint = Endpoint(port=self._server.serverPort(), token="t")

    def _connected(self) -> None:
        socket: QTcpSocket = self._server.nextPendingConnection()
        socket.readyRead.connect(
            lambda: (socket.readAll(), socket.write(self._answer), socket.disconnectFromHost())
        )


def ask(qtbot: QtBot, client: ApiClient, endpoint: Endpoint) -> Status | Failure:
    answers: list[Status | Failure] = []
    client.probe(endpoint, answers.append, owner=client, failed=answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=WAIT_MS)
    return answers[0]


def http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http("200 OK", b"not json"), "unreadable_answer"),
        (http("200 OK", b'{"selling": "perhaps"}'), "unreadable_answer"),
        (http("500 Oops", b"<html>"), "unreadable_answer"),
        (http("409 Conflict", b'{"error": {"code": "busy", "message": "m", "what_next": "w"}}'), "busy"),
        (http("302 Found", b""), "unknown"),
        (http("200 OK", b"[" * 100_000), "unreadable_answer"),
        (b"", "node_unreachable"),
    ],
    ids=["no-json", "wrong-type", "no-error", "error", "redirect", "deep", "nothing"],
)
def test_whatever_answers_becomes_words(qtbot: QtBot, client: ApiClient, answer: bytes, code: str) -> None:
    server = RawServer(answer)
    found = ask(qtbot, client, server.endpoint)
    assert isinstance(found, Failure)
    assert found.code == code


def test_an_answer_above_the_cap_is_dropped(qtbot: QtBot, client: ApiClient) -> None:
    server = RawServer(http("200 OK", b'{"version": "' + b"x" * (MAX_ANSWER_BYTES + 1) + b'"}'))
    assert isinstance(ask(qtbot, client, server.endpoint), Failure)


def test_a_closed_port_says_that_nothing_is_lost(qtbot: QtBot, client: ApiClient) -> None:
    found = ask(qtbot, client, Endpoint(port=1, token="t"))
    assert isinstance(found, Failure)
    assert "Nothing is lost" in found.what_next


def test_a_wrong_token_is_refused_in_words(qtbot: QtBot, client: ApiClient, peer: DemoPeer) -> None:
    endpoint = read_endpoint(peer.home)
    assert endpoint is not None
    found = ask(qtbot, client, Endpoint(port=endpoint.port, token="wrong"))
    assert isinstance(found, Failure)
    assert found.code == "bad_token"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"port": 70000, "token": "t", "pid": 1}',
        '{"port": 80, "token": "a\\nb", "pid": 1}',
        '{"port": 80, "token": "t"}',
        '{"port": 80, "token": "t", "pid": 4194304999}',
        '{"port": 80}',
        "9" * 9000,
    ],
)
def test_a_damaged_api_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "api.json").write_text(text)
    assert read_endpoint(tmp_path) is None


def test_an_answer_for_somebody_who_left_is_dropped(qtbot: QtBot, client: ApiClient, peer: DemoPeer) -> None:
    endpoint = read_endpoint(peer.home)
    assert endpoint is not None
    owner = QObject()
    got: list[object] = []
    client.probe(endpoint, got.append, owner=owner, failed=got.append)
    shiboken6.delete(owner)
    with qtbot.waitSignal(client.idle, timeout=WAIT_MS):
        pass
    assert got == []


def test_an_operation_is_followed_to_its_error(
    qtbot: QtBot, client: ApiClient, peer: DemoPeer, tmp_path: Path
) -> None:
    endpoint = read_endpoint(peer.home)
    assert endpoint is not None
    client.attach(endpoint)
    operations = Operations(client)
    ended: list[object] = []
    bad = tmp_path / "model.pkl"
    bad.write_bytes(b"\x80\x04.")
    operations.start(
        "/v1/models/check", {"path": str(bad)}, owner=client, done=ended.append, failed=ended.append
    )
    qtbot.waitUntil(lambda: bool(ended), timeout=WAIT_MS)
    assert operations.awaited == 0


def test_a_node_that_ends_at_once_is_told_with_its_own_words(
    qtbot: QtBot, client: ApiClient, tmp_path: Path
) -> None:
    home = tmp_path / "occupied"
    home.write_text("a file, not a folder")
    node = NodeProcess(home, client)
    with qtbot.waitSignal(node.failed, timeout=WAIT_MS) as failed:
        node.start()
    assert failed.args is not None
    assert failed.args[0].code == "node_not_started"


def test_the_window_survives_the_death_of_its_node(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], tmp_path: Path
) -> None:
    with running_peer("Mortal", tmp_path / "mortal") as mortal:
        mortal.operate("/v1/group/create", name="Short")
        window = open_window(mortal.home)
        qtbot.waitUntil(lambda: window.shell is not None and window.shell.page.is_loaded, timeout=WAIT_MS)
        shell = window.shell
        assert shell is not None
        qtbot.waitUntil(lambda: window.api.connected, timeout=WAIT_MS)
        mortal.kill()
        qtbot.waitUntil(lambda: bool(shell.connection.message), timeout=WAIT_MS)
        assert "does not answer" in shell.connection.message
        mortal.start_again()
        qtbot.waitUntil(lambda: window.api.connected, timeout=WAIT_MS)
        assert shell.connection.message == ""
        answers: list[object] = []
        window.api.get("/v1/status", Nothing, answers.append, owner=window, failed=answers.append)
        qtbot.waitUntil(lambda: bool(answers), timeout=WAIT_MS)
        assert isinstance(answers[0], Nothing)
        window.api.close()


def test_the_token_is_never_in_an_address(peer: DemoPeer) -> None:
    token = json.loads((peer.home / "api.json").read_text())["token"]
    log = (peer.home / "output.log").read_text(errors="replace")
    assert token not in log
