"""A node with one dishonest change, run as a process of its own: what a peer with a modified client does.

python modified_node.py TRICK[:ROLE:STATE] [the command line of openstall]
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from openstall.app.cli.main import main
from openstall.app.services import catalogue, sealing, selling
from openstall.app.services.capacity import claims, testbench
from openstall.app.services.custom import assessing, handlers
from openstall.app.services.orders import (
    job_buyer,
    job_checkpoints,
    job_meter,
    job_provider,
    negotiation,
    sale,
)
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.compute_agent import client, specs
from openstall.learning.grid import grid_of
from openstall.learning.intervals import wilson
from openstall.market import merkle, metering
from openstall.market.errors import Refused
from openstall.market.orders import results
from openstall.market.requests import assessment, openings

IMPATIENT_S = 5
"""A cheat waits no longer for its last voucher: nobody will send it."""


def never_deliver() -> None:
    """The seller takes the money and stays silent."""

    async def silent(self: object, order: object) -> None:
        """Do nothing at all."""

    sale.SaleSeller.step = silent  # type: ignore[method-assign,assignment]


def wrong_key() -> None:
    """The seller delivers a key that opens nothing."""
    honest = sealing.seal_key

    def seal(key: bytes, box_key: str) -> bytes:
        return honest(bytes(byte ^ 255 for byte in key), box_key)

    selling.seal_key = seal


def fast_meter() -> None:
    """The provider's meter counts a thousand seconds each second."""
    honest = metering.sign_tick

    def sign(tick: metering.Tick, contract: Any, seed: bytes) -> bytes:
        seconds = tick.seconds * 1000
        terms = contract.compute
        amount = metering.owed(terms.price_per_s_micro, terms.cap_micro, seconds)
        fast = metering.Tick(order=tick.order, seq=tick.seq, seconds=seconds, owed_micro=amount, at=tick.at)
        return honest(fast, contract, seed)

    job_meter.sign_tick = sign
    job_provider.LAST_VOUCHER_WAIT_S = IMPATIENT_S


def dear_report() -> None:
    """The provider's last report asks for the whole cap."""
    honest = results.sign_report

    def sign(report: results.JobReport, contract: Any, seed: bytes) -> results.SignedReport:
        plain = {name: getattr(report, name) for name in report.__struct_fields__}
        return honest(
            results.JobReport(**{**plain, "owed_micro": contract.compute.cap_micro}), contract, seed
        )

    job_provider.sign_report = sign
    job_provider.LAST_VOUCHER_WAIT_S = IMPATIENT_S


def spoilt_checkpoint() -> None:
    """The provider gives out a checkpoint with other weights than the job wrote, cut short."""
    honest = job_checkpoints.OfferedCheckpoints.offer

    async def offer(self: Any, order: Any, folder: Path, event: Any, owed_micro: int) -> Any:
        path = folder / event.file.name
        path.write_bytes(path.read_bytes()[:-1000])
        return await honest(self, order, folder, event, owed_micro)

    job_checkpoints.OfferedCheckpoints.offer = offer  # type: ignore[method-assign]


def loses_agent() -> None:
    """The provider's agent is gone in the middle of each job."""

    async def run(self: Any, spec: Any, inputs: Path, outputs: Path, on_event: Any, **rest: Any) -> Any:
        return specs.JobResult(state="failed", reason="agent_lost", words="The agent is gone.")

    client.AgentClient.run = run  # type: ignore[method-assign]


def decline() -> None:
    """The seller signs nothing."""

    async def refuse(self: object, contract: object, signature: str) -> str:
        raise Refused("closed", "This stall is closed today.", "Come again tomorrow.")

    negotiation.Negotiation._admit = refuse  # type: ignore[method-assign,assignment]


def stay_in(role: str, state: str) -> None:
    """A party that does nothing more once its order is in a state."""

    async def hold(order: OpenOrder) -> OpenOrder:
        if (order.role, order.state) == (role, state):
            await trio.sleep_forever()
        return order

    def held_after(name: str) -> None:
        honest = getattr(OrderDesk, name)

        async def enter(self: OrderDesk, *args: Any, **kwargs: Any) -> OpenOrder:
            return await hold(await honest(self, *args, **kwargs))

        setattr(OrderDesk, name, enter)

    def held_before(handler: Any) -> None:
        honest = handler.step

        async def step(self: object, order: OpenOrder) -> None:
            await honest(self, await hold(order))

        handler.step = step

    for name in ("create", "advance"):
        held_after(name)
    for handler in (sale.SaleBuyer, sale.SaleSeller, job_buyer.JobBuyer, job_provider.JobProvider):
        held_before(handler)


def stay_as_titled() -> None:
    """A party that does nothing more once a model made to order is in the state that its title names."""
    honest = handlers.CustomWatch.catch_up

    async def catch_up(self: handlers.CustomWatch, order: OpenOrder) -> Any:
        found = await honest(self, order)
        if found[0].contract.custom.title == f"Held in {found[0].state}":
            await trio.sleep_forever()
        return found

    handlers.CustomWatch.catch_up = catch_up  # type: ignore[method-assign]


