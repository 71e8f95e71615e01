"""What a state means, in the words of the person who looks at it."""

from __future__ import annotations

_SALE_BUYER = {
    "proposed": "Waiting for the seller to sign.",
    "agreed": "Both have signed. Fetching the encrypted package, then paying into escrow.",
    "funded": "Your money is held in escrow. Waiting for the seller to release the key.",
    "delivered": "You have the model. Check it, then confirm, or open a dispute.",
    "disputed": "The arbiter decides. Your money stays in escrow until then.",
    "completed": "Finished: the seller is paid and the model is yours.",
    "refunded": "Your money came back in full.",
    "ruled": "Decided: the escrow was split as ruled.",
    "declined": "Not agreed. No money moved.",
    "lapsed": "The time to pay ran out. No money moved.",
}
_SALE_SELLER = {
    **_SALE_BUYER,
    "proposed": "A buyer has asked for this model.",
    "agreed": "Both have signed. Waiting for the buyer's money to reach the escrow.",
    "funded": "The buyer's money is in escrow. Releasing the key.",
    "delivered": "Delivered. You are paid when the buyer confirms or the review time ends.",
    "disputed": "The arbiter decides. The money stays in escrow until then.",
    "completed": "Finished: you are paid.",
    "refunded": "The buyer was refunded in full.",
}
_COMPUTE_BUYER = {
    "proposed": "Waiting for the provider to sign.",
    "agreed": "Both have signed. Setting money aside for the job.",
    "funded": "Your money is set aside. Waiting for the provider to start the job.",
    "running": "The job runs. You pay by the second, never above your cap.",
    "ended": "The job has ended. Waiting for the provider to settle; the rest comes back to you.",
    "withdrawing": "The provider is silent. Your money is on its way back.",
    "settled": "Settled: the provider is paid for the seconds used, the rest is back in your wallet.",
    "declined": "Not agreed. No money moved.",
    "lapsed": "The time to pay ran out. No money moved.",
}
_COMPUTE_SELLER = {
    **_COMPUTE_BUYER,
    "proposed": "A buyer asks for your machine.",
    "agreed": "Both have signed. Waiting for the buyer's money to be set aside.",
    "funded": "The money is set aside. Starting the job.",
    "running": "The job runs in the sandbox. You earn by the second.",
    "ended": "The job has ended. Settling on the chain.",
    "withdrawing": "The buyer takes the rest back. Your earned part is claimed before that.",
    "settled": "Settled: you are paid for the seconds used.",
}
_WORDS = {
    ("sale", "buyer"): _SALE_BUYER,
    ("sale", "seller"): _SALE_SELLER,
    ("sale", "arbiter"): _SALE_SELLER | {"disputed": "A dispute waits for your ruling."},
    ("compute", "buyer"): _COMPUTE_BUYER,
    ("compute", "seller"): _COMPUTE_SELLER,
}
_DEADLINES = {
    ("sale", "proposed"): "then the request lapses; no money has moved",
    ("sale", "agreed"): "then the order lapses; no money has moved",
    ("sale", "funded"): "then the buyer's money goes back in full, without anybody's consent",
    ("sale", "delivered"): "then the seller is paid, unless the buyer has opened a dispute",
    ("sale", "disputed"): "then the escrow is split as both signed for a silent arbiter",
    ("compute", "proposed"): "then the request lapses; no money has moved",
    ("compute", "agreed"): "then the order lapses; no money has moved",
    ("compute", "funded"): "then the buyer takes the money back",
    ("compute", "running"): "then the buyer takes back what is not earned",
    ("compute", "ended"): "then the buyer takes back what is not earned",
    ("compute", "withdrawing"): "then the money is back in the buyer's wallet",
}
_WAY_BACK = {
    "sale": "If the seller vanishes before delivery, the escrow returns the whole price after the delivery deadline.",
    "compute": "If the provider vanishes, what was not earned returns after the deadline and the withdrawal delay.",
}


def state_words(kind: str, role: str, state: str) -> str:
    """A sentence about the state, for one party."""
    return _WORDS[kind, role][state]


def deadline_words(kind: str, state: str) -> str:
    """What happens when the deadline of the state passes; empty in a final state."""
    return _DEADLINES.get((kind, state), "")


def way_back(kind: str) -> str:
    """How the buyer's money returns when the other side vanishes."""
    return _WAY_BACK[kind]
