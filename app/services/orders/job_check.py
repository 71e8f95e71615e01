"""A finished job is checked: done again on this computer or by other providers, and the results compared.

Two that agree are enough. Where the provider and a second differ, a third decides, and what stands alone
is kept with the reports that both have signed.
"""

from __future__ import annotations

import base64
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from openstall.app.events import EventBus
from openstall.app.logging import get_logger
from openstall.app.services.checking import LocalJobs, Tell
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.job_rerun import Redone, Rerun, Result
from openstall.app.services.orders.placing import Placing
from openstall.app.threads import Workers
from openstall.market.errors import Conflict, Refused, SandboxError
from openstall.market.mechanisms.agreement import AGREED, Figures, Judgement, judge, two_of_three
from openstall.market.orders.results import JobReport, read_report
from openstall.store.settings import Settings

if TYPE_CHECKING:
    from openstall.app.ground import Ground

CHECKS = "checks"
"""In the data of an order: what its checks found."""
CHECK_OF = "check_of"
"""In the data of an order that does another one again: that order."""
CHECKED_KINDS = frozenset({"infer", "train", "evaluate"})
"""What our own workloads do; a program of the buyer's need not come out the same twice."""
FEW = 3
"""With fewer checks that came out well, a provider's jobs are done again whole, not in part."""
MOST_KEPT = 10
MOST_OFFERS = 2
HERE = "this computer"
_AGREED = "checks.agreed"

