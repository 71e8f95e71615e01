"""Contests between real nodes whose clocks a test moves: what each person types, and what is waited for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sealed_lab import run_in_runtime
from stage import CREDIT, Market, open_market, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, running_peer, wait_for
from openstall.compute_agent.runtime import find_runtime
from openstall.market.errors import OpenstallError

POOL, DEPOSIT = 40 * CREDIT, 2 * CREDIT
ENTER_S, JUDGE_S, REVIEW_S = 600, 600, 120
NOBODY = "0x" + "0f" * 20


@dataclass(slots=True, kw_only=True)
class Arena:
    """The market's buyer asks; seller and Ben build; provider and Vera measure."""

    market: Market
    ben: DemoPeer
    vera: DemoPeer
    clock: Path
    models: Path
    views: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def peers(self) -> list[DemoPeer]:
        return [*self.market.peers, self.ben, self.vera]

    @property
    def evaluators(self) -> list[DemoPeer]:
        return [self.market.provider, self.vera]

    def ask(self, title: str, threshold: str, *, weights: list[int], evaluators: list[str]) -> str:
        """A contest on the rows that were held back; its cid, once both developers see it."""
        buyer = self.market.buyer
        asked: dict[str, Any] = {
            "path": str(self.market.holdout),
            "target": LABEL,
            "metric": "accuracy",
            "threshold": threshold,
            "terms": {
                "title": title,
                "licence": "MIT",
                "mechanism": "contest",
                "weights_bps": weights,
                "budget_micro": POOL,
                "deposit_micro": DEPOSIT,
                "bid_s": ENTER_S,
                "reveal_s": JUDGE_S,
                "review_s": REVIEW_S,
                "tries": 2,
                "evaluators": evaluators,
            },
        }
        seen = buyer.operate("/v1/requests/preview", **asked)["file_sha256"]
        training = {"training_path": str(self.market.train)}
        cid: str = buyer.operate("/v1/requests", **asked, **training, file_sha256=seen)["cid"]
        for developer in (self.market.seller, self.ben):
            self.market.seen_by(developer, cid)
        return cid

    def ask_by_command(self, title: str, threshold: str, *more: str) -> str:
        """The same, typed."""
        words = {
            "--target": LABEL,
            "--metric": "accuracy",
            "--threshold": threshold,
            "--title": title,
            "--budget": str(POOL // CREDIT),
            "--deposit": str(DEPOSIT // CREDIT),
            "--bid-s": str(ENTER_S),
            "--reveal-s": str(JUDGE_S),
            "--review-s": str(REVIEW_S),
        }
        options = [word for pair in words.items() for word in pair]
        command = ("--json", "request", "create", str(self.market.holdout), *options)
        done = typed(self.market.buyer, *command, "--mechanism", "contest", *more, "--yes")
        cid: str = json.loads(done.stdout)["cid"]
        for developer in (self.market.seller, self.ben):
            self.market.seen_by(developer, cid)
        return cid

    def enter(self, developer: DemoPeer, cid: str, model: str) -> None:
        developer.operate(f"/v1/contests/{cid}/enter", path=str(self.models / f"{model}.onnx"))

    def pass_by(self, seconds: int) -> None:
        """All clocks go forward; a payment of nothing much makes the block that shows it."""
        ahead = int(self.clock.read_text()) + seconds
        waiting = self.clock.with_suffix(".new")
        waiting.write_text(str(ahead))
        waiting.replace(self.clock)

    def until(self, peer: DemoPeer, cid: str, done: Any, what: str, within_s: int = 180) -> dict[str, Any]:
        """A contest once it looks as wanted to a peer."""
        return wait_for(  # type: ignore[no-any-return]
            partial(_if, peer, cid, done), within_s, f"{peer.name} sees {what}"
        )

    def money(self) -> int:
        return sum(peer.balance_micro() for peer in self.peers)


def _if(peer: DemoPeer, cid: str, done: Any) -> dict[str, Any] | None:
    try:
        found = peer.get(f"/v1/contests/{cid}")
    except OpenstallError as error:
        if error.code not in ("no_such_record", "chain_unreachable"):
            raise
        return None
    return found if done(found) else None


@contextmanager
def open_arena(folder: Path) -> Iterator[Arena]:
    """Five nodes on clocks of the test's, and three models of different worth."""
    clock = folder / "ahead"
    clock.write_text("0")
    program = (sys.executable, str(Path(__file__).with_name("late_node.py")), str(clock))
    with ExitStack() as stack:
        market = stack.enter_context(open_market(folder, provider=program, seller=program, buyer=program))
        others = []
        for name in ("ben", "vera"):
            peer = stack.enter_context(running_peer(name, folder / name, program))
            peer.operate("/v1/group/join", invitation=market.provider.get("/v1/group")["invitation"])
            peer.operate("/v1/wallet/faucet")
            others.append(peer)
        models = folder / "models"
        models.mkdir()
        script = Path(__file__).with_name("make_entries.py")
        run_in_runtime(find_runtime(), script, str(market.train), LABEL, str(models))
        for one in (market.provider, others[1]):
            one.post("/v1/evaluator", on=True)
        yield Arena(market=market, ben=others[0], vera=others[1], clock=clock, models=models)
