"""May I sign this? What a seller checks in a proposed contract against its own live record.

Nothing in a proposal is trusted: every term is either copied from the record that the seller signed,
or lies within bounds that protect the seller.
"""

from __future__ import annotations

from openstall.market.errors import InvalidOrder
from openstall.market.job_kinds import GPU_KINDS
from openstall.market.orders.documents import ComputeTerms, Contract, CustomTerms, SaleTerms
from openstall.market.records import MAX_CLOCK_SKEW_S, Listing, Offer, SignedRecord

LONGEST_FUND_S = 3600
"""A proposal of a job is open no longer than this: the price must not be an option on tomorrow."""
LONGEST_SALE_FUND_S = 7 * 86_400
"""A copy of a model does not run out, and its seller may be off for days; see `is_patient`."""
ARBITER_S = 7 * 86_400
ARBITER_FEE_BPS = 200
SILENT_BUYER_BPS = 10_000
"""If the arbiter stays silent the buyer gets the money back: the seller chose the arbiter."""
MAX_PROCESSES = 64
MAX_LOG_BYTES = 4 * 1024 * 1024
LEAST = {"memory_bytes": 128 * 2**20, "disk_bytes": 2**20, "processes": 4, "log_bytes": 1024}
"""Less than this no job can run with; the compute agent refuses it."""
START_WITHIN_S = 600
LONGEST_START_S = 3600
"""After the time to pay; until then an order may hold one of the provider's places without a job in it."""
SETTLE_AFTER_S = 900


def arbitration() -> dict[str, int]:
    """The terms of every sale that names an arbiter; shares in hundredths of a percent, time in seconds.

    The arbiter takes `fee_bps` of the price when it rules. Silent for `answer_s` after a dispute it gets
    nothing, and `silent_buyer_bps` of the price go back to the buyer.
    """
    return {"fee_bps": ARBITER_FEE_BPS, "silent_buyer_bps": SILENT_BUYER_BPS, "answer_s": ARBITER_S}


def record_named(contract: Contract) -> str:
    """The cid of the record that an order answers to."""
    terms = contract.terms
    if isinstance(terms, ComputeTerms):
        return terms.offer
    return terms.listing if isinstance(terms, SaleTerms) else terms.request


def watchers(contract: Contract) -> tuple[str, ...]:
    """The wallets beside the parties that hold the contract from the first day: arbiter and evaluators."""
    terms = contract.terms
    evaluators = terms.evaluators if isinstance(terms, CustomTerms) else []
    named = [wallet.lower() for wallet in (contract.arbiter, *evaluators) if wallet]
    return tuple(dict.fromkeys(named))


def longest_fund_s(kind: str) -> int:
    """How far ahead the time to pay of an order may lie."""
    return LONGEST_SALE_FUND_S if kind == "sale" else LONGEST_FUND_S


def is_patient(contract: Contract, now: int) -> bool:
    """Whether a sale waits for longer than a party that is on needs: it may not take the last places."""
    terms = contract.terms
    return isinstance(terms, SaleTerms) and terms.fund_by > now + LONGEST_FUND_S + MAX_CLOCK_SKEW_S


def may_be_watched(contract: Contract, now: int) -> bool:
    """Whether an arbiter or evaluator takes an order up now; others would only fill its books."""
    terms = contract.terms
    if isinstance(terms, SaleTerms):
        soon = terms.fund_by <= now + LONGEST_SALE_FUND_S + MAX_CLOCK_SKEW_S
        return soon and now <= terms.deliver_by + terms.review_s
    if isinstance(terms, CustomTerms):
        created = contract.order.created <= now + MAX_CLOCK_SKEW_S
        return created and now <= terms.deliver_by + terms.evaluate_s + terms.review_s
    return False


