"""When a job may go on with another provider, and with which: the rules, without I/O.

Only what the provider is answerable for moves a job: a fault of the data or of the recipe would come
again elsewhere, and would be paid for again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from openstall.market.mechanisms.blame import BAD_CHECKPOINT, moves_on
from openstall.market.orders.documents import ComputeTerms
from openstall.market.records import Offer

MOST_TRIES = 5
SHORTEST_PATIENCE_S = 10
LONGEST_PATIENCE_S = 3600
__all__ = ["BAD_CHECKPOINT", "Candidate", "cap_left", "choose", "is_providers_fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A live offer: its record's address, its author's peer id, and whether that peer is connected now."""

    cid: str
    author: str
    reachable: bool
    offer: Offer


def is_providers_fault(state: str, reason: str) -> bool:
    """Whether a job's report names something that this provider, or the one before, is answerable for."""
    return moves_on(state, reason)


def cap_left(terms: ComputeTerms, promised_micro: int) -> int:
    """What may still be spent: the cap less what the last provider can claim with the vouchers it has."""
    return max(0, terms.cap_micro - promised_micro)


def choose(
    candidates: Iterable[Candidate], terms: ComputeTerms, *, tried: Collection[str], cap_micro: int
) -> Candidate | None:
    """The offer to go on with: as large a machine at no higher price, reachable first, then the cheapest.

    None where no offer will do, or `cap_micro` would not pay for one second.
    """
    total = sum(item.blob.size for item in terms.inputs)
    fit = [
        one
        for one in candidates
        if one.author not in tried
        and terms.job_kind in one.offer.kinds
        and one.offer.price_per_s_micro
        <= min(terms.price_per_s_micro - terms.priority_per_s_micro, cap_micro)
        and one.offer.memory_bytes >= terms.limits.memory_bytes
        and one.offer.threads >= terms.limits.threads
        and _has_cards(one.offer, terms)
        and one.offer.disk_bytes >= max(total, terms.limits.disk_bytes)
    ]
    return min(fit, key=lambda one: (not one.reachable, one.offer.price_per_s_micro, one.cid), default=None)


def _has_cards(offer: Offer, terms: ComputeTerms) -> bool:
    """Whether an offer has as many graphics cards as the job rents, each with as much memory."""
    limits = terms.limits
    least = min((gpu.memory_bytes for gpu in offer.gpus), default=0)
    return not limits.gpus or (len(offer.gpus) >= limits.gpus and least >= limits.gpu_memory_bytes)
