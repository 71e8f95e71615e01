"""A small market of real nodes in separate processes, for the acceptance tests of both journeys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstall.app.demo.dataset import LABEL, write_data
from openstall.app.demo.peers import PROGRAM, DemoPeer, running_peer, wait_for
from openstall.compute_agent.runtime import find_runtime
from openstall.store.database import Store
from openstall.store.orders import Orders

CREDIT = 1_000_000
START_MICRO = 1_000 * CREDIT
PRICE_MICRO = 25 * CREDIT
CARD = {"intended_use": "tests", "training_data": "breast cancer", "limits": "none known", "metrics": []}
RULES = {
    "price_per_s_micro": 10_000,
    "max_job_s": 300,
    "memory_bytes": 2 * 2**30,
    "threads": 1,
    "kinds": ["infer", "train", "evaluate", "script"],
    "ttl_s": 3600,
    "withdraw_delay_s": 60,
}
MODIFIED = Path(__file__).with_name("modified_node.py")


def trick(name: str) -> tuple[str, ...]:
    """The command of a node with one dishonest change."""
    return (sys.executable, str(MODIFIED), name)


def typed(peer: DemoPeer, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A command typed for a node, with nobody at the terminal."""
    command = [*PROGRAM, "--home", str(peer.home), *words]
    done = subprocess.run(
        command,
        env=os.environ | {"COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def restart(peer: DemoPeer, program: Sequence[str] = PROGRAM) -> None:
    """End a node as a power cut would, and start this home again, with another program if one is named."""
    peer.kill()
    peer.program = program
    peer.start_again()


def state_in_books(peer: DemoPeer, order_id: str) -> str:
    """The state of an order on the disk of a node that does not run."""
    store = Store(peer.home / "store.sqlite")
    try:
        return Orders(store).get(order_id).state
    finally:
        store.close()


@dataclass(slots=True, kw_only=True)
class Market:
    """Three peers in one group; the provider hosts its chain."""

    provider: DemoPeer
    seller: DemoPeer
    buyer: DemoPeer
    folder: Path
    train: Path
    holdout: Path

    @property
    def peers(self) -> list[DemoPeer]:
        """All three."""
        return [self.provider, self.seller, self.buyer]

    def money(self) -> int:
        """All credits there are, wherever they lie; the same at any moment when nothing is on its way."""
        wallets = [peer.get("/v1/wallet") for peer in self.peers]
        return sum(wallet["balance_micro"] + wallet["held_micro"] for wallet in wallets)

    def small_data(self, rows: int) -> Path:
        """The first rows of the training data."""
        path = self.folder / f"train-{rows}.csv"
        lines = self.train.read_text().splitlines()
        path.write_text("\n".join(lines[: rows + 1]) + "\n")
        return path

    def offer(self, **changes: Any) -> str:
        """The provider's machine on offer; returns the cid of the offer as the seller's node sees it."""
        cid = self.provider.post("/v1/compute/sell", **{**RULES, **changes})["cid"]
        return self.seen_by(self.seller, cid)

    def seen_by(self, peer: DemoPeer, cid: str) -> str:
        """Wait until a peer's catalogue holds a record."""

        def look() -> str | None:
            items = peer.get("/v1/catalogue", limit=200)["items"]
            return cid if any(item["cid"] == cid for item in items) else None

        found: str = wait_for(look, 60, f"{peer.name} sees {cid[:12]}")
        return found

    def rent(self, offer: str, *, kind: str = "train", **changes: Any) -> str:
        """The seller orders a job of the provider; returns the order id."""
        request = {
            "offer_cid": offer,
            "kind": kind,
            "inputs": {"data.csv": str(self.train)},
            "params": {"task": "classification", "label": LABEL, "epochs": 60, "seed": 7},
            "max_s": 200,
            "cap_micro": 2 * CREDIT,
        }
        order_id: str = self.seller.post("/v1/orders/job", **{**request, **changes})["order_id"]
        return order_id

    def rent_long(self, offer: str, **changes: Any) -> str:
        """The seller orders a job that never ends by itself, and leaves the processor to others."""
        program = self.folder / "sleeper.py"
        program.write_text("import time\nwhile True:\n    time.sleep(1)\n")
        params = {"arguments": [], "outputs": ["never.txt"]}
        return self.rent(offer, kind="script", inputs={"script.py": str(program)}, params=params, **changes)

    def publish(self, model: Path, *, title: str = "Screening model", **changes: Any) -> str:
        """The seller lists a model; returns its cid once the buyer sees it."""
        request = {
            "path": str(model),
            "title": title,
            "summary": "Tells benign from malignant.",
            "licence": "Apache-2.0",
            "price_micro": PRICE_MICRO,
            "card": CARD,
            "review_s": 60,
            "deliver_s": 1,
            "arbiter": self.provider.wallet,
        }
        cid = self.seller.operate("/v1/models/publish", **{**request, **changes})["cid"]
        return self.seen_by(self.buyer, cid)


@contextmanager
def open_market(
    folder: Path, *, homes: Mapping[str, Path] | None = None, **programs: Sequence[str]
) -> Iterator[Market]:
    """Start three nodes, found a group, and give everybody credits.

    A peer may run a modified program, and have its home elsewhere than under `folder`.
    """
    train, holdout = write_data(find_runtime(), folder)
    places = {name: folder / name for name in ("provider", "seller", "buyer")} | dict(homes or {})
    with ExitStack() as stack:
        provider, seller, buyer = (
            stack.enter_context(running_peer(name, home, programs.get(name, PROGRAM)))
            for name, home in places.items()
        )
        provider.operate("/v1/group/create", name="Test market")
        invitation = provider.get("/v1/group")["invitation"]
        for peer in (seller, buyer):
            peer.operate("/v1/group/join", invitation=invitation)
        for peer in (provider, seller, buyer):
            peer.operate("/v1/wallet/faucet")
        provider.post("/v1/compute/house", rules={})  # whoever uses this computer does not stop the tests
        yield Market(
            provider=provider, seller=seller, buyer=buyer, folder=folder, train=train, holdout=holdout
        )
