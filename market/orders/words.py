"""What a state means and what a step did, in the words of the person who looks at it.

The words are those of the shop owner, and one word for one thing: money of an order is in escrow
until it is paid or returned, also where a job is paid by the second.
"""

from __future__ import annotations

from openstall.market.money import MICRO, format_amount, share_of

_SALE_BUYER = {
    "proposed": "Waiting for the seller to sign.",
    "agreed": "Both have signed. Fetching the encrypted package, then paying into escrow.",
    "funded": "Your money is held in escrow. Waiting for the seller to release the key.",
    "delivered": "The seller has delivered. Check the model, then confirm, or open a dispute.",
    "disputed": "Waiting for the arbiter's ruling. Your money stays in escrow until then.",
    "completed": "Finished: the seller is paid and the model is yours.",
    "refunded": "Finished: your money came back in full.",
    "ruled": "Finished: the money in escrow was split by the arbiter's ruling, or as both signed.",
    "declined": "Not agreed. No money moved.",
    "lapsed": "The time to pay ran out. No money moved.",
}
_SALE_SELLER = {
    **_SALE_BUYER,
    "proposed": "A buyer has asked for this model.",
    "agreed": "Both have signed. Waiting for the buyer's money to reach the escrow.",
    "funded": "The buyer's money is in escrow. Releasing the key.",
    "delivered": "Delivered. You are paid when the buyer confirms or the review time ends.",
    "disputed": "Waiting for the arbiter's ruling. The money stays in escrow until then.",
    "completed": "Finished: you are paid.",
    "refunded": "Finished: the buyer has the whole price back.",
}
_SALE_ARBITER = {
    **_SALE_BUYER,
    "proposed": "A buyer has asked for this model. You are the arbiter.",
    "agreed": "Both have signed. Waiting for the buyer's money to reach the escrow.",
    "funded": "The buyer's money is in escrow. Waiting for the seller to release the key.",
    "delivered": "The seller has delivered. The buyer may open a dispute.",
    "disputed": "A dispute waits for your ruling. The money stays in escrow until then.",
    "completed": "Finished: the seller is paid.",
    "refunded": "Finished: the buyer has the whole price back.",
}
_COMPUTE_BUYER = {
    "proposed": "Waiting for the provider to sign.",
    "agreed": "Both have signed. Paying the cap of the job into escrow.",
    "funded": "Your money is held in escrow. Waiting for the provider to start the job.",
    "running": "The job runs. You pay by the second, never above your cap.",
    "ended": "The job has ended. Waiting for the provider to settle; the rest comes back to you.",
    "withdrawing": "You are taking your money back. What was not earned returns after the withdrawal delay.",
    "settled": "Finished: the provider is paid for the seconds used, the rest is back in your wallet.",
    "declined": "Not agreed. No money moved.",
    "lapsed": "The time to pay ran out. No money moved.",
}
_COMPUTE_SELLER = {
    **_COMPUTE_BUYER,
    "proposed": "A buyer asks for your machine.",
    "agreed": "Both have signed. Waiting for the buyer's money to reach the escrow.",
    "funded": "The buyer's money is in escrow. Starting the job.",
    "running": "The job runs in the sandbox. You earn by the second.",
    "ended": "The job has ended. Taking what you earned out of the escrow.",
    "withdrawing": "The buyer is taking the rest back. You are paid what you earned before that.",
    "settled": "Finished: you are paid for the seconds used.",
}
_WORDS = {
    ("sale", "buyer"): _SALE_BUYER,
    ("sale", "seller"): _SALE_SELLER,
    ("sale", "arbiter"): _SALE_ARBITER,
    ("compute", "buyer"): _COMPUTE_BUYER,
    ("compute", "seller"): _COMPUTE_SELLER,
}
_DEADLINES = {
    ("sale", "proposed"): "then the request lapses; no money has moved",
    ("sale", "agreed"): "then the order lapses; no money has moved",
    ("sale", "funded"): "then the buyer's money goes back in full, without anybody's consent",
    ("sale", "delivered"): "then the seller is paid, unless the buyer has opened a dispute",
    ("sale", "disputed"): "then the money in escrow is split as both signed for a silent arbiter",
    ("compute", "proposed"): "then the request lapses; no money has moved",
    ("compute", "agreed"): "then the order lapses; no money has moved",
    ("compute", "funded"): "then the buyer takes the money back",
    ("compute", "running"): "then the buyer takes back what is not earned",
    ("compute", "ended"): "then the buyer takes back what is not earned",
    ("compute", "withdrawing"): "then the money is back in the buyer's wallet",
}
_WAY_BACK = {
    "sale": "If the seller vanishes before delivery, the escrow returns the whole price after the delivery "
    "deadline.",
    "compute": "If the provider vanishes, what was not earned returns after the deadline and the withdrawal "
    "delay.",
}
_NO_ARBITER = "The seller has delivered. Check the model, then confirm. This order has no arbiter."
# The past tense is the same for “you” and “the buyer”, so one sentence serves every role.
_EVENTS = {
    ("sale", "agree"): "{seller} signed the order.",
    ("sale", "decline"): "{seller} declined the order.",
    ("sale", "lapse"): "The time to pay ran out.",
    ("sale", "fund"): "{buyer} paid the price into escrow.",
    ("sale", "withdraw"): "{buyer} stepped back before paying.",
    ("sale", "deliver"): "{seller} released the key.",
    ("sale", "cancel"): "{seller} gave the whole price back.",
    ("sale", "refund"): "The delivery deadline passed. The escrow returned the whole price.",
    ("sale", "complete"): "{buyer} confirmed. The escrow paid the price out.",
    ("sale", "dispute"): "{buyer} opened a dispute.",
    ("sale", "claim"): "The review time ended without a dispute. The escrow paid the price out.",
    ("sale", "rule"): "{arbiter} gave a ruling. The money in escrow was split by it.",
    ("sale", "settle_silent"): "The arbiter stayed silent. The money in escrow was split as both signed.",
    ("compute", "agree"): "{seller} signed the order.",
    ("compute", "decline"): "{seller} declined the order.",
    ("compute", "lapse"): "The time to pay ran out.",
    ("compute", "fund"): "{buyer} paid the cap of the job into escrow.",
    ("compute", "start"): "{seller} started the job in the sandbox.",
    ("compute", "end"): "The job ended.",
    ("compute", "close"): "{seller} took what was earned. The rest went back.",
    ("compute", "start_withdraw"): "{buyer} began to take the rest back.",
    ("compute", "withdraw"): "The withdrawal delay ended. What was not earned went back.",
}
_STEPPED_BACK = "{buyer} stepped back before paying."
_JOB_ENDS = {
    "failed": "The job failed",
    "cancelled": "The job was cancelled",
    "refused": "The job was refused",
    "limit": "The job was stopped at a limit",
}


