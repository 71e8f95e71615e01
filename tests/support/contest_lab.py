"""Contests in the lab of models made to order: real chain, books, peers, seals; the test moves the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_lab import CustomLab, Maker, custom_lab
from ledger_lab import CREDIT

POOL, DEPOSIT = 60 * CREDIT, 2 * CREDIT
STAGE_S, REVIEW_S = 3_600, 600
WEIGHTS = (6_000, 3_000, 1_000)


@dataclass(slots=True, kw_only=True)
class ContestLab:
    """A requester, developers, evaluators; the arbiter of the lab is a third developer here."""

    lab: CustomLab

    @property
    def buyer(self) -> Maker:
        return self.lab.buyer

    @property
    def developers(self) -> list[Maker]:
        return [self.lab.ada, self.lab.ben, self.lab.arbiter]

    @property
    def evaluators(self) -> list[Maker]:
        """In the order of their wallets."""
        return sorted(self.lab.evaluators, key=lambda one: int(one.wallet.address, 16))

    async def ask(self, **terms: Any) -> str:
        """A contest of the buyer's, opened, that the evaluators have taken on; its cid."""
        usual: dict[str, Any] = {
            "mechanism": "contest",
            "weights_bps": WEIGHTS,
            "arbiter": "",
            "budget_micro": POOL,
            "deposit_micro": DEPOSIT,
            "bid_s": STAGE_S,
            "reveal_s": STAGE_S,
            "review_s": REVIEW_S,
            "threshold": "0.5",
        }
        cid = await self.lab.ask(**(usual | terms))
        for one in self.evaluators:
            await self.look(one)
        return cid

    async def look(self, *sides: Maker) -> None:
        for side in sides or (self.buyer, *self.developers, *self.evaluators):
            await side.custom.contests.look()

    async def enter(self, who: Maker, cid: str, right: int) -> None:
        """Enter a model that tells so many of the 40 rows right."""
        await who.custom.contests.enter(cid, self.model(who, right), who.progress())

    def model(self, who: Maker, right: int) -> Path:
        path = who.folder / f"model-{right}.onnx"
        path.write_text(str(right))
        return path

    async def entered(self, *right: int, **terms: Any) -> str:
        """A contest that the developers have entered, with the time to enter over; its cid."""
        cid = await self.ask(**terms)
        for who, score in zip(self.developers, right, strict=False):
            await self.enter(who, cid, score)
        self.lab.pass_to((await self.lab.terms_of(cid)).commit_by)
        return cid

    async def judge(self, cid: str, *, without: tuple[Maker, ...] = ()) -> None:
        """The evaluators judge until the chain has their ranking."""
        for _round in range(8):
            for one in self.evaluators:
                if one not in without:
                    await self.look(one)
            if (await self.view(self.buyer, cid))["state"] == "judged":
                return
            self.lab.pass_to(self.lab.now() + 130)
        told = {one.folder.name: (await self.view(one, cid))["trouble"] for one in self.evaluators}
        raise AssertionError(f"nobody judged: {told}")

    async def view(self, who: Maker, cid: str) -> dict[str, Any]:
        return await who.custom.contests.view(cid)

    async def close(self) -> None:
        """Past the last deadline; everybody's node does what is due."""
        self.lab.pass_to(self.lab.now() + 2 * REVIEW_S + STAGE_S)
        await self.look()
        await self.look()

    def check_conserved(self) -> None:
        """Every credit is in a wallet again, or lost with a winner's deposit; nothing is in the contract."""
        lab = self.lab.trade.chain
        assert lab.balance(lab.chain.params.contest) == 0


@asynccontextmanager
async def contest_lab(folder: Path) -> AsyncIterator[ContestLab]:
    async with custom_lab(folder) as lab:
        yield ContestLab(lab=lab)