def check_proposal(contract: Contract, record: SignedRecord, *, wallet: str, now: int) -> None:
    """Check a contract proposed by a buyer against the seller's live listing or offer.

    Args:
        wallet: the seller's own wallet address.
        now: Unix seconds.

    Raises:
        InvalidOrder: with the term that differs, in words that the buyer is shown.
    """
    order = contract.order
    if order.seller != record.record.author or order.seller_wallet.lower() != wallet.lower():
        raise InvalidOrder("not_my_order", "The order is addressed to another seller.")
    if order.network != record.record.network:
        raise InvalidOrder("other_network", "The order belongs to another group.")
    if record.record.expires <= now:
        raise InvalidOrder(
            "expired", "What was on sale has expired.", "Open the page again to see the present terms."
        )
    oldest = now - MAX_CLOCK_SKEW_S - (LONGEST_SALE_FUND_S if order.kind == "sale" else 0)
    if not oldest <= order.created <= now + MAX_CLOCK_SKEW_S:
        raise InvalidOrder("clock", "The order's date is off.", "Check the clocks of both computers.")
    if isinstance(record.body, Listing) and order.kind == "sale":
        _check_sale(contract.sale, record.cid, record.body, order.chain_id, now)
    elif isinstance(record.body, Offer) and order.kind == "compute":
        _check_compute(contract.compute, record.cid, record.body, order.chain_id, now)
    else:
        raise InvalidOrder("wrong_kind", "The order does not fit what is on sale.")


def _check_sale(terms: SaleTerms, cid: str, listing: Listing, chain_id: int, now: int) -> None:
    same = {
        "listing": terms.listing == cid,
        "title": terms.title == listing.title,
        "files": terms.files == listing.files,
        "package": terms.blob == listing.blob and terms.key_sha256 == listing.key_sha256,
        "price": terms.price_micro == listing.price_micro,
        "escrow": terms.escrow.lower() == listing.escrow.lower() and chain_id == listing.chain_id,
        "arbiter": terms.arbiter.lower() == listing.arbiter.lower(),
        "arbiter's terms": (terms.arbiter_s, terms.arbiter_fee_bps, terms.silent_buyer_bps)
        == (ARBITER_S, ARBITER_FEE_BPS, SILENT_BUYER_BPS),
        "review time": terms.review_s == listing.review_s,
        "time to pay": now < terms.fund_by <= now + LONGEST_SALE_FUND_S + MAX_CLOCK_SKEW_S,
        "delivery time": terms.deliver_by >= terms.fund_by + listing.deliver_s,
    }
    _refuse_differences(same)


def _check_compute(terms: ComputeTerms, cid: str, offer: Offer, chain_id: int, now: int) -> None:
    same = {
        "offer": terms.offer == cid,
        "price": terms.price_per_s_micro == offer.price_per_s_micro + terms.priority_per_s_micro,
        "kind of job": terms.job_kind in offer.kinds,
        "longest time": terms.max_s <= offer.max_s,
        "memory": terms.limits.memory_bytes <= offer.memory_bytes,
        "disk": terms.limits.disk_bytes <= offer.disk_bytes,
        "threads": terms.limits.threads <= offer.threads,
        "processes": terms.limits.processes <= MAX_PROCESSES,
        "log size": terms.limits.log_bytes <= MAX_LOG_BYTES,
        "graphics": _fits_graphics(terms, offer),
        "least limits": all(getattr(terms.limits, name) >= least for name, least in LEAST.items()),
        "size of the inputs": sum(item.blob.size for item in terms.inputs) <= terms.limits.disk_bytes,
        "channel": terms.channel.lower() == offer.channel.lower() and chain_id == offer.chain_id,
        "withdrawal delay": terms.withdraw_delay_s >= offer.withdraw_delay_s,
        "time to pay": now < terms.fund_by <= now + LONGEST_FUND_S + MAX_CLOCK_SKEW_S,
        "time to start": terms.fund_by + START_WITHIN_S
        <= terms.start_by
        <= terms.fund_by + START_WITHIN_S + LONGEST_START_S,
        "time to settle": terms.settle_by >= terms.start_by + terms.max_s + SETTLE_AFTER_S,
    }
    _refuse_differences(same)


def _fits_graphics(terms: ComputeTerms, offer: Offer) -> bool:
    """Whether the job rents no more graphics cards than are on offer, and is of a kind that uses them."""
    limits = terms.limits
    if not limits.gpus:
        return not limits.gpu_memory_bytes
    least = min((gpu.memory_bytes for gpu in offer.gpus), default=0)
    enough = limits.gpus <= len(offer.gpus) and 0 < limits.gpu_memory_bytes <= least
    return enough and terms.job_kind in GPU_KINDS


def _refuse_differences(same: dict[str, bool]) -> None:
    different = [name for name, equal in same.items() if not equal]
    if different:
        raise InvalidOrder(
            "terms_differ",
            f"The order differs from what is on sale: {', '.join(different)}.",
            "Open the page again to see the present terms.",
        )