def state_words(kind: str, role: str, state: str, *, arbiter: bool = True) -> str:
    """A sentence about the state, for one party; `arbiter` says whether the order has one."""
    if (kind, role, state, arbiter) == ("sale", "buyer", "delivered", False):
        return _NO_ARBITER
    return _WORDS[kind, role][state]


def event_words(kind: str, role: str, state: str, event: str) -> str:
    """A sentence about what `event` did in `state`, for one party."""
    template = _STEPPED_BACK if (state, event) == ("agreed", "withdraw") else _EVENTS[kind, event]
    names = {
        "buyer": "The buyer",
        "seller": "The provider" if kind == "compute" else "The seller",
        "arbiter": "The arbiter",
        role: "You",
    }
    return template.format(**names)


def arbitration_words(
    price_micro: int, *, fee_bps: int, silent_buyer_bps: int, answer_s: int
) -> tuple[str, str]:
    """What the arbiter of a sale takes, and what becomes of the money when it stays silent."""
    fee, back = share_of(price_micro, fee_bps), share_of(price_micro, silent_buyer_bps)
    returned = "the whole price returns" if back == price_micro else f"{format_amount(back)} credits return"
    percent = format_amount(fee_bps * MICRO // 100, places=0)
    fee_words = f"{percent} % of the price: {format_amount(fee)} credits, taken only if the arbiter rules."
    silence_words = (
        f"Without a ruling within {_days(answer_s)} of the dispute, {returned} to the buyer, "
        "and the arbiter gets nothing."
    )
    return fee_words, silence_words


def _days(seconds: int) -> str:
    count, unit = (seconds // 86_400, "day") if seconds % 86_400 == 0 else (-(-seconds // 3600), "hour")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def end_words(end: str, reason: str, words: str) -> str:
    """What became of a job goes before what becomes of its money; a job that is done needs no such words.

    Args:
        end: the state of the job's report.
        reason: its words.
        words: those of the order's state.
    """
    if end not in _JOB_ENDS:
        return words
    return f"{_JOB_ENDS[end]}: {_sentence(reason)} {_capital(words.removeprefix('Finished: '))}"


def declined_words(reason: str) -> str:
    """Why an order was not agreed, in the words of the side that did not sign."""
    return f"Not agreed: {_sentence(reason)} No money moved."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def deadline_words(kind: str, state: str) -> str:
    """What happens when the deadline of the state passes; empty in a final state."""
    return _DEADLINES.get((kind, state), "")


def way_back(kind: str) -> str:
    """How the buyer's money returns when the other side vanishes."""
    return _WAY_BACK[kind]
