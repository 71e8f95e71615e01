"""Real nodes as processes of their own, driven over their local API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import httpx
import psutil
import pytest

from openstall.app.demo.peers import PROGRAM

PASSPHRASE = "a passphrase for tests"
PATIENCE_S = 60.0
FIRST_POLL_S, LONGEST_POLL_S = 0.02, 0.3


@dataclass(slots=True)
class NodeProcess:
    """One node; `restart` keeps its home."""

    home: Path
    options: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    program: Sequence[str] = PROGRAM
    forks: bool = True
    """Whether it starts as a fork (see `forked`), or as a user starts it."""
    process: subprocess.Popen[bytes] | forked.Forked | None = None
    api: httpx.Client = field(init=False)
    token: str = ""
    port: int = 0

    def start(self, *more: str) -> None:
        command = [*self.program, "--home", str(self.home), "node", "run", *self.options, *more]
        self.home.mkdir(exist_ok=True)
        with (self.home / "output.txt").open("ab") as output:
            self.process = (
                forked.launch(command, output, self.environment)
                if self.forks
                else subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **self.environment},
                )
            )
        until(self._answers, f"node of {self.home.name}: {self.output()}")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended: {self.output()}"
        try:
            found = json.loads((self.home / "api.json").read_text())
        except FileNotFoundError:
            return False
        if found["pid"] != self.process.pid:
            return False
        self.token, self.port = found["token"], found["port"]
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_S,
            trust_env=False,
        )
        return True

    def output(self) -> str:
        path = self.home / "output.txt"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.home / "log").glob("*") if path.is_file())

    def get(self, path: str, **params: Any) -> Any:
        return good(self.api.get(path, params=params))

    def post(self, path: str, /, **body: Any) -> Any:
        return good(self.api.post(path, json=body))

    def operate(self, path: str, /, **body: Any) -> Any:
        """Start a long action and return how it ended."""
        operation_id = self.post(path, **body)["operation_id"]
        return until(
            lambda: (found := self.get(f"/v1/operations/{operation_id}"))["state"] != "running" and found,
            path,
        )

    def done(self, path: str, /, **body: Any) -> Any:
        found = self.operate(path, **body)
        assert found["state"] == "done", found["error"]
        return found["result"]

    def create_identity(self, name: str) -> Any:
        return self.post("/v1/identity/create", name=name, passphrase=PASSPHRASE)

    def wallet(self) -> Any:
        return self.get("/v1/wallet")

    def kill(self) -> None:
        """As a power cut."""
        assert self.process is not None
        self.api.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.api.close()
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)


def good(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json()


def refused(response: httpx.Response, status: int) -> str:
    """The code of an error, which must have the one form."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "what_next"}
    return str(error["code"])


def until(look: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    end, pause_s = time.monotonic() + PATIENCE_S, FIRST_POLL_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(pause_s)
        pause_s = min(1.25 * pause_s, LONGEST_POLL_S)
    raise AssertionError(f"waited in vain: {what}")


NodeFactory = Callable[..., NodeProcess]


@contextmanager
def nodes_in(folder: Path) -> Iterator[NodeFactory]:
    """Makes nodes with homes below a folder, and ends them all."""
    made: list[NodeProcess] = []

    def make(
        name: str, *options: str, agent: bool = False, start: bool = True, forks: bool = True, **env: str
    ) -> NodeProcess:
        fixed = ("--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", *(() if agent else ("--no-agent",)))
        node = NodeProcess(home=folder / name, options=(*fixed, *options), environment=env, forks=forks)
        made.append(node)
        if start:
            node.start()
        return node

    yield make
    for node in made:
        if node.process is not None:
            if hasattr(node, "api"):
                node.api.close()
            if node.process.poll() is None:
                node.process.terminate()
            try:
                node.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.kill(node.process.pid, signal.SIGKILL)
                node.process.wait()


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[NodeFactory]:
    with nodes_in(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One node without an identity, for tests that leave it as it is."""
    with nodes_in(tmp_path_factory.mktemp("shared")) as make:
        yield make("node")


@pytest.fixture
def node(make_node: NodeFactory) -> NodeProcess:
    return make_node("node")
