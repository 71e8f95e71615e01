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
_CUSTOM_BUYER = {
    "proposed": "The bidding is over. Waiting for the developer to sign; the price is held for you.",
    "agreed": "Both have signed. The price moves into escrow.",
    "funded": "Your money is held in escrow. The developer makes the model.",
    "submitted": "A model was handed in. The evaluators measure it on your sealed rows.",
    "failed": "The model missed what you asked for. The developer may hand in another, or the money returns.",
    "passed": "The model reached what you asked for. Waiting for its key.",
    "delivered": "The key is here. Check the model; without a dispute the developer is paid.",
    "disputed": "Waiting for the arbiter's ruling. Your money stays in escrow until then.",
    "completed": "Finished: the developer is paid and the model is yours.",
    "refunded": "Finished: your money came back in full.",
    "ruled": "Finished: the money in escrow was split by the arbiter's ruling, or in halves without one.",
}
_CUSTOM_SELLER = {
    **_CUSTOM_BUYER,
    "proposed": "You won the bidding. Waiting for the signatures; the price is held for you.",
    "agreed": "Both have signed. The price moves into escrow.",
    "funded": "The price is in escrow. Make the model and hand it in before the deadline.",
    "submitted": "Your model is being measured on rows that you never see.",
    "failed": "Your model missed what was asked for. You may hand in another, or call the arbiter.",
    "passed": "Your model reached what was asked for. Handing its key over.",
    "delivered": "Delivered. You are paid when the buyer confirms or the review time ends.",
    "disputed": "Waiting for the arbiter's ruling. The money stays in escrow until then.",
    "completed": "Finished: you are paid.",
    "refunded": "Finished: the buyer has the whole price back.",
}
_CUSTOM_ARBITER = {
    **_CUSTOM_BUYER,
    "proposed": "A model was ordered. You are the arbiter.",
    "funded": "The price is in escrow. The developer makes the model.",
    "submitted": "A model was handed in and is being measured.",
    "failed": "The model missed what was asked for. The developer may call you.",
    "passed": "The model reached what was asked for. Its key is about to be handed over.",
    "delivered": "The key was handed over. The buyer may call you.",
    "disputed": "A dispute waits for your ruling. The money stays in escrow until then.",
    "completed": "Finished: the developer is paid.",
    "refunded": "Finished: the buyer has the whole price back.",
}
_CUSTOM_EVALUATOR = {
    **_CUSTOM_ARBITER,
    "proposed": "A model was ordered. You are an evaluator.",
    "submitted": "A model was handed in. This computer measures it on the buyer's sealed rows.",
    "failed": "The model missed what was asked for. The developer may hand in another.",
    "delivered": "The key was handed over. Nothing is left for you to do.",
    "disputed": "Waiting for the arbiter's ruling. Nothing is left for you to do.",
}
_WORDS = {
    ("custom", "buyer"): _CUSTOM_BUYER,
    ("custom", "seller"): _CUSTOM_SELLER,
    ("custom", "arbiter"): _CUSTOM_ARBITER,
    ("custom", "evaluator"): _CUSTOM_EVALUATOR,
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
    ("custom", "proposed"): "then the buyer's money goes back in full, without anybody's consent",
    ("custom", "agreed"): "then the buyer's money goes back in full, without anybody's consent",
    ("custom", "funded"): "then the buyer's money goes back in full, without anybody's consent",
    ("custom", "submitted"): "then the buyer's money goes back in full: nobody measured the model",
    ("custom", "failed"): "then the buyer's money goes back in full, unless the arbiter was called",
    ("custom", "passed"): "then the buyer's money goes back in full: the key was not handed over",
    ("custom", "delivered"): "then the developer is paid, unless the buyer has opened a dispute",
    ("custom", "disputed"): "then buyer and developer have half of the money each",
}
_UNPAID = "No money has moved. If the other side stays silent, the order lapses."
_SILENT_ARBITER = "If the arbiter stays silent, the money in escrow is split as both signed."
_UNEARNED = (
    "If the provider vanishes, what was not earned returns after the deadline and the withdrawal delay."
)
_EARNED = "If the buyer vanishes, the job stops and you are paid what you earned."
_BACK_IN_TIME = "If the developer vanishes, the whole price returns after the deadline."
_HALVES = "If the arbiter stays silent, each side has half of the money."
_VANISHED = {
    ("custom", "buyer"): {
        "proposed": _BACK_IN_TIME,
        "agreed": _BACK_IN_TIME,
        "funded": _BACK_IN_TIME,
        "submitted": "If the evaluators stay silent, the whole price returns, unless the arbiter is called.",
        "failed": _BACK_IN_TIME,
        "passed": _BACK_IN_TIME,
        "delivered": "The model is on your disk. Nobody can take it back.",
        "disputed": _HALVES,
    },
    ("custom", "seller"): {
        "proposed": "If the buyer vanishes, the price moves into escrow all the same.",
        "agreed": "If the buyer vanishes, the price moves into escrow all the same.",
        "funded": "If the buyer vanishes, the evaluators still measure your model.",
        "submitted": "If the evaluators stay silent, you may call the arbiter. Your model stays yours.",
        "failed": "Your model stays yours: its key was not handed over.",
        "passed": "If the buyer vanishes, hand over the key: you are paid when the review time ends.",
        "delivered": "If the buyer stays silent, you are paid when the review time ends.",
        "disputed": _HALVES,
    },
    ("sale", "buyer"): {
        "proposed": _UNPAID,
        "agreed": _UNPAID,
        "funded": "If the seller vanishes, the escrow returns the whole price after the delivery deadline.",
        "delivered": "The model is on your disk. Nobody can take it back.",
        "disputed": _SILENT_ARBITER,
    },
    ("sale", "seller"): {
        "proposed": _UNPAID,
        "agreed": _UNPAID,
        "funded": "If the buyer vanishes after you deliver, you are paid when the review time ends.",
        "delivered": "If the buyer stays silent, you are paid when the review time ends.",
        "disputed": _SILENT_ARBITER,
    },
    ("compute", "buyer"): {
        "proposed": _UNPAID,
        "agreed": _UNPAID,
        "funded": _UNEARNED,
        "running": _UNEARNED,
        "ended": _UNEARNED,
        "withdrawing": "If the provider stays silent, the rest returns when the withdrawal delay ends.",
    },
    ("compute", "seller"): {
        "proposed": _UNPAID,
        "agreed": _UNPAID,
        "funded": _EARNED,
        "running": _EARNED,
        "ended": _EARNED,
        "withdrawing": "You are paid what you earned, if this computer is on before the delay ends.",
    },
}
_NO_ARBITER = "The seller has delivered. Check the model, then confirm. This order has no arbiter."
_JOB_ENDS = {
    "failed": "The job failed",
    "cancelled": "The job was cancelled",
    "refused": "The job was refused",
    "limit": "The job was stopped at a limit",
}


def seller_word(kind: str) -> str:
    """What the side that sells is called."""
    return "developer" if kind == "custom" else "seller"


def state_words(kind: str, role: str, state: str, *, arbiter: bool = True) -> str:
    """A sentence about the state, for one party; `arbiter` says whether the order has one."""
    if (kind, role, state, arbiter) == ("sale", "buyer", "delivered", False):
        return _NO_ARBITER
    return _WORDS[kind, role][state]


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


def way_back(kind: str, role: str, state: str) -> str:
    """What happens to a party's money if the other side vanishes now; empty for an arbiter and at the end."""
    return _VANISHED.get((kind, role), {}).get(state, "")