log = get_logger("openstall.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """Somebody's result of the whole job; `peer` is empty for this computer."""

    name: str
    peer: str
    order: str
    report: str
    result: Result

    def as_dict(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "name": self.name,
            "peer": self.peer,
            "order": self.order,
            "report": self.report,
            "hashes": self.result.hashes,
        }


def may_check(order: OpenOrder) -> bool:
    """Whether a job can be checked: it is done, its results are here, and it comes out the same twice."""
    return (
        (order.role, order.kind) == ("buyer", "compute")
        and order.data.get("result") == "done"
        and bool(order.data.get("fetched"))
        and order.contract.compute.job_kind in CHECKED_KINDS
    )


@dataclass(slots=True, kw_only=True)
class JobCheck:
    """Checks the jobs of which this node is the buyer."""

    desk: OrderDesk
    placing: Placing
    rerun: Rerun
    settings: Settings
    bus: EventBus
    workers: Workers
    folder: Path
    _busy: set[str] = field(default_factory=set)

    async def agreed(self, peer_id: str) -> int:
        """How many checks of a provider's jobs have come out well here."""
        found: dict[str, int] = await self.workers.store(self.settings.get, _AGREED, {})
        return found.get(peer_id, 0)

    async def check(
        self,
        order_id: str,
        progress: Tell,
        *,
        offers: Sequence[str] = (),
        cap_micro: int = 0,
        whole: bool = False,
    ) -> dict[str, Any]:
        """Do a finished job again and keep what came of it in its order.

        Args:
            offers: the machines that do it again, each for pay; none: this computer does.
            cap_micro: the most that each of them may cost; 0: as much as the order itself.
            whole: all of it, also where a part would do.

        Raises:
            Conflict: it is not done, is no job of this node, or is being checked already.
            Refused: an offer is the provider's own, or a second provider did not finish.
            SandboxError: this computer can run nothing.
        """
        order = await self.desk.load(order_id)
        if not may_check(order):
            raise Conflict(
                "no_check",
                "Only a job that is done can be checked, with its results here, and no program of your own.",
            )
        if len(set(offers)) != len(offers) or len(offers) > MOST_OFFERS:
            raise Refused("bad_offers", f"A job is done again by up to {MOST_OFFERS} other providers.")
        with self._alone(order_id):
            place = self.folder / f"check-{secrets.token_hex(6)}"
            try:
                if offers:
                    found = await self._with_others(order, offers, cap_micro, place, progress)
                else:
                    whole = whole or await self.agreed(order.other) < FEW
                    found = await self._here(order, place, progress, whole=whole)
            finally:
                with trio.CancelScope(shield=True):
                    await self.workers.work(shutil.rmtree, place, ignore_errors=True)
            await self._keep(order, found)
        return found

    @contextmanager
    def _alone(self, order_id: str) -> Iterator[None]:
        if order_id in self._busy:
            raise Conflict("checking", "This job is being checked already.", "Wait until that has ended.")
        self._busy.add(order_id)
        try:
            yield
        finally:
            self._busy.discard(order_id)

    async def _here(self, order: OpenOrder, place: Path, progress: Tell, *, whole: bool) -> dict[str, Any]:
        """Done again on this computer; nobody is accused for a part of the rows alone."""
        provider = self._opinion(order, "the provider")
        redone = None if whole else await self.rerun.part(order, place / "part", progress)
        judged = None if redone is None else await self._judge(order, provider.result, redone, progress)
        of_rows = redone is not None and redone.ours is not None and bool(redone.ours.blocks)
        if redone is None or judged is None or (of_rows and judged[0].outcome == "different"):
            redone = await self.rerun.whole(order, place / "whole", progress)
            judged = await self._judge(order, provider.result, redone, progress)
        judgement, figures = judged
        ours = (
            []
            if redone.ours is None
            else [Opinion(name=HERE, peer="", order="", report="", result=redone.ours)]
        )
        return self._document(
            [provider, *ours],
            [_pair((0, 1), judgement, figures)],
            part=redone.words,
            outcome=judgement.outcome,
            odd="" if judgement.outcome != "different" else provider.name,
            words=judgement.words,
        )

    async def _judge(
        self, order: OpenOrder, provider: Result, redone: Redone, progress: Tell
    ) -> tuple[Judgement, Figures]:
        if redone.ours is None:
            figures = Figures(unreadable=redone.unusable)
        else:
            figures = await self.rerun.compare(order, redone.theirs or provider, redone.ours, progress)
        return judge(figures, steps=redone.steps, card=_with_card(order)), figures

    async def _with_others(
        self, order: OpenOrder, offers: Sequence[str], cap_micro: int, place: Path, progress: Tell
    ) -> dict[str, Any]:
        """Done again by others; this computer is the third where only one was named."""
        opinions = [self._opinion(order, "the provider")]
        opinions.append(await self._elsewhere(order, offers[0], cap_micro, "the second provider", progress))
        pairs = [await self._compare(order, opinions, (0, 1), progress)]
        outcome, odd = pairs[0]["outcome"], None
        if outcome not in AGREED:
            third = await self._third(order, offers, cap_micro, place, progress)
            if third is None:
                outcome = "undecided" if outcome == "different" else outcome
            else:
                opinions.append(third)
                pairs += [await self._compare(order, opinions, (at, 2), progress) for at in (0, 1)]
                ruling = two_of_three(*(pair["outcome"] for pair in pairs))
                outcome, odd = ruling.outcome, ruling.odd
        return self._document(
            opinions,
            pairs,
            part="the whole job",
            outcome=outcome,
            odd="" if odd is None else opinions[odd].name,
            words=pairs[0]["words"],
        )

    async def _third(
        self, order: OpenOrder, offers: Sequence[str], cap_micro: int, place: Path, progress: Tell
    ) -> Opinion | None:
        if len(offers) > 1:
            return await self._elsewhere(order, offers[1], cap_micro, "the third provider", progress)
        try:
            redone = await self.rerun.whole(order, place / "whole", progress)
        except SandboxError as error:
            log.info("no third opinion", order=order.order_id, code=error.code)
            return None
        if redone.ours is None:
            return None
        return Opinion(name=HERE, peer="", order="", report="", result=redone.ours)

    async def _compare(
        self, order: OpenOrder, opinions: list[Opinion], at: tuple[int, int], progress: Tell
    ) -> dict[str, Any]:
        one, other = (opinions[place].result for place in at)
        figures = await self.rerun.compare(order, one, other, progress)
        judgement = judge(figures, steps=await self.rerun.steps(order), card=_with_card(order))
        return _pair(at, judgement, figures)

    async def _elsewhere(
        self, order: OpenOrder, offer_cid: str, cap_micro: int, name: str, progress: Tell
    ) -> Opinion:
        """The job at another provider, for pay; what was ordered of it before is not ordered again."""
        seller = await self.placing.author_of(offer_cid)
        if seller == order.other:
            raise Refused("same_provider", "That is the provider itself.", "Name the offer of another one.")
        earlier = [
            one
            for one in await self.desk.bought()
            if one.data.get(CHECK_OF) == order.order_id and one.other == seller and not _failed(one)
        ]
        other_id = (
            earlier[0].order_id
            if earlier  # paid for already, perhaps before a restart
            else await self.placing.again(
                order, offer_cid, cap_micro=cap_micro, data={CHECK_OF: order.order_id}
            )
        )
        done = await self._wait(other_id, progress)
        if done.data.get("result") != "done" or not done.data.get("fetched"):
            raise Refused(
                "check_failed",
                f"The job was not done again: {name} did not finish it (order {other_id[:12]}).",
                "Name another offer, or check it on this computer.",
            )
        return self._opinion(done, name)

    async def _wait(self, order_id: str, progress: Tell) -> OpenOrder:
        """Until an order has its results, or will have none."""
        while True:
            async with self.bus.subscribe() as events:
                while True:
                    order = await self.desk.load(order_id)
                    if order.data.get("fetched") or _failed(order):
                        return order
                    progress("Another provider does the job again")
                    async for event in events:
                        if event.name == "order" and event.data.get("order_id") == order_id:
                            break
                    else:
                        break  # too much happened at once: listen anew

    def _opinion(self, order: OpenOrder, name: str) -> Opinion:
        raw = str(order.data["report"])
        report: JobReport = read_report(base64.b64decode(raw), order.contract).report
        result = self.rerun.signed_for(order, report)
        return Opinion(name=name, peer=order.other, order=order.order_id, report=raw, result=result)

    def _document(
        self,
        opinions: list[Opinion],
        pairs: list[dict[str, Any]],
        *,
        part: str,
        outcome: str,
        odd: str,
        words: str,
    ) -> dict[str, Any]:
        return {
            "at": self.desk.now(),
            "part": part,
            "outcome": outcome,
            "odd": odd,
            "words": words,
            "opinions": [opinion.as_dict() for opinion in opinions],
            "pairs": pairs,
        }

    async def _keep(self, order: OpenOrder, found: dict[str, Any]) -> None:
        """In this order, and in that of another provider whose result stands alone."""
        orders = {order.order_id}
        orders |= {one["order"] for one in found["opinions"] if one["order"] and one["name"] == found["odd"]}
        for order_id in orders:
            before = (await self.desk.load(order_id)).data.get(CHECKS, [])
            await self.desk.patch(order_id, **{CHECKS: [*before, found][-MOST_KEPT:]})
        agreed: dict[str, int] = await self.workers.store(self.settings.get, _AGREED, {})
        if found["outcome"] in AGREED:
            agreed[order.other] = agreed.get(order.other, 0) + 1
        elif found["outcome"] == "different":
            agreed.pop(order.other, None)
        await self.workers.store(self.settings.set, _AGREED, agreed)


def make_job_check(ground: Ground, placing: Placing, settings: Settings, jobs: LocalJobs) -> JobCheck:
    """The checks of a node, from what trading stands on."""
    return JobCheck(
        desk=placing.desk,
        placing=placing,
        rerun=Rerun(jobs=jobs, blobs=ground.blobs, workers=ground.workers),
        settings=settings,
        bus=ground.bus,
        workers=ground.workers,
        folder=ground.home.jobs,
    )


def _failed(order: OpenOrder) -> bool:
    """Whether no result will come of an order any more."""
    badly = order.data.get("result", "done") != "done" or order.data.get("fetched") == ""
    return badly or (order.done and not order.data.get("fetched"))


def _with_card(order: OpenOrder) -> bool:
    return order.contract.compute.limits.gpus > 0


def _pair(at: tuple[int, int], judgement: Judgement, figures: Figures) -> dict[str, Any]:
    return {
        "of": list(at),
        "outcome": judgement.outcome,
        "words": judgement.words,
        "figures": msgspec.to_builtins(figures),
    }
