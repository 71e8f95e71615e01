"""How reliable this machine has been for its buyers, and how reliable others have been for this node.

Both are worked out from this node's own books by one rule; what another node says of itself is not asked.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from openstall.app.clock import Clock
from openstall.app.logging import get_logger
from openstall.app.services.capacity.wire import PASSING
from openstall.app.threads import Workers
from openstall.ledger.bond import BondClient
from openstall.ledger.chain import Chain
from openstall.market import canonical
from openstall.market.errors import ChainError
from openstall.market.mechanisms.reliability import (
    HALF_LIFE_DAYS,
    Evidence,
    JobFacts,
    Reliability,
    counts,
    explain,
    of_job,
    untrue_blame,
)
from openstall.market.metering import UNPAID_S
from openstall.market.orders.documents import ComputeTerms, read_contract
from openstall.store.orders import OrderRow, Orders
from openstall.store.provider_log import BondPaid, ProviderLog
from openstall.store.settings import Settings
from openstall.store.verdicts import Verdicts
from openstall.store.vouchers import Vouchers

_BLOCK = "reliability.block"
SHOWN = 200

log = get_logger("openstall.reliability")


@dataclass(slots=True, kw_only=True)
class ReliabilityService:
    """Reads the books. Call from the trio thread."""

    orders: Orders
    vouchers: Vouchers
    verdicts: Verdicts
    kept: ProviderLog
    settings: Settings
    chain: Chain
    workers: Workers
    clock: Clock
    wallet: str
    wallet_of: Callable[[str], Awaitable[str]]
    """The wallet that is bound to a peer, lower case; empty where none is known."""

    async def own(self) -> dict[str, Any]:
        """This machine, as its buyers have found it, with every change of the figure; newest first."""
        return await self._show(self._own_evidence)

    async def of(self, peer_id: str) -> dict[str, Any]:
        """A provider, as this node has found it: own orders there, own challenges, bonds that paid."""
        wallet = await self.wallet_of(peer_id)
        return {"peer_id": peer_id, **await self._show(lambda: self._evidence_of(peer_id, wallet))}

    async def _show(self, gather: Callable[[], list[Evidence]]) -> dict[str, Any]:
        chain_away = not await self._look_at_bonds()
        evidence = await self.workers.store(gather)
        found = await self.workers.work(explain, evidence, self.clock.now())
        return {**_as_dict(found, evidence), "chain_away": chain_away}

    async def _look_at_bonds(self) -> bool:
        """Note the bonds of the group that have paid since the last look; False while the chain is away."""
        if not self.chain.params.bond:
            return True
        try:
            head = (await self.workers.chain(self.chain.head)).number
            final = head - self.chain.params.confirmations + 1
            name = f"{_BLOCK}.{self.chain.params.chain_id}"
            seen = await self.workers.store(self.settings.get, name, -1)
            start = min(seen, final) + 1
            paid = await self.workers.chain(BondClient(self.chain).slashed, start, final)
        except ChainError as error:
            log.info("chain away", code=error.code)
            return False
        for one in paid:
            note = BondPaid(
                bond=one.bond_id.hex(),
                case_hash=one.case_hash.hex(),
                wallet=one.provider,
                amount_micro=one.amount_micro,
                at=one.at,
            )
            await self.workers.store(self.kept.keep_bond, note)
        await self.workers.store(self.settings.set, name, final)
        return True

    def _own_evidence(self) -> list[Evidence]:
        found = [of_job(job_facts(row)) for row in self._settled(role="seller")]
        found += [_challenge(met.outcome, at=met.at, order_id=met.order_id) for met in self.kept.challenges()]
        return found + self._bonds({self.wallet})

    def _evidence_of(self, peer_id: str, wallet: str) -> list[Evidence]:
        rows = self._settled(role="buyer", other=peer_id)
        found = [of_job(self._seen_as_buyer(row)) for row in rows if _is_known(row)]
        for signed in self.verdicts.about(peer_id):
            verdict = signed["doc"]
            passing = verdict["outcome"] == "refused" and verdict["code"] in PASSING
            if verdict["outcome"] != "silent" and not passing:
                outcome = verdict["outcome"]
                found.append(_challenge(outcome, at=verdict["at"], order_id=verdict["order"], reason=outcome))
        # Whoever binds itself to a new wallet keeps what its old ones have done.
        wallets = {read_contract(row.doc).order.seller_wallet.lower() for row in rows}
        return found + self._bonds({one for one in (wallet.lower(), *wallets) if one})

    def _bonds(self, wallets: set[str]) -> list[Evidence]:
        return [Evidence(at=paid.at, what="bond_paid") for paid in self.kept.bonds_of(wallets)]

    def _settled(self, *, role: str, other: str | None = None) -> list[OrderRow]:
        ids = self.orders.list_ids(role=role, kind="compute", state="settled", other=other)
        return [self.orders.get(order_id) for order_id in ids]

    def _seen_as_buyer(self, row: OrderRow) -> JobFacts:
        facts, report = job_facts(row), report_in(row)
        if report is None:
            return facts
        terms = read_contract(row.doc).compute
        asked = bool(row.data.get("cancel_requested"))
        if report["reason"] == "withdrawn":
            asked = asked or any(one.event == "start_withdraw" for one in self.orders.events(row.order_id))
        price = terms.price_per_s_micro
        untrue = untrue_blame(
            report["reason"],
            buyer_ended=asked,
            paid_in_time=self.vouchers.promised(row.order_id) >= report["owed_micro"] - UNPAID_S * price,
            cap_reached=price * (report["seconds"] + 1) > terms.cap_micro,
        )
        return JobFacts(
            order_id=facts.order_id,
            at=facts.at,
            started=facts.started,
            late=facts.late,
            report=facts.report,
            caught=facts.caught,
            untrue=untrue,
        )


def job_facts(row: OrderRow) -> JobFacts:
    """What a settled order in the books says, on either side."""
    report = report_in(row)
    fault = row.data.get("fault") if row.role == "buyer" else None
    return JobFacts(
        order_id=row.order_id,
        at=row.changed_at,
        started="started_at" in row.data,
        late=_was_late(row, read_contract(row.doc).compute),
        silent=bool(row.data.get("silent_since")) and bool(row.data.get("continued_by")),
        report=(str(report["state"]), str(report["reason"])) if report else None,
        caught=str(fault["code"]) if fault else "",
    )


def report_in(row: OrderRow) -> dict[str, Any] | None:
    """The provider's report, whose signature was checked when it came in; None before it is here."""
    raw = row.data.get("report")
    if not raw:
        return None
    report: dict[str, Any] = canonical.decode(base64.b64decode(raw))["report"]
    return report


