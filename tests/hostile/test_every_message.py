"""A modified client says all that there is to say, each time with one thing changed: nothing changes here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile_peer
import psutil
import pytest
from beside import Trades, attacked, lines, settings_of, unharmed, wait_through
from stage import START_MICRO, Market, open_market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer

ATTACKER = Path(hostile_peer.__file__)
QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
SOME = [
    *(
        "flood_of_requests",
        "oversized_frames",
        "other_handshakes",
        "forged_signatures",
        "records_without_sense",
    ),
    *("an_old_version_again", "jobs_on_other_terms", "orders_of_others", "messages_out_of_turn"),
    *("forbidden_calls_of_the_chain", "letters_of_nobody"),
]
MOST_JOBS = 3
"""Beside one attack of the normal run: they cost processor time that it needs too."""
HARMLESS = 64 * 2**20
"""Memory and new descriptors that a node may have more afterwards: caches fill in the first minutes."""
KNOWN = {
    f"/openstall/{name}/1"
    for name in (
        *("order", "custom", "contest", "talk", "case", "service", "challenge", "job", "serve", "chain"),
        *("hello", "peers", "blob", "rig", "rig-files", "mailbox", "recover", "dial-back"),
    )
} | {"/openstall/kad/1.0.0"}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("attacked")) as opened:
        yield opened


def state(peer: DemoPeer) -> dict[str, Any]:
    """What no stranger may change."""
    status = peer.get("/v1/status")
    return {
        "orders": peer.get("/v1/orders")["total"],
        "money": peer.get("/v1/wallet")["balance_micro"],
        "catalogue": sorted(item["cid"] for item in peer.get("/v1/catalogue", limit=200)["items"]),
        "parts": status["parts"],
    }


def attack(peer: DemoPeer, market: Market, **settings: Any) -> dict[str, dict[str, Any]]:
    """What the attacker was told, by protocol."""
    group = market.provider.get("/v1/group")
    settings |= {
        "network": group["network"],
        "chain_id": group["chain_id"],
        "victim": peer.peer_id,
    }
    address = peer.get("/v1/peers")["self"]["addrs"][0]
    done = subprocess.run(
        [sys.executable, str(ATTACKER), address, json.dumps(settings)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ATTACKER.parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["protocol"]: line for line in lines}


def survives(market: Market, **settings: Any) -> dict[str, dict[str, Any]]:
    """Honest jobs are rented, run and paid while the attack on their provider goes on."""
    victim = market.provider
    offer = market.offer()
    process = psutil.Process(victim.process.pid)
    memory, files = process.memory_info().rss, process.num_fds()
    before = state(victim)
    paid = jobs = 0
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(attack, victim, market, **settings)
        while not jobs or (jobs < MOST_JOBS and not attacking.done()):
            order_id = market.rent(offer, inputs={"data.csv": str(market.small_data(120))}, params=QUICK)
            for peer in (market.seller, market.provider):
                order = peer.order_until(order_id, lambda order: order["state"] == "settled", 120)
            paid, jobs = paid + order["paid_micro"], jobs + 1
        told = attacking.result()
    assert state(victim) == before | {"orders": before["orders"] + jobs, "money": before["money"] + paid}
    assert market.money() == 3 * START_MICRO
    assert process.memory_info().rss - memory < HARMLESS
    assert process.num_fds() - files < 64
    return told


def test_no_changed_message_changes_anything_for_an_honest_peer(market: Market) -> None:
    told = survives(market, every=41)
    served = {one for one in told if one.startswith("/openstall/")}
    records = {one for one in served if "/records/" in one}
    assert served - records - KNOWN == set(), (
        "a protocol that this campaign does not know: teach it its messages"
    )
    assert len(records) >= 4
    for protocol, line in told.items():
        assert line["said"] >= len(hostile_peer.GARBAGE), protocol
        assert line["told"].get("internal", 0) == 0, f"{protocol}: a handler stumbled: {line['told']}"
    assert sum(line["said"] for line in told.values()) > 350


def test_a_bad_peer_is_refused_as_promised_while_honest_jobs_go_on(market: Market, tmp_path: Path) -> None:
    """A handful of the cases of tests/hostile/test_campaign.py, against the provider of the jobs."""
    offer = market.offer()
    trades = Trades(market=market, model=tmp_path, live=tmp_path / "live.json")
    trades.job(offer)
    plan = settings_of(market, live=trades.live, listing="", offer=offer, only=SOME, alone="provider")
    with attacked(plan, tmp_path) as (process, said):
        beside = wait_through(process, lambda: trades.job(offer), 1, MOST_JOBS)
        assert process.returncode == 0, (tmp_path / "attack.err").read_text()[-3000:]
        found = lines(said)
    assert [(line["case"], line["fault"]) for line in found if line["fault"]] == []
    assert {line["case"] for line in found} == set(SOME)
    assert beside >= 1
    unharmed(market, found)


@pytest.mark.slow
def test_no_changed_message_at_all_changes_anything(market: Market) -> None:
    told = survives(market, every=1)
    assert all(line["told"].get("internal", 0) == 0 for line in told.values()), told
    print(json.dumps(told, indent=1))
