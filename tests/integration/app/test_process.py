"""The node as a process: one per home, clean end, and kills at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from openstall.store.database import Store

from .conftest import PASSPHRASE, NodeProcess, until

MakeNode = Callable[..., NodeProcess]


def cli(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openstall.app.cli.main", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_second_node_on_a_home_says_who_holds_it(node: NodeProcess) -> None:
    assert node.process is not None
    second = cli(node.home, "--json", "node", "run", "--no-mdns")
    assert second.returncode == 1
    assert '"node_running"' in second.stderr
    assert str(node.process.pid) in second.stderr
    assert node.get("/v1/status")


@pytest.mark.parametrize("way", [signal.SIGTERM, None])
def test_clean_end_leaves_no_children(make_node: MakeNode, way: signal.Signals | None) -> None:
    node = make_node("node", agent=True, forks=False)
    node.create_identity("Ann")
    node.done("/v1/group/create", name="G")
    until(lambda: node.get("/v1/status")["agent"]["state"] != "starting", "agent")
    children = node.children()
    assert len(children) >= 2
    assert node.process is not None
    if way is None:
        node.post("/v1/node/stop")
    else:
        node.process.send_signal(way)
    assert node.process.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert not (node.home / "api.json").exists()
    assert '"node stopped"' in node.log()


def test_children_die_with_a_killed_node(make_node: MakeNode) -> None:
    node = make_node("node", agent=True, forks=False)
    node.create_identity("Ann")
    node.done("/v1/group/create", name="G")
    until(lambda: node.get("/v1/status")["agent"]["state"] != "starting", "agent")
    children = node.children()
    node.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_kills_at_random_moments_lose_nothing_that_was_confirmed(make_node: MakeNode) -> None:
    node = make_node("node", forks=False)
    made = node.create_identity("Ann")
    node.done("/v1/group/create", name="G")
    node.done("/v1/wallet/faucet")
    other = "0x" + "ab" * 20
    rng = random.Random(7)
    sent = 0
    for _ in range(3):
        confirmed = rng.randrange(3)
        for _ in range(confirmed):
            node.done("/v1/wallet/send", to=other, amount_micro=1_000_000)
            sent += 1
        node.post("/v1/wallet/send", to=other, amount_micro=1_000_000)
        sent += 1
        time.sleep(rng.random() * 0.15)
        node.kill()
        node.start()
        node.post("/v1/identity/unlock", passphrase=PASSPHRASE)
        assert node.get("/v1/identity")["wallet"] == made["wallet"]
        until(lambda: node.get("/v1/group")["reachable"], "chain")
        # The last one was cut off: it is sent exactly once, or was never signed.
        settled = until(lambda: _settled(node), "transactions end")
        assert settled["balance_micro"] in (10**9 - sent * 10**6, 10**9 - (sent - 1) * 10**6)
        sent = (10**9 - settled["balance_micro"]) // 10**6
    node.terminate()
    store = Store(node.home / "store.sqlite")
    store.check()
    store.close()


def _settled(node: NodeProcess) -> object:
    store = Store(node.home / "store.sqlite")
    try:
        with store.read() as db:
            pending = db.execute("SELECT count(*) FROM transactions WHERE state = 'pending'").fetchone()[0]
    finally:
        store.close()
    return None if pending else node.wallet()


def test_a_killed_nodes_api_file_fools_nobody(make_node: MakeNode) -> None:
    node = make_node("node", forks=False)
    node.kill()
    assert (node.home / "api.json").exists()
    asked = cli(node.home, "--json", "node", "status")
    assert asked.returncode == 1
    assert '"node_not_running"' in asked.stderr
    node.start()
    assert cli(node.home, "--json", "node", "status").returncode == 0


def test_damaged_store_stops_the_start_with_words(make_node: MakeNode) -> None:
    node = make_node("node", start=False, forks=False)
    node.home.mkdir()
    (node.home / "store.sqlite").write_bytes(b"not a database at all" * 500)
    ended = cli(node.home, "--json", "node", "run", "--no-mdns")
    assert ended.returncode == 1
    assert '"store_damaged"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_start_stop_and_status_by_command_line(tmp_path: Path) -> None:
    home = tmp_path / "cli"
    started = cli(
        home, "--json", "node", "start", "--no-mdns", "--no-agent", "--listen", "/ip4/127.0.0.1/tcp/0"
    )
    assert started.returncode == 0, started.stderr
    try:
        assert cli(home, "node", "status").returncode == 0
        assert cli(home, "--json", "node", "start").returncode == 0
    finally:
        assert cli(home, "node", "stop").returncode == 0
    assert cli(home, "node", "status").returncode == 1