def _is_known(row: OrderRow) -> bool:
    """A report may still come after the settlement; until then nothing is concluded."""
    waits = "started_at" in row.data and not row.data.get("report")
    return not waits or "fetched" in row.data or bool(row.data.get("continued_by"))


def _was_late(row: OrderRow, terms: ComputeTerms) -> bool:
    """Whether the buyer took the money back only after the job should have started."""
    return row.changed_at - terms.withdraw_delay_s > terms.start_by


def _challenge(outcome: str, *, at: int, order_id: str, reason: str = "") -> Evidence:
    if outcome == "passed":
        return Evidence(at=at, what="challenge_passed", order_id=order_id)
    return Evidence(at=at, what="challenge_failed", order_id=order_id, reason=reason or outcome)


def summary_words(found: Reliability) -> str:
    """The figure in a sentence that claims no more than the evidence carries."""
    count = f"{(found.good_milli + found.bad_milli) / 1000:.1f}".removesuffix(".0")
    seen = "1 recent order or challenge" if count == "1" else f"{count} recent orders and challenges"
    if not found.good_milli + found.bad_milli:
        return "Nothing has been seen yet: the figure begins with the first job or challenge."
    least = f"at least {found.score / 100:.2f} % of orders end well"
    if found.is_new:
        return f"New: so far {least}. That rests on little: as much as {seen}; older ones count less."
    return f"{least.capitalize()}. That rests on as much as {seen}; older ones count less."


def _as_dict(found: Reliability, evidence: list[Evidence]) -> dict[str, Any]:
    newest = found.changes[::-1]
    return {
        "words": summary_words(found),
        "score": found.score,
        "new": found.is_new,
        "good_milli": found.good_milli,
        "bad_milli": found.bad_milli,
        "counts": counts(evidence),
        "half_life_days": HALF_LIFE_DAYS,
        "items": [asdict(change) for change in newest[:SHOWN]],
        "total": len(newest),
    }