def claimed_gpu() -> None:
    """The provider claims a GPU that it lacks, and answers challenges with what costs it nothing."""
    honest, honest_publish = testbench.Testbench.prove, claims.Claims._publish

    async def prove(self: Any, work: Any, seed: str, *, keep: Path, within_s: float, **rest: Any) -> Any:
        small = msgspec.structs.replace(work, device="cpu", rounds=1)
        return await honest(self, small, seed, keep=keep, within_s=within_s, **rest)

    async def publish(self: Any, claim: Any) -> Any:
        works = [msgspec.structs.replace(work, device="cuda:0", rounds=60, ms=2_000) for work in claim.works]
        return await honest_publish(self, msgspec.structs.replace(claim, works=works))

    testbench.Testbench.prove = prove  # type: ignore[method-assign]
    claims.Claims._publish = publish  # type: ignore[method-assign]


def claimed_speed() -> None:
    """The provider claims to be thirty times as fast as it is, and does the work when it is asked to."""
    honest_publish = claims.Claims._publish

    told: set[str] = set()

    def stretch(work: Any) -> Any:
        if work.seed in told:
            return work
        told.add(work.seed)
        return msgspec.structs.replace(work, rounds=30 * work.rounds, ms=2_000)

    async def publish(self: Any, claim: Any) -> Any:
        works = [stretch(work) for work in claim.works]
        return await honest_publish(self, msgspec.structs.replace(claim, works=works))

    claims.Claims._publish = publish  # type: ignore[method-assign]


def made_up_result() -> None:
    """The provider answers every other row as it likes, and signs for that: it did only half of the work."""
    honest = job_provider.JobProvider._finish

    async def finish(self: Any, order: Any, result: Any, job: Any = None, folder: Any = None) -> None:
        said = folder / "predictions.csv" if folder is not None else None
        if said is not None and said.exists():
            lines = said.read_text().splitlines()
            lines[2::2] = [f"{line.split(',')[0]},{lines[1].split(',', 1)[1]}" for line in lines[2::2]]
            said.write_text("\n".join(lines) + "\n")
        await honest(self, order, result, job, folder)

    job_provider.JobProvider._finish = finish  # type: ignore[method-assign]


def made_up_report() -> None:
    """The evaluator says of a second try that all is right, and commits to answers that fit its words."""
    honest, honest_reopen = assessing.SandboxAssessor.assess, assessing.SandboxAssessor.reopen

    def right_answers(order: Any, rows: Path) -> list[list[str]]:
        with rows.open(newline="") as file:
            return [[line[order.contract.custom.target]] for line in csv.DictReader(file)]

    async def assess(self: Any, order: Any, trial: Any, *, key: bytes, at: int) -> bytes:
        raw = await honest(self, order, trial, key=key, at=at)
        if order.data["attempt"] == 1:
            return raw
        found, salts = assessment.read_statement(raw), self._params(order, 2, seed=0).salt_seed
        leaves = openings.seal(right_answers(order, trial.rows), bytes.fromhex(salts))
        told = found.predicate.figures[0]
        low, _ = wilson(told.rows, told.rows)
        grid = grid_of(told.name, found.predicate.threshold)
        figure = msgspec.structs.replace(
            told,
            hits=told.rows,
            value=grid.text(10**grid.decimals),
            low=grid.text(grid.down(low)),
            high="1.00",
        )
        false = msgspec.structs.replace(
            found.predicate, figures=[figure], passed=True, outputs_root=merkle.root_of(leaves).hex()
        )
        return assessment.write_statement(found.model_sha256, false)

    async def reopen(self: Any, order: Any, trial: Any, statement: Any, wanted: list[int]) -> Any:
        if order.data["attempt"] == 1:
            return await honest_reopen(self, order, trial, statement, wanted)
        answers, salts = right_answers(order, trial.rows), self._params(order, 2, seed=0).salt_seed
        leaves = openings.seal(answers, bytes.fromhex(salts))
        return [openings.show(leaves, bytes.fromhex(salts), at, answers[at]) for at in wanted]

    assessing.SandboxAssessor.assess = assess  # type: ignore[method-assign]
    assessing.SandboxAssessor.reopen = reopen  # type: ignore[method-assign]


def withdraw_anything() -> None:
    """Whatever record it once signed is taken back, a request with bids too."""

    async def withdraw_cid(self: Any, cid: str, _type: str) -> Any:
        record = (await self.live_record(cid)).record
        return await self.withdraw(record.type, record.key)

    catalogue.Catalogue.withdraw_cid = withdraw_cid  # type: ignore[method-assign]


TRICKS: dict[str, Callable[..., None]] = {
    "never_deliver": never_deliver,
    "wrong_key": wrong_key,
    "fast_meter": fast_meter,
    "dear_report": dear_report,
    "spoilt_checkpoint": spoilt_checkpoint,
    "decline": decline,
    "loses_agent": loses_agent,
    "stay_in": stay_in,
    "stay_as_titled": stay_as_titled,
    "made_up_result": made_up_result,
    "made_up_report": made_up_report,
    "claimed_gpu": claimed_gpu,
    "claimed_speed": claimed_speed,
    "withdraw_anything": withdraw_anything,
}

if __name__ == "__main__":
    name, *details = sys.argv.pop(1).split(":")
    TRICKS[name](*details)
    main()
