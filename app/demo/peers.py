"""Nodes of the demo market: each a process of its own with a home of its own, driven over its local API."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from openstall.ledger.private_files import write_private
from openstall.market.errors import OpenstallError, PeerError

START_TIMEOUT_S = 90.0
PASSPHRASE_FILE = "demo-passphrase"  # noqa: S105 - the name of a file
PROGRAM = (sys.executable, "-P", "-m", "openstall.app.cli.main")
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
_FIRST_POLL_S, _LONGEST_POLL_S = 0.05, 0.4
_STOP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class DemoPeer:
    """One node process and its local API."""

    name: str
    home: Path
    program: Sequence[str]
    process: subprocess.Popen[bytes]
    api: httpx.Client
    wallet: str = ""
    peer_id: str = ""
    listen: str = LOOPBACK
    notes: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """The answer of a GET.

        Raises:
            OpenstallError: the node's own error, with its code and words.
        """
        try:
            answer = self.api.get(path, params=params)
        except httpx.RemoteProtocolError:
            # a busy node may close a connection just when it is used again; looking twice changes nothing
            answer = self.api.get(path, params=params)
        return _checked(answer)

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        """The answer of a POST with a JSON body; raises like `get`."""
        return _checked(self.api.post(path, json=body))

    def operate(self, path: str, /, *, timeout_s: float = 300.0, **body: Any) -> Any:
        """Start a long action and wait for its result; raises like `get`."""
        operation_id = self.post(path, **body)["operation_id"]

        def ended() -> dict[str, Any] | None:
            operation = self.get(f"/v1/operations/{operation_id}")
            return operation if operation["state"] != "running" else None

        operation = wait_for(ended, timeout_s, f"{self.name}: {path}")
        if operation["error"]:
            error = operation["error"]
            raise OpenstallError(error["code"], error["message"], error["what_next"])
        return operation["result"]

    def order_until(
        self, order_id: str, done: Callable[[dict[str, Any]], bool], timeout_s: float
    ) -> dict[str, Any]:
        """Wait until an order looks as wanted; an order that ends otherwise is an error."""

        def look() -> dict[str, Any] | None:
            order = self.get(f"/v1/orders/{order_id}")
            if done(order):
                return order
            # A job's results may still be on their way when its money has been settled.
            if order["final"] and order["state"] != "settled":
                raise OpenstallError(
                    "order_ended", f"{self.name}'s order ended as “{order['state']}”: {order['state_words']}"
                )
            return None

        found: dict[str, Any] = wait_for(look, timeout_s, f"{self.name}: order {order_id[:8]}")
        return found

    def stop(self) -> None:
        """End the node cleanly; one that does not end in time is killed."""
        self.api.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """End the node as a power cut would."""
        self.api.close()
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """Start the node of this home anew, and wait until it trades again."""
        self.process, self.api = start_node(self.home, self.program, self.listen)

        def trades() -> bool | None:
            status = self.get("/v1/status")
            return (status["trading"] and status["parts"]["chain"] == "ready") or None

        wait_for(trades, START_TIMEOUT_S, f"{self.name} trades")

    def balance_micro(self) -> int:
        """What the wallet holds now."""
        return int(self.get("/v1/wallet")["balance_micro"])


def wait_for(look: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Ask again and again until there is an answer; a machine with more work than cores has longer.

    Raises:
        PeerError: none came in time.
    """
    began, pause_s = time.monotonic(), _FIRST_POLL_S
    while time.monotonic() - began < timeout_s * _crowding():
        found = look()
        if found is not None:
            return found
        time.sleep(pause_s)
        pause_s = min(1.25 * pause_s, _LONGEST_POLL_S)
    raise PeerError(
        "timeout",
        f"{what}: nothing happened within {time.monotonic() - began:.0f} s.",
        "Look at the node's log in its home folder.",
    )


def _crowding() -> float:
    """How many programs want to run for each core, over the last minute; 1 to 3."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return min(3.0, max(1.0, load / (os.cpu_count() or 1)))


@contextmanager
def running_peer(
    name: str, home: Path, program: Sequence[str] = PROGRAM, *, listen: str = LOOPBACK
) -> Iterator[DemoPeer]:
    """A node with a new wallet; stopped cleanly at the end of the block."""
    home.mkdir(parents=True, mode=0o700)
    passphrase = secrets.token_urlsafe(12)
    # A demo wallet holds play money; the file lets the demo's homes be opened again later.
    write_private(home / PASSPHRASE_FILE, passphrase.encode())
    process, api = start_node(home, program, listen)
    peer = DemoPeer(name=name, home=home, program=program, process=process, api=api, listen=listen)
    try:
        made = peer.post("/v1/identity/create", name=name, passphrase=passphrase)
        peer.wallet, peer.peer_id = made["wallet"], made["peer_id"]
        yield peer
    finally:
        peer.stop()


def launch(command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of its own, whose output goes into `log`."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def start_node(
    home: Path, program: Sequence[str] = PROGRAM, listen: str = LOOPBACK
) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """Start the node of a home and wait until it answers.

    Raises:
        PeerError: it ended at its start, or stayed silent.
    """
    command = [*program, "--home", str(home), "node", "run", "--listen", listen, "--no-mdns"]
    if (home / PASSPHRASE_FILE).exists():
        command += ["--passphrase-file", str(home / PASSPHRASE_FILE)]
    with (home / "output.log").open("ab") as log:
        process = launch(command, log)
    try:
        return process, _api_of(process, home)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _api_of(process: subprocess.Popen[bytes], home: Path) -> httpx.Client:
    def answers() -> httpx.Client | None:
        if process.poll() is not None:
            words = (home / "output.log").read_text(errors="replace")[-2000:]
            raise PeerError(
                "node_ended", f"The node of {home.name} ended at its start ({process.returncode}): {words}"
            )
        try:
            found = json.loads((home / "api.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        if found["pid"] != process.pid:
            return None
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{found['port']}",
            headers={"Authorization": f"Bearer {found['token']}"},
            timeout=60.0,
        )
        try:
            client.get("/v1/status").raise_for_status()
        except httpx.HTTPError:
            client.close()
            return None
        return client

    client: httpx.Client = wait_for(answers, START_TIMEOUT_S, f"node of {home.name}")
    return client


def _checked(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json() if response.content else {}
    if response.is_error:
        error = answer.get("error", {})
        raise OpenstallError(
            error.get("code", "api_error"),
            error.get("message", response.text[:300]),
            error.get("what_next", ""),
        )
    return answer
